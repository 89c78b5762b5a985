"""What is known of the evaluators: how each agreed with the shipped bench, in a file beside it.

`python -m tools.evidence` writes the file; it says what `smt-nas validate` printed then.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from smt_nas.files import folders

BENCH = "smt-bench-mini"
PARAMS = "#params"


@dataclass(frozen=True)
class RankAgreement:
    """How one figure agreed with trained accuracy on the shipped bench.

    Attributes:
        tau: Kendall's, over all networks.
        in_band: among pairs of about equal MACs.
        beats_params: it orders those better than #params do, beyond doubt.
        held_out: the figures are of networks that it did not learn from.
        leads: no evaluator that needs no data is better beyond doubt, over all networks or at equal
            MACs.
        top_recall: share of the best ten by training that are among its best ten; None where it is
            not known, as in files of before.
        regret: points that picking by it at equal MACs loses; None likewise.
        picks_better: it picks better than #params by one of these, beyond doubt.
    """

    tau: float | None
    in_band: float | None
    beats_params: bool
    held_out: bool
    leads: bool
    top_recall: float | None = None
    regret: float | None = None
    picks_better: bool = False


@dataclass(frozen=True)
class BenchAgreement:
    """How a figure agreed with trained accuracy on the shipped bench, and how #params did."""

    own: RankAgreement
    params: RankAgreement


def rank_agreement(name: str) -> RankAgreement | None:
    """How an evaluator, or a component of one, agreed; None where that was not found out."""
    return _all().get(name)


def bench_agreement(name: str) -> BenchAgreement | None:
    """How it agreed and how #params did; None where that was not found out."""
    own, params = rank_agreement(name), rank_agreement(PARAMS)
    return None if own is None or params is None else BenchAgreement(own, params)


def feature_ranges() -> dict[str, tuple[float, float]]:
    """Lowest and highest of each feature among the networks of the shipped bench, by its name."""
    features = _document().get("features", {})
    return {name: (low, high) for name, (low, high) in features.items()}


def bench_networks() -> int:
    """Networks of the shipped bench that the evidence is of; 0 without evidence."""
    return int(_document().get("networks", 0))


@cache
def _all() -> dict[str, RankAgreement]:
    return {name: RankAgreement(**row) for name, row in _document().get("rows", {}).items()}


@cache
def _document() -> dict[str, Any]:
    """The file; nothing where there is none."""
    places = (folder / f"{BENCH}.evidence.json" for folder in folders("nasbench"))
    file = next((p for p in places if p.is_file()), None)
    document: dict[str, Any] = {} if file is None else json.loads(file.read_text(encoding="utf-8"))
    return document
