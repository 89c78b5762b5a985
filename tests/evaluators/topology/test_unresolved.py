"""Doubt about attention, kernels and expand ratios: none for the pattern, more the further away."""

import numpy as np
import pytest

from smt_nas.arch import PRESETS
from smt_nas.evaluators.predictors import features
from smt_nas.evaluators.topology.unresolved import measure_doubt

T = PRESETS["smt_t"]


def doubt(**fields):
    """Of SMT-T with other fields in stages 1 and 2."""
    stages = tuple(s.model_copy(update=fields) if i < 2 else s for i, s in enumerate(T.stages))
    return measure_doubt(features.of_archs([T.model_copy(update={"stages": stages})]))[0]


def test_the_published_pattern_has_none():
    """Of SMT-S, B and L next to none: 28 blocks alternate by other shares than 8."""
    assert doubt() == 0
    assert (measure_doubt(features.of_archs(list(PRESETS.values()))) < 0.1).all()


@pytest.mark.parametrize(
    "steps",
    [
        [{"kernels": (3, 5, 7)}, {"kernels": (3, 5)}, {"kernels": (3,)}],
        [{"expand_ratio": 4}, {"expand_ratio": 8}],
        [{"attention_ratio": 0.5, "head_dim": 32}, {"attention_ratio": 1.0, "head_dim": 32}],
    ],
)
def test_it_grows_with_the_distance_from_the_pattern(steps):
    values = [0.0, *(doubt(**step) for step in steps)]
    assert (np.diff(values) > 0).all()
