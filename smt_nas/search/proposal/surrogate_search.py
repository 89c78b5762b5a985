"""`surrogate`: NSGA-II on formulas and on a model of the evaluator, refit as trials arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import PRESETS
from smt_nas.search.objectives import Floats
from smt_nas.search.problem import Problem
from smt_nas.search.proposal.screen import (
    drop_repeated,
    make_formula_objective,
    sample_feasible,
    screen,
)
from smt_nas.search.proposal.strategy import History, Prior
from smt_nas.search.proposal.surrogate import Surrogate
from smt_nas.space import Genes
from smt_nas.space.baselines import baselines

_FIRST = 16  # networks evaluated before the surrogate is fit
_EXPLORE = 0.25  # share of a round drawn at random, so that the surrogate stays honest
_POOL = 2_000  # feasible samples among which the first round is spread


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
        if blind and len(figures) < _FIRST:
            return self._spread_over_macs(history, n, rng)
        pool = sample_feasible(self.problem, rng, history.n_taken + 2 * n)
        objective = self._make_objective(genes, figures)
        front = screen(self.problem, objective, rng, np.concatenate([genes, pool[:n]]))
        front = history.drop_taken(front)
        values = self.problem.values(front)
        most = n if self._is_certain else n - int(_EXPLORE * n)
        chosen = front[_pick_far_apart(objective(front, values), most)] if len(front) else front
        return history.drop_taken(np.concatenate([chosen, pool]))[:n]

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
        if prior is not None and (prior.is_final or len(figures) < _FIRST):
            return lambda rows, values: prior.predict(rows)
        guess = None if prior is None else prior.predict
        return Surrogate(self.problem, genes, figures, guess).predict

    def _spread_over_macs(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        pool = history.drop_taken(sample_feasible(self.problem, rng, _POOL))
        order = np.argsort(self.problem.costs(pool)["macs"], kind="stable")
        last = max(len(pool) - 1, 0)
        picks = np.unique(np.linspace(0, last, n).round().astype(int))[: len(pool)]
        presets = history.drop_taken(_find_feasible_presets(self.problem))
        return drop_repeated(np.concatenate([presets, pool[order[picks]], pool]))[:n]


def _find_feasible_presets(problem: Problem) -> Genes:
    """The published networks that lie in the space and meet the constraints."""
    named = baselines(problem.space)
    inside = [named[n] for n in PRESETS if problem.space.contains([named[n]])[0]]
    genes = problem.space.encode(inside)
    return genes[problem.feasible(genes)]


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
