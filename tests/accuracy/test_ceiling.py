"""What the noise of trainings leaves to be had."""

from math import asin, pi, sqrt

import numpy as np
import pytest

from smt_nas.accuracy.agreement import kendall
from smt_nas.accuracy.ceiling import at_best


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])  # of the variance that is noise
def test_at_best_is_the_tau_of_two_normals_that_correlate_so(share):
    truth = rng(1).normal(85, 0.7, 300)
    noise = np.full(300, sqrt(share) * truth.std())
    found = at_best(truth, noise, np.ones(300), rng())
    assert found.kendall == pytest.approx(2 / pi * asin(sqrt(1 - share)), abs=0.02)
    assert found.in_band == found.kendall  # all are in one band


def test_at_best_is_what_the_expected_accuracies_score():
    """In a world where they are known."""
    expected, macs = rng(2).normal(85, 0.7, 400), rng(3).uniform(5, 40, 400)
    noise = np.where(np.arange(400) % 2, 0.3, 0.2)
    trained = expected + noise * rng(4).normal(size=400)
    found = at_best(trained, noise, macs, rng())
    assert found.kendall == pytest.approx(kendall(expected, trained), abs=0.03)
    assert found.in_band == pytest.approx(found.kendall, abs=0.03)


@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_without_noise_or_without_anything_else_nothing_is_told(noise):
    assert at_best(rng(5).normal(size=50), np.full(50, noise), np.ones(50), rng()) is None
