"""The inner search of `surrogate`: NSGA-II on arrays, tens of thousands of candidates in a second.

`screen` is the same by pymoo, which keeps an object a candidate: with a surrogate of 300 trials
that was most of the time of a round. Ranks are moocore's, crowding is pymoo's.
"""

from __future__ import annotations

import moocore
import numpy as np
from numpy.typing import NDArray

from smt_nas.search.problem.objectives import Floats
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.evolution import cross_and_mutate, rank_by_dominance
from smt_nas.search.proposal.screen import ObjectiveFunction, drop_repeated, replace_nonfinite
from smt_nas.space import Genes

POPULATION = 200
GENERATIONS = 60


def evolve_front(
    problem: Problem, objective: ObjectiveFunction, rng: np.random.Generator, start: Genes
) -> Genes:
    """Evolve candidates from `start` (n, G); the feasible non-dominated ones, (k, G)."""
    genes, points = evolve(problem, objective, rng, start)
    return np.asarray(genes[moocore.is_nondominated(points, keep_weakly=True)])


def evolve(
    problem: Problem, objective: ObjectiveFunction, rng: np.random.Generator, start: Genes
) -> tuple[Genes, Floats]:
    """Evolve candidates from `start` (n, G); all feasible ones (k, G) with objectives (k, M).

    Constraints are met first, by how far they are violated (Deb 2002, sec. VI).
    """
    space = problem.space
    fill = space.sample(rng, POPULATION)
    living = drop_repeated(np.concatenate([space.canonical(start)[: POPULATION // 2], fill]))
    points, violation = _judge(problem, objective, living)
    visited = [(living[violation == 0], points[violation == 0])]
    for _ in range(GENERATIONS):
        order = _sort(points, violation)[:POPULATION]
        living, points, violation = living[order], points[order], violation[order]
        children = cross_and_mutate(problem.space, living, POPULATION, rng)
        known = {row.tobytes() for row in living}
        children = drop_repeated(children)
        children = children[[row.tobytes() not in known for row in children]]
        if not len(children):
            continue
        more = _judge(problem, objective, children)
        visited.append((children[more[1] == 0], more[0][more[1] == 0]))
        living = np.concatenate([living, children])
        points = np.concatenate([points, more[0]])
        violation = np.concatenate([violation, more[1]])
    genes, first = np.unique(np.concatenate([g for g, _ in visited]), axis=0, return_index=True)
    return genes, np.concatenate([p for _, p in visited])[first]


def _judge(problem: Problem, objective: ObjectiveFunction, genes: Genes) -> tuple[Floats, Floats]:
    values = problem.values(genes)
    points = replace_nonfinite(objective(genes, values))
    return points, problem.total_violation(values)


def _sort(points: Floats, violation: Floats) -> NDArray[np.int64]:
    """Indices, best first: feasible ones by dominance, then the others by violation."""
    feasible, rest = np.flatnonzero(violation == 0), np.flatnonzero(violation > 0)
    order = feasible[rank_by_dominance(points[feasible])] if len(feasible) else feasible
    return np.concatenate([order, rest[np.argsort(violation[rest], kind="stable")]])
