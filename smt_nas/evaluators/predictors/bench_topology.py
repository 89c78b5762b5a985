"""Topology of networks for small images, as networks that were trained there have it.

    score = capacity(MACs, params, activations) + slope * (spread_c / spread_b) * topology

`topology` is what the predictor expects beyond costs, in points of the bench, less the same of the
published pattern at these MACs, whose topology the level holds already; `spread_b` is the spread of
trained networks about their costs there, and `spread_c` that of published networks about the
capacity law; `slope` is what a point of predicted topology was worth in networks held out. So a
topology that is one deviation better on the bench counts as one deviation of what capacity leaves
open, as far as the bench shows that it can be foreseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from smt_nas.evaluators import capacity
from smt_nas.evaluators.base import NORMAL_80
from smt_nas.evaluators.capacity import Capacity
from smt_nas.evaluators.predictors import features, reference
from smt_nas.evaluators.predictors.predictor import Predictor

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class SmallPrediction:
    """Of n networks for small images.

    Attributes:
        points: on the scale of capacity, whose level means nothing here, (n,).
        low, high: 80 % interval, (n,).
        topology: part of it that is of the topology, in points, (n,).
        extrapolation: how far the network lies outside the bench, in widths of the bench, (n,).
    """

    points: Floats
    low: Floats
    high: Floats
    topology: Floats
    extrapolation: Floats


def add_topology(
    level: Capacity, rows: Floats, predictor: Predictor, small: bool = True
) -> SmallPrediction:
    """Add the topology of n networks to the level.

    Args:
        level: of each.
        rows: their features, (n, F).
        predictor: of the topology.
        small: they are made for small images; else they are presets that stand beside such ones.
    """
    prediction = predictor.predict(rows)
    scale = capacity.spread() / predictor.spread
    gain = prediction.topology - _published_topology(rows, predictor, small)
    effect = predictor.held_out_slope * scale * gain
    doubt = NORMAL_80 * scale * prediction.std
    return SmallPrediction(
        points=level.top1_pct + effect,
        low=level.top1_pct + effect - np.hypot(level.top1_pct - level.low, doubt),
        high=level.top1_pct + effect + np.hypot(level.high - level.top1_pct, doubt),
        topology=effect,
        extrapolation=features.measure_distance(prediction.extrapolation),
    )


def _published_topology(rows: Floats, predictor: Predictor, small: bool) -> Floats:
    """Topology of the published pattern at the MACs of features (n, F), in points, (n,)."""
    published = _published(small)
    at = features.NAMES.index("log_macs")
    return np.interp(rows[:, at], published[:, at], predictor.predict(published).topology)


@cache
def _published(small: bool) -> Floats:
    """Features of the published networks, or of their like for small images, by MACs."""
    return features.of_archs(reference.published(small))
