"""A trial of a study: a network that was tried, or one that is to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from smt_nas.evaluators import Evaluation
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.strategy import History
from smt_nas.space import Genes


@dataclass(frozen=True)
class Trial:
    """One network that was tried.

    Attributes:
        number: order in the study.
        genes: (G,).
        key: `Architecture.key`.
        evaluation: what the evaluator said.
        predictions: value, low and high of each predicted metric, by its name.
    """

    number: int
    genes: Genes
    key: str
    evaluation: Evaluation
    predictions: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class OpenTrial:
    """A trial that is not finished.

    Attributes:
        id: in its storage.
        number: order in the study.
        genes: (G,).
        key: `Architecture.key`.
        is_running: somebody evaluates it, or did when they died; else it waits.
        worker: name of the process that took it; None before the first.
        attempt: how many took it.
        evaluation: what the evaluator said, where who took it died before it could end the trial.
    """

    id: int
    number: int
    genes: Genes
    key: str
    is_running: bool
    worker: str | None = None
    attempt: int = 0
    evaluation: Evaluation | None = None


def make_history(problem: Problem, trials: Sequence[Trial | OpenTrial]) -> History:
    """What strategies see of trials."""
    finished = [t for t in trials if isinstance(t, Trial)]
    pending = [t.genes for t in trials if isinstance(t, OpenTrial)]
    empty = np.empty((0, len(problem.space.genes)), dtype=np.int64)
    return History(
        genes=np.array([t.genes for t in finished]) if finished else empty,
        figures=[t.evaluation.compared for t in finished],
        pending=np.array(pending) if pending else empty,
    )


def predict_network(problem: Problem, genes: Genes) -> dict[str, tuple[float, float, float]]:
    """Value, low and high of each predicted metric of one network, from its genes (G,)."""
    return predict_networks(problem, genes[None])[0]


def predict_networks(problem: Problem, genes: Genes) -> list[dict[str, tuple[float, float, float]]]:
    """The same of networks, from their genes (n, G)."""
    columns = {
        name: list(zip(*(end.tolist() for end in interval), strict=True))
        for name, interval in problem.predict(genes).items()
    }
    return [{name: column[i] for name, column in columns.items()} for i in range(len(genes))]
