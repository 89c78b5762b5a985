"""Screening and feasible samples, with few generations."""

import numpy as np
import pytest

from smt_nas.search.proposal import screen as screening
from smt_nas.search.proposal.screen import (
    drop_repeated,
    find_nearest_miss,
    make_formula_objective,
    sample_feasible,
    screen,
)
from tests.fakes.searches import make_problem, sample


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(screening, "POPULATION", 40)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_screening_gives_a_feasible_non_dominated_set_again_by_the_same_seed():
    problem = make_problem("9MMACs", objectives=("macs", "params"))
    objective = make_formula_objective(problem)
    front = screen(problem, objective, rng(), sample(5), 8)
    points = objective(front, problem.values(front))
    assert len(front) and problem.feasible(front).all()
    worse = [(points <= p).all(axis=1) & (points < p).any(axis=1) for p in points]
    assert not np.any(worse)
    assert (front == problem.space.canonical(front)).all()
    assert np.array_equal(front, screen(problem, objective, rng(), sample(5), 8))


def test_a_figure_that_is_no_number_does_not_win():
    problem = make_problem("9MMACs", objectives=("macs", "params"))
    formulas = make_formula_objective(problem)

    def objective(genes, values):
        points = formulas(genes, values)
        points[genes[:, 0] > 0, 1] = [np.nan, np.inf, -np.inf][genes[0, 0] % 3]
        return points

    front = screen(problem, objective, rng(), sample(5), 8)
    assert len(front) > 1 and (front[:, 0] == 0).all()


def test_feasible_samples_are_distinct_and_as_many_as_asked_for():
    problem = make_problem("8MMACs")
    genes = sample_feasible(problem, rng(), 30)
    assert len(np.unique(genes, axis=0)) == len(genes) == 30
    assert problem.feasible(genes).all()


def test_a_narrow_corner_is_found_by_evolution_where_rejection_fails():
    problem = make_problem("2.5MMACs", "0.07Mparams")
    assert not problem.feasible(sample(2_000)).any()
    genes = sample_feasible(problem, rng(), 3)
    assert 1 <= len(genes) <= 3 and problem.feasible(genes).all()


def test_the_nearest_miss_violates_least():
    problem = make_problem("1MMACs")
    nearest = find_nearest_miss(problem, rng())
    assert 1e6 < nearest["macs"] <= problem.values(sample(2_000))["macs"].min()


def test_repeated_rows_go_and_the_first_stay_in_place():
    genes = np.array([[3, 1], [2, 2], [3, 1], [0, 0], [2, 2]])
    assert drop_repeated(genes).tolist() == [[3, 1], [2, 2], [0, 0]]
