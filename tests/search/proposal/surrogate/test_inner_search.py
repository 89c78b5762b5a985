"""Evolution on arrays: what it finds, and that it keeps to the budget."""

import numpy as np

from smt_nas.search.proposal.screen import make_formula_objective
from smt_nas.search.proposal.surrogate.inner_search import evolve, evolve_front
from tests.fakes.searches import make_problem, sample


def test_it_gives_a_feasible_non_dominated_set_again_by_the_same_seed():
    problem = make_problem("9MMACs", objectives=("macs", "params"))
    objective = make_formula_objective(problem)
    first, again = (
        evolve_front(problem, objective, np.random.default_rng(1), sample(5)) for _ in range(2)
    )
    points = objective(first, problem.values(first))
    worse = [(points <= p).all(axis=1) & (points < p).any(axis=1) for p in points]
    assert len(first) and problem.feasible(first).all() and not np.any(worse)
    assert np.array_equal(first, again)


def test_it_finds_the_smallest_of_a_narrow_corner():
    problem = make_problem("2.5MMACs", "0.07Mparams", objectives=("macs",))
    genes, points = evolve(
        problem, make_formula_objective(problem), np.random.default_rng(0), sample(5)
    )
    assert len(genes) == len(np.unique(genes, axis=0)) == len(points)
    assert problem.feasible(genes).all()


def test_what_is_no_number_does_not_win():
    problem = make_problem("9MMACs", objectives=("macs", "params"))
    formulas = make_formula_objective(problem)

    def objective(genes, values):
        points = formulas(genes, values)
        points[genes[:, 0] > 0] = np.nan
        points[genes[:, 1] > 0, 0] = np.nan
        return points

    front = evolve_front(problem, objective, np.random.default_rng(0), sample(5))
    assert len(front) and (front[:, 1] == 0).all()
