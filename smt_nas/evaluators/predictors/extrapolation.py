"""Where a network lies outside what was trained: feature by feature, against the shipped bench."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from smt_nas.arch import Architecture
from smt_nas.evaluators import published_agreement
from smt_nas.evaluators.predictors import features

_LEAST = 0.02  # widths of the bench; less is rounding


@dataclass(frozen=True)
class ExtrapolatedFeature:
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


def find_extrapolated(archs: Sequence[Architecture]) -> list[tuple[ExtrapolatedFeature, ...]]:
    """Features of each network that lie outside the shipped bench, the farthest first."""
    ranges = published_agreement.feature_ranges()
    if ranges:  # evidence of before a feature was added is of networks that all had it at 0
        ranges = dict.fromkeys(features.NEUTRAL, (0.0, 0.0)) | ranges
    low, high = np.array([ranges.get(name, (np.nan, np.nan)) for name in features.NAMES]).T
    rows = features.of_archs(archs)
    widths = features.extrapolation(rows, low, high)
    return [_list_outside(*pair, low, high) for pair in zip(rows, widths, strict=True)]


def _list_outside(
    row: features.Floats, widths: features.Floats, low: features.Floats, high: features.Floats
) -> tuple[ExtrapolatedFeature, ...]:
    """Those of one network, of its features (F,)."""
    features_outside = []
    for i in np.flatnonzero(widths > _LEAST):  # NaN, where nothing is known, is not
        name = features.NAMES[i]
        value, least, most = (_choose_unit(name)(float(v)) for v in (row[i], low[i], high[i]))
        features_outside.append(
            ExtrapolatedFeature(name, features.WORDS[name], value, least, most, float(widths[i]))
        )
    return tuple(sorted(features_outside, key=lambda b: -b.widths))


def _choose_unit(name: str) -> Callable[[float], float]:
    """From a feature to a number that a reader knows."""
    if name.startswith("log2_"):
        return lambda value: 2.0**value
    return math.exp if name.startswith("log_") else float
