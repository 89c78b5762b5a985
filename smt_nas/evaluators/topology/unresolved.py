"""Doubt about what no published data resolve: attention, kernels, expand ratios of SAM.

Of these the published pattern has one choice, and other choices are neither better nor worse as far
as anybody showed: published networks vary in them by family alone, and in what SMT calls an expand
ratio not at all. So leaving the pattern adds nothing to what is expected, and widens the interval.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from smt_nas.arch import PRESETS
from smt_nas.evaluators.predictors import features
from smt_nas.evaluators.topology.shapes import Floats

POINTS = {
    "attention_share": 1.0,
    "attention_place": 0.5,
    "log2_kernels": 0.5,
    "log2_kernel_size": 0.5,
    "log2_expand": 0.5,
    "log2_ffn_kernel": 0.5,
}
"""Standard deviation, in points of top-1, of leaving the pattern by one unit in all blocks: as much
as a doubling of depth, the largest effect that published networks resolve, is worth (0.5); twice
that for attention in place of SAM."""


def measure_doubt(rows: Floats) -> Floats:
    """Standard deviation in points, (n,), of networks with these features, (n, F).

    A stage counts by its share of the blocks.
    """
    pattern, squares = _measure_pattern(), np.zeros(len(rows))
    for name, points in POINTS.items():
        away = np.zeros(len(rows))  # one unknown effect, the same in all stages
        for stage in range(1, 5):
            share = rows[:, features.NAMES.index(f"depth_share_{stage}")]
            away += share * np.abs(_measure_distance(rows, pattern, name, stage))
        squares += (points * away) ** 2
    return np.asarray(np.sqrt(squares))


@cache
def _measure_pattern() -> Floats:
    """Features of the published pattern, (1, F)."""
    return features.of_archs([PRESETS["smt_t"]])


def _measure_distance(rows: Floats, pattern: Floats, name: str, stage: int) -> Floats:
    """Distance from the pattern in one feature, (n,); of kernels 0 where there is no SAM block."""
    column = features.NAMES.index(f"{name}_{stage}")
    published = pattern[0, column]
    if name not in features.OF_SAM:
        return np.asarray(rows[:, column] - published)
    if pattern[0, features.NAMES.index(f"attention_share_{stage}")] == 1:
        published = pattern[0, features.NAMES.index(f"{name}_1")]  # as where the pattern has SAM
    has_sam = rows[:, features.NAMES.index(f"attention_share_{stage}")] < 1
    return np.asarray(np.where(has_sam, rows[:, column] - published, 0.0))
