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
from smt_nas.search.screen import by_formula, distinct, feasible_sample, screen
from smt_nas.search.surrogate import Surrogate
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
        figures: what the evaluator said of each; None where it failed.
    """

    genes: Genes
    figures: Sequence[float | None]

    @property
    def rated(self) -> tuple[Genes, Floats]:
        """Genes (k, G) and figures (k,) of the trials that did not fail."""
        ok = [i for i, figure in enumerate(self.figures) if figure is not None]
        return self.genes[ok], np.array([self.figures[i] for i in ok], dtype=float)


@dataclass(frozen=True)
class Foresight:
    """What is known of the evaluator's figures before it is asked.

    Attributes:
        figures: of (n, G) genes, (n,).
        exact: they are what it will say; else a guess that orders networks alike.
    """

    figures: Callable[[Genes], Floats]
    exact: bool


class Strategy(Protocol):
    """Proposes networks that hold the limits and were not tried before."""

    def propose(self, study: History, n: int, rng: np.random.Generator) -> Genes:
        """Up to n distinct rows (n, G); fewer only where the budget leaves no more networks."""


@dataclass(frozen=True)
class RandomSearch:
    """Feasible networks at random: the baseline that every strategy must beat."""

    problem: Problem

    def propose(self, study: History, n: int, rng: np.random.Generator) -> Genes:
        """Draw n feasible networks that were not tried."""
        return _untried(feasible_sample(self.problem, rng, n + len(study.genes)), study)[:n]


@dataclass(frozen=True)
class SurrogateNSGA2:
    """NSGA-II on formulas and on a surrogate of the evaluator (as in Lu et al. 2020, MSuNAS).

    The first round spreads feasible networks, and the presets that hold the limits, over the MACs.
    Later rounds screen `POPULATION x GENERATIONS` candidates, take a spread of the predicted front
    and some networks at random. What is known for sure, by formulas or by an evaluator that
    foresees, is screened as it is from the first round on, and nothing is drawn at random.
    A guess takes the surrogate's place in the first round and is a feature of it later.
    """

    problem: Problem
    foresight: Foresight | None = None

    def propose(self, study: History, n: int, rng: np.random.Generator) -> Genes:
        """Screen candidates; returns n that were not tried."""
        genes, figures = study.rated
        blind = self.problem.rated is not None and self.foresight is None
        if blind and len(figures) < BATCH // 2:
            return self._spread_over_macs(study, n, rng)
        pool = feasible_sample(self.problem, rng, len(study.genes) + 2 * n)
        judge = self._judge(genes, figures)
        front = screen(self.problem, judge, rng, np.concatenate([genes, pool[:n]]))
        front = _untried(front, study)
        values = self.problem.values(front)
        most = n if self._sure else n - int(_EXPLORE * n)
        chosen = front[_spread(judge(front, values), most)] if len(front) else front
        return _untried(distinct(np.concatenate([chosen, pool])), study)[:n]

    @property
    def _sure(self) -> bool:
        """Whether all that networks are judged by is known before they are tried."""
        return self.problem.rated is None or (self.foresight is not None and self.foresight.exact)

    def _judge(self, genes: Genes, figures: Floats) -> Callable[..., Floats]:
        rated = self.problem.rated
        if rated is None:
            return by_formula(self.problem)
        expected = self._expected(genes, figures)

        def judge(rows: Genes, values: dict[str, NDArray[Any]]) -> Floats:
            return self.problem.minimised({**values, rated.name: expected(rows, values)})

        return judge

    def _expected(self, genes: Genes, figures: Floats) -> Callable[..., Floats]:
        """The evaluator's figures (n,) of rows (n, G) with their costs, as far as is known."""
        ahead = self.foresight
        if ahead is not None and (ahead.exact or len(figures) < BATCH // 2):
            return lambda rows, values: ahead.figures(rows)
        guess = None if ahead is None else ahead.figures
        return Surrogate(self.problem, genes, figures, guess).predict

    def _spread_over_macs(self, study: History, n: int, rng: np.random.Generator) -> Genes:
        pool = _untried(feasible_sample(self.problem, rng, _POOL), study)
        order = np.argsort(self.problem.costs(pool)["macs"], kind="stable")
        last = max(len(pool) - 1, 0)
        picks = np.unique(np.linspace(0, last, n).round().astype(int))[: len(pool)]
        presets = _untried(_feasible_presets(self.problem), study)
        return distinct(np.concatenate([presets, pool[order[picks]], pool]))[:n]


STRATEGIES: dict[str, Callable[[Problem, Foresight | None], Strategy]] = {
    "nsga2": SurrogateNSGA2,
    "random": lambda problem, _: RandomSearch(problem),
}


def make_strategy(name: str, problem: Problem, foresight: Foresight | None = None) -> Strategy:
    """Make a strategy by name. Raises UnknownName."""
    if name not in STRATEGIES:
        raise UnknownName("strategy", name, STRATEGIES)
    return STRATEGIES[name](problem, foresight)


def _feasible_presets(problem: Problem) -> Genes:
    """The published networks that lie in the space and hold the limits."""
    named = baselines(problem.space)
    inside = [named[n] for n in PRESETS if problem.space.contains([named[n]])[0]]
    genes = problem.space.encode(inside)
    return genes[problem.feasible(genes)]


def _untried(genes: Genes, study: History) -> Genes:
    tried = {row.tobytes() for row in study.genes}
    return genes[[row.tobytes() not in tried for row in np.ascontiguousarray(genes)]]


def _spread(points: Floats, n: int) -> NDArray[np.int64]:
    """Indices of n points that lie far apart: the ends first, then the farthest from all chosen."""
    span = np.ptp(points, axis=0)
    scaled = (points - points.min(axis=0)) / np.where(span > 0, span, 1.0)
    chosen = list(dict.fromkeys(int(i) for i in scaled.argmin(axis=0)))[:n]
    nearest = np.min([np.linalg.norm(scaled - scaled[i], axis=1) for i in chosen], axis=0)
    while len(chosen) < min(n, len(points)):
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(scaled - scaled[chosen[-1]], axis=1))
    return np.array(chosen, dtype=np.int64)
