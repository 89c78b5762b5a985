"""Who goes on: fronts first, the most accurate and the cheapest of a front, then the gaps."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smt_nas.evaluators.short_train.ranking import count_kept, dominators, rank, rungs

POINTS = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=25)


@pytest.mark.parametrize(
    ("epochs", "eta", "expected"),
    [
        (1, 3, (1,)),
        (2, 3, (2,)),
        (3, 3, (1, 3)),
        (4, 3, (1, 4)),
        (9, 3, (1, 3, 9)),
        (10, 3, (1, 3, 10)),
        (12, 2, (1, 3, 6, 12)),
        (5, 100, (5,)),
    ],
)
def test_rungs(epochs, eta, expected):
    assert rungs(epochs, eta) == expected


@given(st.integers(1, 500), st.integers(2, 9))
def test_rungs_grow_by_eta_at_least(epochs, eta):
    found = rungs(epochs, eta)
    assert 1 <= found[0] < max(eta, 2) and found[-1] == epochs
    assert all(b >= eta * a for a, b in pairwise(found))


def test_one_always_goes_on():
    assert [count_kept(n, 3) for n in (0, 1, 2, 3, 4, 12)] == [0, 1, 1, 1, 2, 4]


@pytest.mark.parametrize(
    ("top1", "macs", "expected"),
    [
        ([], [], []),
        ([0.5], [7], [0]),
        ([0.5, 0.9], [7, 7], [1, 0]),  # one dominates
        ([0.5, 0.9], [1, 7], [1, 0]),  # none does: the more accurate
        ([0.5, 0.5, 0.5], [7, 7, 7], [0, 1, 2]),  # equal: the earlier
        ([0.9, 0.88, 0.5, 0.1], [9, 8, 4, 1], [0, 3, 2, 1]),  # ends, then what is not crowded
        ([0.9, 0.8, 0.7], [5, 6, 7], [0, 1, 2]),  # three fronts
        ([0.1, 0.9, 0.8, 0.2], [9, 5, 3, 8], [1, 2, 3, 0]),
    ],
)
def test_ranked(top1, macs, expected):
    assert rank(top1, macs) == expected


@given(POINTS)
def test_none_goes_before_one_that_dominates_it(points):
    top1, macs = zip(*points, strict=True)
    order = rank(top1, macs)
    assert sorted(order) == list(range(len(points)))
    for place, i in enumerate(order):
        assert set(dominators(i, top1, macs)) <= set(order[:place])
    best = max(points, key=lambda p: (p[0], -p[1]))
    assert points[order[0]] == best


def test_a_cut_front_keeps_its_ends_and_an_even_spread():
    macs = [1, 2, 3, 50, 51, 52, 98, 99, 100]
    order = rank([m / 100 for m in macs], macs)
    assert {macs[i] for i in order[:2]} == {1, 100}
    assert macs[order[2]] in (50, 51, 52)
