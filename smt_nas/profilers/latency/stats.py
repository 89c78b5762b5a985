"""The statistics of timing: robust, and honest about how little a few samples say.

The headline is a median, its interval a bootstrap's. Means and standard deviations stand nowhere:
times have a hard floor and a long tail.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

P90_SAMPLES, P99_SAMPLES = 64, 662  # fewest for an honest percentile (MLPerf LoadGen)
DRIFT_SAMPLES = 9  # fewest that show a drift: three in each third
INTERVAL_SAMPLES = 6  # fewer give no 95 % interval: the range of five holds the median in 94 %
DRIFT = 0.02  # share of the first third that the last one differs by
_TAILS = (0.025, 0.975)
_OFF_CPU = 1.02  # wall over CPU time of a call that was interrupted
_CLOCKS_MS = 0.003  # between reading the one clock and the other
_CHUNK = 2_000_000  # picks of the bootstrap held in memory at once


@dataclass(frozen=True)
class Summary:
    """What samples of a time say, in milliseconds.

    Attributes:
        median_ms: the headline.
        low_ms, high_ms: bootstrap 95 % interval of the median.
        p90_ms, p99_ms: None below the samples an honest one needs (64 and 662, MLPerf LoadGen).
        min_ms, iqr_ms, n: smallest, interquartile range, number of samples.
        outliers: samples outside [Q1 - 3 IQR, Q3 + 3 IQR]; counted, never dropped.
        drift: median of the last third over that of the first, minus 1.
    """

    median_ms: float
    low_ms: float
    high_ms: float
    p90_ms: float | None
    p99_ms: float | None
    min_ms: float
    iqr_ms: float
    n: int
    outliers: int
    drift: float


def summarise(samples_ms: Sequence[float] | Floats) -> Summary:
    """Summarise samples (n,) in the order they were taken, n >= 1."""
    samples = np.asarray(samples_ms, dtype=np.float64)
    q1, median, q3, p90, p99 = (float(q) for q in np.percentile(samples, (25, 50, 75, 90, 99)))
    low, high = median_interval(samples)
    reach, n = 3 * (q3 - q1), len(samples)
    first, last = thirds(samples)
    return Summary(
        median_ms=median,
        low_ms=low,
        high_ms=high,
        p90_ms=p90 if n >= P90_SAMPLES else None,
        p99_ms=p99 if n >= P99_SAMPLES else None,
        min_ms=float(samples.min()),
        iqr_ms=q3 - q1,
        n=n,
        outliers=int(((samples < q1 - reach) | (samples > q3 + reach)).sum()),
        drift=float(np.median(last) / np.median(first)) - 1,
    )


def median_interval(samples: Sequence[float] | Floats) -> tuple[float, float]:
    """Bootstrap 95 % interval of the median of samples (n,), n >= 1.

    It is the percentile interval that ever more resamples tend to, computed without any: the m-th
    smallest of n draws with replacement is at most the k-th smallest sample with probability
    P(Binomial(n, k/n) >= m), the regularised incomplete beta function I(k/n; m, n - m + 1)
    (Efron, "Bootstrap methods", Annals of Statistics 7, 1979). So it costs one sort, and needs no
    random numbers. For even n it spans both middle ranks.
    """
    # scipy.stats.quantile_test(...).confidence_interval() takes other ranks for some n (8, 31), has
    # none below 6 samples, and takes 5 ms against 0.1 ms: too long for the loop of sampling
    from scipy.special import betaincinv  # 0.25 s to import, which a prediction does not need

    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    n = len(ordered)
    middles = ((n + 1) // 2, n // 2 + 1)  # equal where n is odd
    low, high = (
        float(ordered[max(math.ceil(n * betaincinv(m, n - m + 1, tail)), 1) - 1])
        for m, tail in zip(middles, _TAILS, strict=True)
    )
    return low, high


def half_width(samples: Sequence[float] | Floats) -> float:
    """Half the width of the median's interval as a share of the median."""
    low, high = median_interval(samples)
    return (high - low) / 2 / float(np.median(samples))


def ratio_interval(
    a: Floats,
    b: Floats,
    rng: np.random.Generator | None = None,
    resamples: int = 2000,
    paired: bool = True,
) -> tuple[float, float]:
    """Bootstrap 95 % interval of median(b) / median(a).

    Args:
        a: one figure a round, (n,).
        b: (n,) of the same rounds where paired, else (m,).
        rng: draws the resamples; `default_rng(0)` where None, so that equal samples give equal
            intervals.
        resamples: how many.
        paired: one draw of rounds serves both, so that what a round did to both cancels.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    step = max(1, _CHUNK // max(len(a), len(b)))
    ratios = []
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        rounds = rng.integers(len(a), size=(size, len(a)))
        others = rounds if paired else rng.integers(len(b), size=(size, len(b)))
        ratios.append(np.median(b[others], axis=1) / np.median(a[rounds], axis=1))
    low, high = np.percentile(np.concatenate(ratios), [100 * tail for tail in _TAILS])
    return float(low), float(high)


def drifts(samples: Sequence[float] | Floats, limit: float = DRIFT) -> bool:
    """Whether the last third is unlike the first: beyond `limit`, and beyond chance.

    Chance is three standard errors of a difference of two medians, taken from the spread inside
    the thirds; a handful of noisy samples would else drift every other time. Fewer than
    `DRIFT_SAMPLES` show none.
    """
    if len(samples) < DRIFT_SAMPLES:
        return False
    first, last = thirds(np.asarray(samples, dtype=np.float64))
    difference = abs(float(np.median(last)) - float(np.median(first)))
    spread = math.hypot(*(float(np.subtract(*np.percentile(x, (75, 25)))) for x in (first, last)))
    error = 0.93 * spread / math.sqrt(len(first))  # 1.253 sigma / sqrt(n), sigma = IQR / 1.349
    return difference > max(limit * float(np.median(first)), 3 * error)


def replace_interrupted(wall_ms: Floats, cpu_ms: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Wall times of one thread, or its CPU times where others had the CPU meanwhile.

    Args:
        wall_ms, cpu_ms: of the same calls, of one shape.

    Returns: the times, and where they are CPU times.
    """
    interrupted = wall_ms > cpu_ms * _OFF_CPU + _CLOCKS_MS
    return np.where(interrupted, cpu_ms, wall_ms), interrupted


def thirds(samples: Floats) -> tuple[Floats, Floats]:
    """The first and the last third of samples (n,), at least one of each."""
    n = max(1, len(samples) // 3)
    return samples[:n], samples[-n:]
