"""What is held out: seeded, stratified, a function of its arguments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smt_nas.errors import TrainingError
from smt_nas.train.data.sources import hold_out

labels = st.lists(st.integers(0, 5), min_size=2, max_size=60).map(np.array)
fractions = st.floats(0.01, 0.99)


def holdable(values):
    return bool((np.bincount(values) >= 2).any())


@given(labels.filter(holdable), fractions, st.integers(0, 2**62))
def test_every_class_of_two_or_more_is_in_both_parts(values, fraction, seed):
    kept, out = hold_out(values, fraction, seed)
    assert sorted([*kept, *out]) == list(range(len(values)))
    for label, n in enumerate(np.bincount(values)):
        held = int((values[out] == label).sum())
        if n < 2:
            assert held == 0
        else:
            assert 1 <= held <= n - 1
            assert abs(held - fraction * n) <= 1


@given(labels.filter(holdable), fractions, fractions, st.integers(0, 99))
def test_a_smaller_fraction_holds_out_some_of_a_larger_one(values, one, two, seed):
    small, large = sorted((one, two))
    assert set(hold_out(values, small, seed)[1]) <= set(hold_out(values, large, seed)[1])


def test_the_same_arguments_give_the_same_parts_and_another_seed_others():
    values = np.arange(400) % 4
    kept, out = hold_out(values, 0.25, 7)
    again = hold_out(values, 0.25, 7)
    assert np.array_equal(out, again[1]) and np.array_equal(kept, again[0])
    assert np.bincount(values[out]).tolist() == [25] * 4
    assert not np.array_equal(out, hold_out(values, 0.25, 8)[1])
    assert (np.diff(kept) > 0).all() and (np.diff(out) > 0).all()


def test_the_parts_of_a_seed_do_not_change_between_versions():
    """Runs and weights name only fraction and seed; evaluation draws the parts anew."""
    out = hold_out(np.arange(40) % 2, 0.2, 0)[1]
    assert out.tolist() == [0, 5, 10, 16, 23, 31, 33, 38]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_must_be_between_0_and_1(fraction):
    with pytest.raises(TrainingError, match=r"validation: .*between 0 and 1"):
        hold_out(np.array([0, 0, 1, 1]), fraction, 0)


def test_a_class_needs_two_images():
    with pytest.raises(TrainingError, match=r"two images or more.*got 3 images of 3 classes"):
        hold_out(np.array([0, 1, 2]), 0.5, 0)
