"""Accuracy from counts: Wilson's interval against its definition, figures against hand counts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smt_nas.runtime.progress import EvalWarning
from smt_nas.train.evaluation import ClassScore, Counts, score_from_counts, wilson_interval


def counts(images, first, among5, loss=0.0, nonfinite=0, confusion=None):
    arrays = [np.array(x, float) for x in (images, first, among5)]
    return Counts(*arrays, loss, nonfinite, None if confusion is None else np.array(confusion))


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [  # by hand from Wilson's formula with z = 1.96; the first is the textbook's 3.84 / (n + 3.84)
        (0, 10, 0.0, 0.27753),
        (5, 10, 0.23659, 0.76341),
        (10, 10, 0.72247, 1.0),
        (9123, 10000, 0.90659, 0.91769),
    ],
)
def test_known_intervals(hits, n, low, high):
    assert wilson_interval(hits, n) == pytest.approx((low, high), abs=2e-5)


@given(st.integers(1, 10**6), st.floats(0, 1))
def test_ends_are_196_of_their_own_standard_errors_away(n, share):
    hits = round(share * n)
    low, high = wilson_interval(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    for end in (low, high):
        if 0 < end < 1:
            errors = abs(end - hits / n) / math.sqrt(end * (1 - end) / n)
            assert errors == pytest.approx(1.959964, rel=1e-5)
    mirrored = wilson_interval(n - hits, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(("hits", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_counts_that_cannot_be(hits, n):
    with pytest.raises(ValueError, match="hits must be from 0 to n"):
        wilson_interval(hits, n)


def test_a_score_is_its_counts():
    confusion = np.zeros((6, 6))
    confusion[0, 0], confusion[0, 2], confusion[0, 4], confusion[1, 1] = 6, 1, 3, 5
    found = score_from_counts(
        counts([10, 5, 0, 0, 0, 0], [6, 5, 0, 0, 0, 0], [9, 5, 0, 0, 0, 0], 7.0, 1, confusion),
        "abcdef",
        of=17,
    )
    assert (found.n, found.top1, found.top5) == (15, 11 / 15, 14 / 15)
    assert (found.top1_low, found.top1_high) == wilson_interval(11, 15)
    assert found.loss == 7.0 / 14  # one image of the 15 has no loss
    first, second, third, *_ = found.per_class
    assert first == ClassScore("a", 10, 0.6, *wilson_interval(6, 10), "e", 3)
    assert (second.confused_with, second.confused) == (None, 0)
    assert third == ClassScore("c", 0, None, None, None)
    kinds = [(warning.kind, warning.count) for warning in found.warnings()]
    assert kinds == [("nonfinite", 1), ("unreadable", 2)]


def test_top5_needs_six_classes():
    five = score_from_counts(counts([1] * 5, [1] * 5, [1] * 5), "abcde")
    assert five.top5 is None and five.warnings() == (EvalWarning("no_top5", 5, 5),)
    six = score_from_counts(counts([1] * 6, [1] * 6, [1] * 6), "abcdef")
    assert six.top5 == 1.0 and six.warnings() == ()


def test_no_loss_where_no_output_was_finite():
    found = score_from_counts(counts([2, 0], [0, 0], [0, 0], nonfinite=2), "ab")
    assert (found.top1, found.loss, found.top1_low) == (0.0, None, 0.0)
