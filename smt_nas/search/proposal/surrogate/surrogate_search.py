"""`surrogate`: NSGA-II on formulas and on a model of the evaluator, refit as trials arrive."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import moocore
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from smt_nas.arch import PRESETS
from smt_nas.search.problem.objectives import Floats
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.evolution import rank_by_dominance
from smt_nas.search.proposal.repair import complete_proposals, draw_neighbours
from smt_nas.search.proposal.screen import (
    drop_repeated,
    make_formula_objective,
    sample_feasible,
    screen,
)
from smt_nas.search.proposal.strategy import History, Prior, SurrogateAccuracy, compare_prediction
from smt_nas.search.proposal.surrogate.inner_search import evolve, evolve_front
from smt_nas.space import Genes
from smt_nas.space.baselines import baselines

if TYPE_CHECKING:
    from smt_nas.search.proposal.surrogate.expected_improvement import ImprovementJudge
    from smt_nas.search.proposal.surrogate.surrogate import Surrogate

SEVERAL_FRONTS = 200  # a round of more networks is not of one front alone
_FIRST = 8  # networks evaluated before the surrogate is fit
_EXPLORE = 0.25  # share of the rounds by a guess that is drawn at random
_POOL = 2_000  # feasible samples among which the first round is spread
_BASES, _NEIGHBOURS = 48, 32  # members of fronts, and networks one gene away that are looked at
_DRAWN = 512  # candidates at random, so that no region is out of sight
_CHOICE = 256  # candidates of most expected improvement, among which a round is chosen


@dataclass(frozen=True)
class SurrogateNSGA2:
    """NSGA-II on formulas and on a surrogate of the evaluator (as in Lu et al. 2020, MSuNAS).

    The first networks are spread over the MACs, presets among them. Later rounds screen
    `POPULATION x GENERATIONS` candidates by what the surrogate expects, add networks one gene away
    from the fronts, and take those of most expected hypervolume improvement, one by one: each is
    believed to be as expected (kriging believer), as are pending ones.
    What is known for sure, by formulas or by an evaluator that predicts, is screened as it is from
    the first round on, and a spread of the front is taken. A guess takes the surrogate's place in
    the first rounds and is a feature of it later.
    """

    problem: Problem
    prior: Prior | None = None
    _fitted: dict[int, Surrogate] = field(default_factory=dict, repr=False, compare=False)

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Choose n networks that were not tried."""
        figures = history.complete[1]
        metric = self.problem.evaluated_metric
        if metric is None or (self.prior is not None and self.prior.is_final):
            return self._spread_over_front(history, n, rng)
        if len(figures) >= _FIRST:
            return self._improve(history, n, rng)
        if self.prior is None:
            return self._spread_over_macs(history, n, rng)
        return self._spread_over_front(history, n, rng)

    def assess(self, history: History, genes: Genes, figures: Floats) -> SurrogateAccuracy | None:
        """Compare what the surrogate of a history says of a later round with what came."""
        tried, known = history.complete
        if len(known) < _FIRST or not len(genes) or (self.prior and self.prior.is_final):
            return None
        with threadpool_limits(1):
            surrogate = self._fit(tried, known)
            predicted = surrogate.predict(genes, self.problem.values(genes))
        return compare_prediction(len(history.genes), predicted, figures)

    def _fit(self, genes: Genes, figures: Floats) -> Surrogate:
        """The surrogate of trials; the last one is kept, as a round asks for it twice."""
        at = hash((genes.tobytes(), figures.tobytes()))
        if at not in self._fitted:
            from smt_nas.search.proposal.surrogate.surrogate import Surrogate  # scikit-learn

            guess = None if self.prior is None else self.prior.predict
            surrogate = Surrogate(self.problem, genes, figures, guess)
            self._fitted.clear()
            self._fitted[at] = surrogate
        return self._fitted[at]

    def _improve(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """The n networks of most expected improvement, by a surrogate of all trials."""
        with threadpool_limits(1):  # once a round: setting it takes milliseconds
            return self._choose_round(history, n, rng)

    def _choose_round(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        from smt_nas.search.proposal.surrogate.expected_improvement import ImprovementJudge

        genes, figures = history.complete
        surrogate = self._fit(genes, figures)
        values = self.problem.values(genes)
        evaluated = self._find_points(values, figures)
        best = genes[moocore.is_nondominated(evaluated)]

        def objective(rows: Genes, costs: dict[str, NDArray[Any]]) -> Floats:
            return self._find_points(costs, surrogate.predict(rows, costs))

        front = evolve_front(self.problem, objective, rng, best)
        expected = objective(front, self.problem.values(front)) if len(front) else evaluated
        judge = ImprovementJudge(self._uncertain, evaluated, expected)
        pool = self._gather(history, best, front, rng)
        if len(pool):
            pool = self._choose(pool, history.pending, surrogate, judge, n)
        return complete_proposals(self.problem, pool, history, n, rng)

    def _gather(
        self, history: History, best: Genes, front: Genes, rng: np.random.Generator
    ) -> Genes:
        """Feasible candidates: the front that is expected, what is near it and near the best."""
        bases = [rng.permutation(part)[:_BASES] for part in (best, front)]
        near = draw_neighbours(self.problem, np.concatenate(bases), rng, _NEIGHBOURS)
        drawn = np.concatenate([near, self.problem.space.sample(rng, _DRAWN)])
        drawn = drawn[self.problem.feasible(drawn)]
        return history.drop_taken(np.concatenate([front, drawn]))

    def _choose(
        self, pool: Genes, pending: Genes, surrogate: Surrogate, judge: ImprovementJudge, n: int
    ) -> Genes:
        """The n of a pool (k, G) that together are expected to improve most, after the pending."""
        values = self.problem.values(pool)
        mean, std = surrogate.predict_with_doubt(pool, values)
        std = np.sqrt(std**2 + surrogate.noise**2)
        gain = judge.judge(self._find_points(values, mean), std)
        pool = pool[np.argsort(-gain, kind="stable")[:_CHOICE]]
        rows = np.concatenate([pending, pool]) if len(pending) else pool
        values = self.problem.values(rows)
        belief = surrogate.predict_together(rows, values)
        points, covariance = self._find_points(values, belief.mean), belief.covariance.copy()
        chosen = list(range(len(pending)))
        for at in chosen:
            _believe(covariance, at, surrogate.noise)
            judge.add(points[at])
        while len(chosen) < min(len(pending) + n, len(rows)):
            var = np.maximum(np.diag(covariance), 0) + surrogate.noise**2
            gain = judge.judge(points, np.sqrt(var))
            gain[chosen] = -np.inf
            at = int(gain.argmax())
            chosen.append(at)
            _believe(covariance, at, surrogate.noise)
            judge.add(points[at])
        return rows[chosen[len(pending) :]]

    @property
    def _uncertain(self) -> int:
        """Column of the objective that is evaluated."""
        return [q.is_evaluated for q in self.problem.objectives].index(True)

    def _find_points(self, values: dict[str, NDArray[Any]], figures: Floats) -> Floats:
        metric = self.problem.evaluated_metric
        assert metric is not None
        return self.problem.objective_matrix({**values, metric.name: figures})

    def _spread_over_front(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """A spread of the front by what is known; where that is a guess, some at random too."""
        genes, metric, prior = history.complete[0], self.problem.evaluated_metric, self.prior
        pool = sample_feasible(self.problem, rng, history.n_taken + 2 * n)
        objective = make_formula_objective(self.problem)
        if metric is not None and prior is not None:

            def objective(rows: Genes, values: dict[str, NDArray[Any]]) -> Floats:
                return self._find_points(values, prior.predict(rows))

        if n > SEVERAL_FRONTS:
            best, points = evolve(self.problem, objective, rng, np.concatenate([genes, pool[:n]]))
            best = best[rank_by_dominance(points)] if len(best) else best
            return history.drop_taken(np.concatenate([best, pool]))[:n]
        front = screen(self.problem, objective, rng, np.concatenate([genes, pool[:n]]))
        front = history.drop_taken(front)
        values = self.problem.values(front)
        certain = metric is None or (prior is not None and prior.is_final)
        most = n if certain else n - int(_EXPLORE * n)
        chosen = front[_pick_far_apart(objective(front, values), most)] if len(front) else front
        return history.drop_taken(np.concatenate([chosen, pool]))[:n]

    def _spread_over_macs(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        pool = history.drop_taken(sample_feasible(self.problem, rng, _POOL))
        order = np.argsort(self.problem.costs(pool)["macs"], kind="stable")
        last = max(len(pool) - 1, 0)
        picks = np.unique(np.linspace(0, last, n).round().astype(int))[: len(pool)]
        presets = history.drop_taken(_find_feasible_presets(self.problem))
        return drop_repeated(np.concatenate([presets, pool[order[picks]], pool]))[:n]


def _believe(covariance: Floats, at: int, noise: float) -> None:
    """Condition a covariance (n, n), in place, on a reading of one of its rows."""
    column = covariance[:, at].copy()
    covariance -= np.outer(column, column) / (column[at] + noise**2 + 1e-12)


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
