"""Evolution on evaluated figures alone: `RegularizedEvolution` and `NSGA2Search`, as baselines.

Both are stateless: who is alive follows from the history, in the order of its trials.
"""

from __future__ import annotations

from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray
from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function

from smt_nas.search.problem.objectives import Floats
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.random_search import RandomSearch
from smt_nas.search.proposal.repair import complete_proposals, draw_neighbours
from smt_nas.search.proposal.strategy import History
from smt_nas.space import Genes, SearchSpace


def judge(problem: Problem, history: History) -> tuple[Genes, Floats]:
    """Genes (k, G) and objectives (k, M), to be minimised, of what was evaluated."""
    genes, figures = history.complete
    if not len(genes):
        return genes, np.empty((0, len(problem.objectives)))
    values, metric = problem.values(genes), problem.evaluated_metric
    if metric is not None:
        values[metric.name] = figures
    return genes, problem.objective_matrix(values)


def rank_by_dominance(points: Floats) -> NDArray[np.int64]:
    """Indices of points (k, M), best first: by non-dominated rank, then by crowding distance."""
    ranks = moocore.pareto_rank(points)
    crowding = np.empty(len(points))
    for rank in np.unique(ranks):
        members = np.flatnonzero(ranks == rank)
        crowding[members] = get_crowding_function("cd").do(points[members], n_remove=0)
    return np.lexsort((-crowding, ranks))


@dataclass(frozen=True)
class RegularizedEvolution:
    """Mutate the best of a sample of the youngest networks (Real et al. 2019, aging evolution).

    Best means: by non-dominated rank, then by crowding, among the living.
    """

    problem: Problem
    population: int = 50
    tournament: int = 10

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Draw the first population at random; then n children of n tournaments."""
        genes, points = judge(self.problem, history)
        if len(genes) < self.population:
            return RandomSearch(self.problem).propose(history, n, rng)
        living, order = genes[-self.population :], rank_by_dominance(points[-self.population :])
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        children = []
        for _ in range(n):
            drawn = rng.choice(len(living), self.tournament, replace=False)
            parent = living[drawn[place[drawn].argmin()]]
            children.append(draw_neighbours(self.problem, parent[None], rng, 1)[0])
        return complete_proposals(self.problem, np.array(children), history, n, rng)


@dataclass(frozen=True)
class NSGA2Search:
    """NSGA-II (Deb et al. 2002) that knows evaluated figures alone, its survival by pymoo."""

    problem: Problem
    population: int = 40

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Draw the first population at random; then n children of those that survive."""
        genes, points = judge(self.problem, history)
        if len(genes) < self.population:
            return RandomSearch(self.problem).propose(history, n, rng)
        order = rank_by_dominance(points)[: self.population]
        children = cross_and_mutate(self.problem.space, genes[order], n, rng)
        return complete_proposals(self.problem, children, history, n, rng)


def cross_and_mutate(space: SearchSpace, living: Genes, n: int, rng: np.random.Generator) -> Genes:
    """Children (n, G) of rows (k, G), best first: tournaments of two, uniform crossover, resets.

    A gene is drawn anew with probability 1 / G: options have no order that all genes share.
    """
    pairs = rng.integers(0, len(living), (n, 2, 2)).min(axis=2)
    one, other = living[pairs[:, 0]], living[pairs[:, 1]]
    children = np.where(rng.random(one.shape) < 0.5, one, other)
    reset = rng.random(children.shape) < 1 / children.shape[1]
    drawn = rng.integers(0, space.cardinality, children.shape)
    return space.canonical(np.where(reset, drawn, children))
