"""The statistics of timing: robust, and honest about how little a few samples say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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


def summarise(samples_ms: Sequence[float] | NDArray[np.float64]) -> Summary:
    """Summarise one sample set (n,), n >= 1."""
    raise NotImplementedError
