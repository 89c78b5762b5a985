"""Where a network lies outside what was trained: feature by feature, against the shipped bench."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from smt_nas.arch import Architecture
from smt_nas.evaluators import features, published_agreement

_LEAST = 0.02  # widths of the bench; less is rounding

_WORDS = {
    "log_macs": "MACs against the published pattern",
    "log_params": "params against the published pattern",
    "log_activations": "activations against the published pattern",
    "log_depth": "blocks against the published pattern",
    "log2_width": "width of stage {} against stage {}",
    "depth_share": "share of the blocks in stage {}",
    "macs_share": "share of the MACs in stage {}",
    "log2_ffn": "FFN ratio of stage {} against the published pattern",
    "attention_share": "share of attention in stage {}",
    "attention_place": "place of the attention in stage {}",
    "log2_kernels": "number of kernels in stage {}",
    "log2_kernel_size": "kernel size in stage {}",
    "log2_expand": "expand ratio of stage {}",
}


@dataclass(frozen=True)
class Beyond:
    """A feature of a network that no network of the bench had.

    Attributes:
        feature: of `features.NAMES`.
        words: what it is.
        value: of the network, in the unit of `words`.
        low, high: of the bench.
        widths: how far outside, in widths of the bench.
    """

    feature: str
    words: str
    value: float
    low: float
    high: float
    widths: float

    def __str__(self) -> str:
        """Write it for a sentence."""
        return f"{self.words} {self.value:.3g} (bench {self.low:.3g} to {self.high:.3g})"


def beyond(arch: Architecture) -> tuple[Beyond, ...]:
    """Features of a network that lie outside the shipped bench, the farthest first."""
    ranges = published_agreement.ranges()
    low, high = np.array([ranges.get(name, (np.nan, np.nan)) for name in features.NAMES]).T
    row = features.of_archs([arch])
    widths = features.extrapolation(row, low, high)[0]
    features_outside = []
    for i in np.flatnonzero(widths > _LEAST):  # NaN, where nothing is known, is not
        name = features.NAMES[i]
        value, least, most = (_shown(name)(float(v)) for v in (row[0, i], low[i], high[i]))
        features_outside.append(Beyond(name, _words(name), value, least, most, float(widths[i])))
    return tuple(sorted(features_outside, key=lambda b: -b.widths))


def _shown(name: str) -> Callable[[float], float]:
    """From a feature to a number that a reader knows."""
    if name.startswith("log2_"):
        return lambda value: 2.0**value
    return math.exp if name.startswith("log_") else float


def _words(name: str) -> str:
    stem = name.rstrip("_0123456789")
    stages = [part for part in name.removeprefix(stem).split("_") if part]
    return _WORDS[stem].format(*stages)
