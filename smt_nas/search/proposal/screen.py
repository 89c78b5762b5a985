"""Screening: NSGA-II (Deb et al. 2002, by pymoo) over gene arrays, and feasible samples.

Tens of thousands of candidates in seconds, since everything they are judged by is vectorised.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.mutation import Mutation
from pymoo.core.problem import Problem as PymooProblem
from pymoo.core.repair import Repair
from pymoo.operators.crossover.ux import UniformCrossover
from pymoo.optimize import minimize

from smt_nas.costs.bounds import extremes
from smt_nas.search.problem.objectives import Floats
from smt_nas.search.problem.problem import Problem
from smt_nas.space import Genes

POPULATION = 200
GENERATIONS = 50
_DRAW, _MAX_DRAWS = 20_000, 10
_LISTED = 20_000  # a space of so few gene rows is listed, not sampled

ObjectiveFunction = Callable[[Genes, dict[str, NDArray[Any]]], Floats]
"""Genes (n, G) and their costs to what is minimised, (n, M)."""


def make_formula_objective(problem: Problem) -> ObjectiveFunction:
    """The problem's own objectives, where none needs an evaluator."""
    return lambda genes, values: problem.objective_matrix(values)


def screen(
    problem: Problem,
    objective: ObjectiveFunction,
    rng: np.random.Generator,
    start: Genes,
    generations: int = GENERATIONS,
) -> Genes:
    """Evolve `POPULATION` candidates; returns the feasible non-dominated ones, unique rows.

    Args:
        problem: space and constraints (constraint-domination, Deb 2002, sec. VI).
        objective: what is minimised.
        rng: the only source of randomness.
        start: (n, G) first candidates; filled up with samples.
        generations: candidates judged = POPULATION x generations.
    """
    start = np.unique(problem.space.canonical(start), axis=0)[:POPULATION]
    fill = problem.space.sample(rng, POPULATION - len(start))
    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=np.concatenate([start, fill]),
        crossover=UniformCrossover(),
        mutation=_ResetMutation(),
        repair=_Canonical(),
    )
    result = minimize(
        _ScreeningProblem(problem, objective),
        algorithm,
        ("n_gen", generations),
        seed=int(rng.integers(2**31)),
    )
    if result.X is None:
        return start[:0]
    genes = np.unique(np.atleast_2d(result.X).astype(np.int64), axis=0)
    return genes[problem.feasible(genes)]


class _ScreeningProblem(PymooProblem):  # type: ignore[misc]
    def __init__(self, problem: Problem, objective: ObjectiveFunction) -> None:
        self._problem, self._objective = problem, objective
        empty = problem.space.sample(np.random.default_rng(0), 1)
        values = problem.values(empty)
        super().__init__(
            n_var=len(problem.space.genes),
            n_obj=objective(empty, values).shape[1],
            n_ieq_constr=len(problem.violations(values)),
            xl=np.zeros(len(problem.space.genes)),
            xu=problem.space.cardinality - 1,
        )

    def _evaluate(self, x: NDArray[Any], out: dict[str, Any]) -> None:
        genes = x.astype(np.int64)
        values = self._problem.values(genes)
        out["F"] = replace_nonfinite(self._objective(genes, values))
        constraints = self._problem.violations(values)
        if constraints:
            out["G"] = np.column_stack(list(constraints.values()))


def replace_nonfinite(points: Floats) -> Floats:
    """Points (n, M) in which all others are better than one that is no number.

    pymoo would take it for the best: nothing is better than NaN.
    """
    finite = np.asarray(np.isfinite(points).all(axis=1))
    if finite.all():
        return points
    worst = points[finite].max(axis=0) + 1.0 if finite.any() else 0.0
    return np.where(finite[:, None], points, worst)


class _Canonical(Repair):  # type: ignore[misc]
    def _do(self, problem: _ScreeningProblem, x: NDArray[Any], **_: Any) -> Genes:
        return problem._problem.space.canonical(x.astype(np.int64))


class _ResetMutation(Mutation):  # type: ignore[misc]
    """Draw a gene anew with probability 2 / G: options have no order that all genes share."""

    def _do(
        self,
        problem: _ScreeningProblem,
        x: NDArray[Any],
        random_state: np.random.Generator,
        **_: Any,
    ) -> NDArray[Any]:
        change = random_state.random(x.shape) < 2 / x.shape[1]
        drawn = random_state.integers(0, problem._problem.space.cardinality, x.shape)
        return np.where(change, drawn, x)


def sample_feasible(problem: Problem, rng: np.random.Generator, n: int) -> Genes:
    """Up to n distinct feasible rows, drawn as `SearchSpace.sample` draws.

    Where the budget leaves so little of the space that rejection finds too few, constraint-driven
    NSGA-II adds what it finds; fewer than n come back where that is all there is.
    """
    if np.prod(problem.space.cardinality, dtype=float) <= _LISTED:
        everything = _list_feasible(problem)
        return everything[rng.permutation(len(everything))[:n]]
    feasible = np.empty((0, len(problem.space.genes)), dtype=np.int64)
    for _ in range(_MAX_DRAWS):
        drawn = problem.space.sample(rng, _DRAW)
        feasible = drop_repeated(np.concatenate([feasible, drawn[problem.feasible(drawn)]]))
        if len(feasible) >= n:
            return feasible[:n]
    return drop_repeated(np.concatenate([feasible, _evolve_feasible(problem, rng, feasible)]))[:n]


def _list_feasible(problem: Problem) -> Genes:
    """All feasible rows of a small space."""
    cardinality = problem.space.cardinality.tolist()
    rows = np.indices(cardinality).reshape(len(cardinality), -1).T
    genes = drop_repeated(problem.space.canonical(rows))
    return genes[problem.feasible(genes)]


def _evolve_feasible(problem: Problem, rng: np.random.Generator, known: Genes) -> Genes:
    """Feasible networks spread over the corner of the space that the budget leaves."""
    drawn = problem.space.sample(rng, _DRAW)
    nearest = drawn[np.argsort(problem.total_violation(problem.values(drawn)), kind="stable")]
    start = np.concatenate([known[: POPULATION // 2], extremes(problem.space), nearest])
    if not problem.feasible(start).any():
        start = np.concatenate([_minimise_violation(problem, rng, start), start])
    share = rng.random(len(problem.space.genes))
    seen = [start[:0]]

    def wander(genes: Genes, values: dict[str, NDArray[Any]]) -> Floats:
        """Two arbitrary views of the genes, so that evolution visits all of the corner."""
        seen.append(genes[problem.total_violation(values) == 0])
        view = genes / np.maximum(problem.space.cardinality - 1, 1)
        return np.column_stack([view @ share, view @ (share - 1)])

    screen(problem, wander, rng, start)
    return np.concatenate(seen)


def _minimise_violation(problem: Problem, rng: np.random.Generator, start: Genes) -> Genes:
    """Minimise the violation of the constraints, as the only objective."""
    free = replace(problem, constraints=())
    return screen(free, lambda g, v: problem.total_violation(v)[:, None], rng, start)


def find_nearest_miss(problem: Problem, rng: np.random.Generator) -> dict[str, float]:
    """Values of the network found that violates the constraints least, by name."""
    start = np.concatenate([extremes(problem.space), problem.space.sample(rng, _DRAW)])
    best = _minimise_violation(problem, rng, start)
    values = problem.values(best)
    at = int(problem.total_violation(values).argmin())
    return {name: float(v[at]) for name, v in values.items()}


def drop_repeated(genes: Genes) -> Genes:
    """Drop repeated rows; the first of each stays in its place."""
    first = np.unique(genes, axis=0, return_index=True)[1]
    return genes[np.sort(first)]
