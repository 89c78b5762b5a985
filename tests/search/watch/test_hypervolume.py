"""The hypervolume of a search, trial by trial: it never falls, and counts what the front takes."""

import numpy as np
import pytest

from smt_nas.evaluators import Evaluation
from smt_nas.search.watch import hypervolume
from smt_nas.search.watch.hypervolume import (
    compare_hypervolumes,
    measure_growth,
    measure_points,
    trace_hypervolume,
)
from tests.fakes.searches import make_problem, make_trials, sample

INF = np.inf


def test_it_grows_with_the_front_and_with_nothing_else():
    points = np.array([[1.0, 0.0], [1.0, 1.0], [INF, INF], [0.0, 1.0], [0.5, 0.5], [0.6, 0.6]])
    curve = trace_hypervolume(points)
    box = 1.1**2
    assert curve == pytest.approx(np.array([0.11, 0.11, 0.11, 0.21, 0.46, 0.46]) / box)
    assert trace_hypervolume(np.full((3, 2), INF)).tolist() == [0, 0, 0]
    assert trace_hypervolume(np.empty((0, 2))).tolist() == []


@pytest.mark.parametrize("size", [1, 2, 4])
def test_growth_is_what_the_curve_grew_by(size):
    points = np.random.default_rng(0).random((60, size))
    curve = trace_hypervolume(points)
    assert (np.diff(curve) >= 0).all()
    assert measure_growth(points, 20) == pytest.approx(curve[-1] / curve[19] - 1)
    assert measure_growth(points, 60) == 0.0


def test_growth_from_nothing_is_boundless():
    points = np.array([[INF, INF], [1.0, 1.0]])
    assert measure_growth(points, 1) == INF


def test_what_failed_or_breaks_the_budget_counts_for_nothing():
    problem = make_problem("12MMACs", objectives=("score", "macs"))
    genes = sample(40)
    evaluations = [
        Evaluation(None, "function", failure="broke") if i % 4 == 0 else Evaluation(1.0, "function")
        for i in range(40)
    ]
    points = measure_points(problem, make_trials(problem, genes, evaluations))
    fits = problem.feasible(genes)
    assert 0 < fits.sum() < 40
    for i, point in enumerate(points):
        counts = bool(fits[i]) and i % 4 != 0
        assert np.isfinite(point).all() == counts


def test_of_many_points_it_is_computed_now_and_then(monkeypatch):
    points = np.random.default_rng(0).random((95, 3))
    points[::7] = INF
    each = trace_hypervolume(points)
    monkeypatch.setattr(hypervolume, "_EACH", 50)
    monkeypatch.setattr(hypervolume, "_TIMES", 10)
    some = trace_hypervolume(points)
    assert len(set(some.tolist())) <= 11 and (np.diff(some) >= 0).all()
    computed = [i for i in range(1, 95) if some[i] > some[i - 1]]
    assert some[computed] == pytest.approx(each[computed]) and some[-1] == pytest.approx(each[-1])
    assert (some <= each + 1e-12).all() and len(computed) >= 5


def test_sets_are_compared_in_the_box_around_all_of_them():
    corner, both = np.array([[0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0], [INF, INF]])
    box = 1.1**2
    expected = [1.1 * 0.1 / box, (1.1**2 - 1) / box, 0.0]
    assert compare_hypervolumes([corner, both, both[2:]]) == pytest.approx(expected)
