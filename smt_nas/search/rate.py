"""Rating networks, by an evaluator that workers can make for themselves or by any other here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from smt_nas.accuracy import EVALUATORS, Evaluation, Evaluator, make_evaluator
from smt_nas.arch import Architecture
from smt_nas.search.workers import Workers


def rate(
    evaluator: Evaluator, archs: Sequence[Architecture], workers: Workers
) -> Iterator[Evaluation]:
    """Rate networks, in order. A user's own evaluator stays in this process."""
    if evaluator.name not in EVALUATORS:
        return (evaluator.evaluate([arch])[0] for arch in archs)
    lost = partial(_lost, evaluator)
    return workers.map(partial(_rated, evaluator.name), archs, lost)


def _rated(name: str, arch: Architecture) -> Evaluation:
    return make_evaluator(name).evaluate([arch])[0]


def _lost(evaluator: Evaluator, reason: str) -> Evaluation:
    return Evaluation(None, evaluator.objective.provenance, reason=reason)
