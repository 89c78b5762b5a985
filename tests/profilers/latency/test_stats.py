"""What samples say: intervals that cover, percentiles only where they are honest."""

import numpy as np
import pytest

from smt_nas.profilers.latency.stats import (
    drifts,
    half_width,
    median_interval,
    ratio_interval,
    summarise,
)


def times(n, seed=0, ms=10.0):
    """Times with a floor and a long tail."""
    return ms + np.random.default_rng(seed).gamma(2.0, 0.3, n)


def test_a_summary_by_hand():
    found = summarise([3.0, 1.0, 2.0, 5.0, 4.0])
    assert (found.median_ms, found.min_ms, found.iqr_ms, found.n) == (3.0, 1.0, 2.0, 5)
    assert (found.low_ms, found.high_ms) == (1.0, 5.0)
    assert found.drift == pytest.approx(4.0 / 3.0 - 1)
    assert (found.p90_ms, found.p99_ms, found.outliers) == (None, None, 0)


def test_one_sample_is_a_summary():
    found = summarise([7.0])
    assert (found.median_ms, found.low_ms, found.high_ms, found.min_ms) == (7.0, 7.0, 7.0, 7.0)
    assert (found.iqr_ms, found.drift, found.n) == (0.0, 0.0, 1)


@pytest.mark.parametrize(
    ("n", "p90", "p99"),
    [(63, False, False), (64, True, False), (661, True, False), (662, True, True)],
)
def test_percentiles_need_their_samples(n, p90, p99):
    found = summarise(times(n))
    assert (found.p90_ms is not None, found.p99_ms is not None) == (p90, p99)
    if p99:
        assert found.median_ms < found.p90_ms < found.p99_ms


def test_outliers_are_counted_and_kept():
    samples = np.linspace(9.0, 11.0, 100)
    found = summarise([*samples, 100.0, 0.1])
    assert (found.outliers, found.n, found.min_ms) == (2, 102, 0.1)
    assert summarise(samples).outliers == 0


@pytest.mark.parametrize("n", [1, 2, 5, 6, 31, 64, 101])
def test_the_interval_is_the_one_that_resampling_tends_to(n):
    samples = np.sort(times(n, seed=n))
    medians = np.median(np.random.default_rng(1).choice(samples, (40_000, n)), axis=1)
    drawn = np.quantile(medians, (0.025, 0.975))
    for mine, theirs in zip(median_interval(samples), drawn, strict=True):
        # for even n, whose medians lie between samples, it may be wider by one of them
        ranks = np.interp([mine, theirs], samples, np.arange(n)) if n > 1 else [0, 0]
        assert abs(ranks[0] - ranks[1]) <= (n % 2 == 0)


@pytest.mark.parametrize("n", [10, 31, 100])
def test_the_interval_holds_the_true_median_as_often_as_it_says(n):
    truth = 10 + 0.3 * 1.67834699  # of gamma(2)
    intervals = [median_interval(times(n, seed)) for seed in range(400)]
    held = sum(low <= truth <= high for low, high in intervals)
    assert 0.92 <= held / 400 <= 0.995


def test_more_samples_narrow_it():
    assert half_width(times(2000)) < half_width(times(200)) / 2 < half_width(times(20)) / 4


def test_equal_samples_have_equal_summaries_and_equal_ratios():
    assert summarise(times(200)) == summarise(times(200).tolist())
    a, b = times(60), times(60, 1)
    assert ratio_interval(a, b) == ratio_interval(a, b)
    assert ratio_interval(a, b) != ratio_interval(a, b, np.random.default_rng(1))


def test_pairs_cancel_what_befell_both():
    rng = np.random.default_rng(0)
    moments = 1 + rng.exponential(0.3, 100)  # how slow the machine was, by round
    a, b = 10 * moments, 10.5 * moments * (1 + 0.003 * rng.standard_normal(100))
    low, high = ratio_interval(a, b)
    apart = ratio_interval(a, b, paired=False)
    assert 1.04 < low < 1.05 < high < 1.06
    assert high - low < (apart[1] - apart[0]) / 3


def test_two_runs_need_not_be_of_one_length():
    low, high = ratio_interval(times(50), 2 * times(80, 1), paired=False)
    assert low < 2 < high


def test_a_long_run_is_resampled_in_pieces(monkeypatch):
    a, b = times(300), times(300, 1)
    whole = ratio_interval(a, b, resamples=100)
    monkeypatch.setattr("smt_nas.profilers.latency.stats._CHUNK", 3000)
    assert ratio_interval(a, b, resamples=100) == pytest.approx(whole, rel=1e-3)


def test_a_trend_is_a_drift_and_noise_is_none():
    noise = times(300)
    assert not drifts(noise)
    assert drifts(noise * np.linspace(1, 1.05, 300))
    assert drifts(noise * np.linspace(1.05, 1, 300))
    assert not drifts(noise * np.linspace(1, 1.02, 300))  # thirds 1.3 % apart
    assert sum(drifts(10 * (1 + 0.1 * times(30, s))) for s in range(200)) <= 6


def test_a_handful_of_samples_may_drift_too_but_not_two():
    assert drifts([1.0, 1.0, 1.0, 1.5, 1.5, 1.5, 2.0, 2.0, 2.0])
    assert not drifts([1.0, 2.0])
