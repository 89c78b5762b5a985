"""`Strategy`: what to try next, given what was tried. Pure: history and rng in, genes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict

from smt_nas.search.problem.objectives import Floats
from smt_nas.space import Genes


@dataclass(frozen=True)
class History:
    """Trials so far.

    Attributes:
        genes: (m, G), in trial order.
        figures: values of the evaluator; None where it failed.
        pending: (p, G), proposed and not answered yet: evaluated at this moment, here or elsewhere.
    """

    genes: Genes
    figures: Sequence[float | None]
    pending: Genes = field(default_factory=lambda: np.empty((0, 0), dtype=np.int64))

    @property
    def complete(self) -> tuple[Genes, Floats]:
        """Genes (k, G) and figures (k,) of the trials that did not fail."""
        ok = [i for i, figure in enumerate(self.figures) if figure is not None]
        return self.genes[ok], np.array([self.figures[i] for i in ok], dtype=float)

    @property
    def taken(self) -> set[bytes]:
        """Rows that are tried or pending, by their bytes."""
        return {row.tobytes() for part in (self.genes, self.pending) for row in part}

    @property
    def n_taken(self) -> int:
        """How many rows are tried or pending."""
        return len(self.genes) + len(self.pending)

    def drop_taken(self, genes: Genes) -> Genes:
        """Rows (n, G) without those that are tried or pending, and each once."""
        taken, kept = self.taken, []
        for i, row in enumerate(np.ascontiguousarray(genes, dtype=np.int64)):
            if (text := row.tobytes()) not in taken:
                taken.add(text)
                kept.append(i)
        return genes[kept]


@dataclass(frozen=True)
class Prior:
    """What is known of the evaluator's values before any network is evaluated.

    Attributes:
        predict: values of (n, G) genes, (n,).
        is_final: they are what the evaluator will give; else a guess that orders networks alike.
    """

    predict: Callable[[Genes], Floats]
    is_final: bool


class Strategy(Protocol):
    """Proposes networks that meet the constraints and are neither tried nor pending."""

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Up to n distinct rows (n, G); fewer only where the budget leaves no more networks."""


class SurrogateAccuracy(BaseModel):
    """How well a surrogate foretold a round: predicted before it, compared with what came.

    Attributes:
        first: number of the round's first trial.
        n: networks of the round that have a figure.
        kendall_tau, spearman_rho: of predicted and true figures; None where they are not defined
            (fewer than 3, or all alike).
        rmse: in the unit of the figure.
    """

    model_config = ConfigDict(frozen=True)

    first: int
    n: int
    kendall_tau: float | None
    spearman_rho: float | None
    rmse: float


@runtime_checkable
class LearningStrategy(Protocol):
    """A strategy with a model of the evaluator, which can be held against what came."""

    def assess(self, history: History, genes: Genes, figures: Floats) -> SurrogateAccuracy | None:
        """Compare what the model of a history says of a later round with what came.

        Args:
            history: that the round was proposed from.
            genes: (n, G) of the round.
            figures: (n,) that the evaluator gave.

        Returns: None where there was no model yet, or nothing to compare.
        """


def compare_prediction(first: int, predicted: Floats, figures: Floats) -> SurrogateAccuracy:
    """Compare predicted and true figures (n,) of the round whose first trial is `first`."""
    tau = rho = None
    if len(figures) > 2 and len(set(figures.tolist())) > 1 and len(set(predicted.tolist())) > 1:
        from scipy.stats import kendalltau, spearmanr

        tau = float(kendalltau(predicted, figures).statistic)
        rho = float(spearmanr(predicted, figures).statistic)
    rmse = float(np.sqrt(np.mean((predicted - figures) ** 2)))
    return SurrogateAccuracy(
        first=first, n=len(figures), kendall_tau=tau, spearman_rho=rho, rmse=rmse
    )
