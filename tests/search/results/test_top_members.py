"""What is trained after a search: knees of the front, and the preset of equal MACs beside each."""

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.search.results.knee_points import choose_knees, order_knees
from smt_nas.search.results.top_members import list_top_members
from tests.fakes.searches import make_outcome, make_problem, make_trials, sample


def test_the_knee_comes_first_then_those_between_then_the_ends_then_what_is_dominated():
    points = np.array(
        [[0.0, 10.0], [1.0, 2.0], [2.0, 1.5], [10.0, 0.0], [5.0, 1.4], [6.0, 9.0], [0.5, 9.0]]
    )
    assert order_knees(points)[:1] == [1]
    assert sorted(order_knees(points)[:4]) == [1, 2, 4, 6]
    assert order_knees(points)[4:] == [0, 3, 5]


@pytest.mark.parametrize("points", [[[1.0, 1.0]], [[1.0, 2.0], [2.0, 1.0]], [[1.0, 1.0]] * 3])
def test_few_points_are_all_there_once(points):
    assert sorted(order_knees(np.array(points))) == list(range(len(points)))


@pytest.fixture(scope="module")
def outcome():
    problem = make_problem("20MMACs", objectives=("score", "macs"))
    return make_outcome(problem, make_trials(problem, sample(80)))


def test_knees_are_members_and_no_more_than_there_are(outcome):
    knees = choose_knees(outcome.problem, outcome.front, 3)
    assert len(knees) == 3 and all(r in outcome.front for r in knees)
    everything = choose_knees(outcome.problem, outcome.front, 1000)
    assert everything[:3] == knees and len(everything) == len(outcome.front)
    assert choose_knees(outcome.problem, [], 3) == []


def test_a_preset_of_equal_macs_stands_beside_each_knee(outcome):
    members = list_top_members(outcome, 2)
    ours, presets = members[:2], members[2:]
    assert [m.baseline for m in members] == [False, False, *[True] * len(presets)]
    for member in ours:
        macs = costs.of(member.arch).macs
        assert any(abs(costs.of(p.arch).macs / macs - 1) <= 0.1 for p in presets)
        assert member.folder == member.arch.key
    assert all(m.name.startswith("smt_t scaled to ") for m in presets)
    assert len({m.folder for m in members}) == len(members)
