"""`Strategy`: what to try next, given what was tried. Pure: history and rng in, genes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import PRESETS
from smt_nas.errors import UnknownName
from smt_nas.search.objectives import Floats
from smt_nas.search.problem import Problem
from smt_nas.search.proposal.screen import (
    drop_repeated,
    make_formula_objective,
    sample_feasible,
    screen,
)
from smt_nas.search.proposal.surrogate import Surrogate
from smt_nas.space import Genes
from smt_nas.space.baselines import baselines

BATCH = 32  # proposals a round; a round sees all trials before it and none of its own
_EXPLORE = 0.25  # share of a round drawn at random, so that the surrogate stays honest
_POOL = 2_000  # feasible samples among which the first round is spread


@dataclass(frozen=True)
class History:
    """Trials so far.

    Attributes:
        genes: (m, G), in trial order.
        figures: values of the evaluator; None where it failed.
    """

    genes: Genes
    figures: Sequence[float | None]

    @property
    def complete(self) -> tuple[Genes, Floats]:
        """Genes (k, G) and figures (k,) of the trials that did not fail."""
        ok = [i for i, figure in enumerate(self.figures) if figure is not None]
        return self.genes[ok], np.array([self.figures[i] for i in ok], dtype=float)


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
    """Proposes networks that meet the constraints and were not tried before."""

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Up to n distinct rows (n, G); fewer only where the budget leaves no more networks."""


@dataclass(frozen=True)
class RandomSearch:
    """Feasible networks at random: the baseline that every strategy must beat."""

    problem: Problem

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Draw n feasible networks that were not tried."""
        return _drop_tried(sample_feasible(self.problem, rng, n + len(history.genes)), history)[:n]


@dataclass(frozen=True)
class SurrogateNSGA2:
    """NSGA-II on formulas and on a surrogate of the evaluator (as in Lu et al. 2020, MSuNAS).

    The first round spreads feasible networks, presets among them, over the MACs.
    Later rounds screen `POPULATION x GENERATIONS` candidates, take a spread of the predicted front
    and some networks at random. What is known for sure, by formulas or by an evaluator that
    predicts, is screened as it is from the first round on, and nothing is drawn at random.
    A guess takes the surrogate's place in the first round and is a feature of it later.
    """

    problem: Problem
    prior: Prior | None = None

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Screen candidates; returns n that were not tried."""
        genes, figures = history.complete
        blind = self.problem.evaluated_metric is not None and self.prior is None
        if blind and len(figures) < BATCH // 2:
            return self._spread_over_macs(history, n, rng)
        pool = sample_feasible(self.problem, rng, len(history.genes) + 2 * n)
        objective = self._make_objective(genes, figures)
        front = screen(self.problem, objective, rng, np.concatenate([genes, pool[:n]]))
        front = _drop_tried(front, history)
        values = self.problem.values(front)
        most = n if self._is_certain else n - int(_EXPLORE * n)
        chosen = front[_pick_far_apart(objective(front, values), most)] if len(front) else front
        return _drop_tried(drop_repeated(np.concatenate([chosen, pool])), history)[:n]

    @property
    def _is_certain(self) -> bool:
        """Whether all that networks are judged by is known before they are tried."""
        return self.problem.evaluated_metric is None or (
            self.prior is not None and self.prior.is_final
        )

    def _make_objective(self, genes: Genes, figures: Floats) -> Callable[..., Floats]:
        metric = self.problem.evaluated_metric
        if metric is None:
            return make_formula_objective(self.problem)
        expected = self._predict_metric(genes, figures)

        def objective(rows: Genes, values: dict[str, NDArray[Any]]) -> Floats:
            return self.problem.objective_matrix({**values, metric.name: expected(rows, values)})

        return objective

    def _predict_metric(self, genes: Genes, figures: Floats) -> Callable[..., Floats]:
        """The evaluator's figures (n,) of rows (n, G) with their costs, as far as is known."""
        prior = self.prior
        if prior is not None and (prior.is_final or len(figures) < BATCH // 2):
            return lambda rows, values: prior.predict(rows)
        guess = None if prior is None else prior.predict
        return Surrogate(self.problem, genes, figures, guess).predict

    def _spread_over_macs(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        pool = _drop_tried(sample_feasible(self.problem, rng, _POOL), history)
        order = np.argsort(self.problem.costs(pool)["macs"], kind="stable")
        last = max(len(pool) - 1, 0)
        picks = np.unique(np.linspace(0, last, n).round().astype(int))[: len(pool)]
        presets = _drop_tried(_find_feasible_presets(self.problem), history)
        return drop_repeated(np.concatenate([presets, pool[order[picks]], pool]))[:n]


STRATEGIES: dict[str, Callable[[Problem, Prior | None], Strategy]] = {
    "nsga2": SurrogateNSGA2,
    "random": lambda problem, _: RandomSearch(problem),
}


def make_strategy(name: str, problem: Problem, prior: Prior | None = None) -> Strategy:
    """Make a strategy by name. Raises UnknownName."""
    if name not in STRATEGIES:
        raise UnknownName("strategy", name, STRATEGIES)
    return STRATEGIES[name](problem, prior)


def _find_feasible_presets(problem: Problem) -> Genes:
    """The published networks that lie in the space and meet the constraints."""
    named = baselines(problem.space)
    inside = [named[n] for n in PRESETS if problem.space.contains([named[n]])[0]]
    genes = problem.space.encode(inside)
    return genes[problem.feasible(genes)]


def _drop_tried(genes: Genes, history: History) -> Genes:
    tried = {row.tobytes() for row in history.genes}
    return genes[[row.tobytes() not in tried for row in np.ascontiguousarray(genes)]]


def _pick_far_apart(points: Floats, n: int) -> NDArray[np.int64]:
    """Indices of n points that lie far apart: the ends first, then the farthest from all chosen."""
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    chosen = list(dict.fromkeys(int(i) for i in scaled.argmin(axis=0)))[:n]
    nearest = np.min([np.linalg.norm(scaled - scaled[i], axis=1) for i in chosen], axis=0)
    while len(chosen) < min(n, len(points)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return np.array(chosen, dtype=np.int64)
