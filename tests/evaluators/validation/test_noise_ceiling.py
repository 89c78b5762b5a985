"""What the noise of trainings leaves to be had."""

from math import asin, pi, sqrt

import numpy as np
import pytest

from smt_nas.evaluators.validation.agreement import measure_agreement
from smt_nas.evaluators.validation.noise_ceiling import simulate_best


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])  # of the variance that is noise
def test_at_best_is_the_tau_of_two_normals_that_correlate_so(share):
    truth = rng(1).normal(85, 0.7, 300)
    noise = np.full(300, sqrt(share) * truth.std())
    found = simulate_best(truth, noise, np.full(300, 9e6), rng())
    assert found.kendall.value == pytest.approx(2 / pi * asin(sqrt(1 - share)), abs=0.02)
    assert found.in_band == found.kendall  # all are in one band
    assert found.kendall.low < found.kendall.value < found.kendall.high


def test_at_best_is_what_the_expected_accuracies_score():
    """In a world where they are known: of size for the most part, so that bands hold little."""
    macs = np.exp(rng(3).uniform(np.log(5), np.log(40), 400))
    expected = 85 + 0.8 * np.log(macs) + rng(2).normal(0, 0.3, 400)
    noise = np.where(np.arange(400) % 2, 0.3, 0.2)
    trained = expected + noise * rng(4).normal(size=400)
    found = simulate_best(trained, noise, macs, rng())
    actual = measure_agreement(expected, trained, macs, macs, rng(), resamples=0)
    assert found.kendall.value == pytest.approx(actual.kendall.value, abs=0.03)
    assert found.in_band.value == pytest.approx(actual.in_band.value, abs=0.05)
    assert found.in_band.value < found.kendall.value - 0.1


def test_what_differs_in_size_alone_leaves_nothing_at_equal_macs():
    macs = np.repeat(np.geomspace(5, 40, 20), 10)
    trained = 85 + np.log(macs) + rng(5).normal(0, 0.3, 200)
    found = simulate_best(trained, np.full(200, 0.3), macs, rng())
    assert found.kendall.value > 0.6
    assert found.in_band.value is None or abs(found.in_band.value) < 0.2


def test_without_known_noise_nothing_is_told():
    assert simulate_best(rng(5).normal(size=50), np.zeros(50), np.ones(50), rng()) is None
