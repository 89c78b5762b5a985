"""The front: non-dominated trials as results that say where each number comes from."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import moocore
import numpy as np

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.errors import StoreError
from smt_nas.metrics import METRICS
from smt_nas.resources import write_atomic
from smt_nas.search.problem import Problem
from smt_nas.search.study import Trial

WITNESSES = ("torch", "fvcore", "thop")


@dataclass(frozen=True)
class Result:
    """A network and what is known of it; a member of the front, or a baseline.

    Attributes:
        name: `0`, `1`, ... on the front, best first; `smt_t`, ... for baselines.
        arch: the network.
        values: by metric name; what was not measured is not there.
        provenance: where each value comes from.
        witnesses: MACs by counter (`torch`, `fvcore`, `thop`); empty before the proof.
        spread_ms: interquartile range of the latency; None where it was not measured.
        reason: why the proof failed; None where it did not, or was not made.
    """

    name: str
    arch: Architecture
    values: dict[str, float]
    provenance: dict[str, str]
    witnesses: dict[str, int]
    spread_ms: float | None = None
    reason: str | None = None

    def with_proof(self, proof: dict[str, Any] | None) -> Result:
        """Add what `prove` found; see there."""
        if proof is None:
            return self
        values, provenance = dict(self.values), dict(self.provenance)
        if proof.get("latency_ms") is not None:
            values["latency_ms"], provenance["latency_ms"] = proof["latency_ms"], "measured"
        return replace(
            self,
            values=values,
            provenance=provenance,
            witnesses=proof["witnesses"],
            spread_ms=proof.get("spread_ms"),
            reason=proof["reason"],
        )

    def as_dict(self) -> dict[str, Any]:
        """The entry of the JSON output (schema 1)."""
        return {
            "name": self.name,
            "key": self.arch.key,
            "architecture": self.arch.model_dump(mode="json"),
            "values": self.values,
            "provenance": self.provenance,
            "witnesses": self.witnesses,
        }


def result(name: str, arch: Architecture, rating: Mapping[str, tuple[float, str]]) -> Result:
    """A network with its formula costs and what an evaluator said: value, provenance."""
    values: dict[str, float] = dict(costs.of(arch).as_dict())
    provenance: dict[str, str] = dict.fromkeys(values, "exact")
    for metric, (value, source) in rating.items():
        values[metric], provenance[metric] = value, source
    return Result(name, arch, values, provenance, {})


def pareto(problem: Problem, trials: Sequence[Trial]) -> list[Result]:
    """Non-dominated feasible trials, best first objective first. All of them, none thinned out."""
    good = [t for t in trials if t.evaluation.reason is None]
    if not good:
        return []
    genes = np.array([t.genes for t in good])
    values = problem.costs(genes)
    rated = problem.rated
    if rated is not None:
        values[rated.name] = np.array([t.evaluation.value for t in good])
    points = problem.minimised(values)
    feasible = problem.excess(values) == 0
    points = np.where(feasible[:, None], points, np.inf)
    keep = feasible & moocore.is_nondominated(points)
    chosen = sorted(np.flatnonzero(keep), key=lambda i: (*points[i], good[i].key))
    members = []
    for place, i in enumerate(chosen):
        rating = {}
        if rated is not None:
            rating[rated.name] = (float(values[rated.name][i]), good[i].evaluation.provenance)
        arch = problem.space.decode(genes[i : i + 1])[0]
        members.append(result(str(place), arch, rating))
    return members


def write(folder: Path, members: Sequence[Result], baselines: Sequence[Result]) -> None:
    """Write front.csv and front/*.yaml. Raises StoreError; what was there before is then kept."""
    configs = folder / "front"
    try:
        configs.mkdir(exist_ok=True)
        for member in members:
            member.arch.save(configs / f"{member.name}.yaml")
        for path in configs.glob("*.yaml"):
            if path.stem not in {m.name for m in members}:
                path.unlink()  # of an earlier, larger front
    except OSError as error:
        raise StoreError(f"{configs}: cannot be written ({error.strerror}).") from error
    write_atomic(folder / "front.csv", _csv(members, baselines))


def _csv(members: Sequence[Result], baselines: Sequence[Result]) -> str:
    """One row a network; `<metric>_from` beside a metric is its provenance."""
    rows = [*members, *baselines]
    metrics = [m for m in METRICS if any(m in r.values for r in rows)]
    counters = [f"macs_{w}" for w in WITNESSES]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [column for m in metrics for column in (m, f"{m}_from")]
    writer.writerow(["name", "kind", "key", *columns, *counters, "latency_iqr_ms"])
    for r in rows:
        kind = "baseline" if r in baselines else "front"
        cells = [c for m in metrics for c in (_number(r.values.get(m)), r.provenance.get(m, ""))]
        counts = [r.witnesses.get(w, "") for w in WITNESSES]
        writer.writerow([r.name, kind, r.arch.key, *cells, *counts, _number(r.spread_ms)])
    return text.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"
