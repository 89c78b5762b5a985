"""Percentile intervals of a statistic, over resamples of networks (Efron 1979)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from smt_nas.evaluators.validation.rank_statistics import Floats

_LEVELS = (0.025, 0.975)
_DEFINED = 0.9  # share of resamples that must define a statistic for it to have an interval


@dataclass(frozen=True)
class BootstrapEstimate:
    """A statistic of n networks, with its 95 % bootstrap interval (percentiles, over networks).

    None: undefined; for the bounds also where over a tenth of the resamples leave it undefined.
    """

    value: float | None
    low: float | None
    high: float | None


def default_groups(groups: ArrayLike | None, figures: ArrayLike) -> ArrayLike:
    """The groups (n,); None: one for each of the figures (n,)."""
    return np.arange(np.size(figures)) if groups is None else groups


def draw_weights(groups: ArrayLike, resamples: int, rng: np.random.Generator) -> Floats:
    """Weights (1 + resamples, n): each network once, then counts of draws with replacement.

    What is drawn are groups (n,).
    """
    kinds, of = np.unique(groups, return_inverse=True)
    drawn = rng.multinomial(len(kinds), np.full(len(kinds), 1 / len(kinds)), resamples)
    return np.vstack([np.ones((1, len(of))), drawn[:, of]])


def first_finite(values: Floats) -> float | None:
    """The first of the values, where it is defined."""
    return float(values[0]) if np.isfinite(values[0]) else None


def summarise(values: Floats) -> BootstrapEstimate:
    """Of the values (1 + r,) at the weights of `draw_weights`."""
    value, drawn = first_finite(values), values[1:][np.isfinite(values[1:])]
    if value is None or drawn.size < max(1, _DEFINED * (values.size - 1)):
        return BootstrapEstimate(value, None, None)
    low, high = np.quantile(drawn, _LEVELS)
    return BootstrapEstimate(value, float(low), float(high))
