"""The gain over the preset of equal MACs: 0 for presets, and never sure far from what is known."""

import numpy as np
import pytest

from smt_nas.arch import PRESETS
from smt_nas.evaluators import capacity
from smt_nas.evaluators.predictors import features
from smt_nas.evaluators.topology.gain import estimate_gain
from smt_nas.evaluators.topology.shapes import Shapes
from tests.fakes.published import promised_before


def estimate(*archs):
    costs = np.array([capacity.costs_of_arch(arch) for arch in archs])
    return estimate_gain(costs, Shapes.of_archs(archs), features.of_archs(list(archs)))


def change(arch, stage, **fields):
    stages = list(arch.stages)
    stages[stage] = stages[stage].model_copy(update=fields)
    return arch.model_copy(update={"stages": tuple(stages)})


def test_presets_lie_as_far_from_what_is_expected_as_one_training_may():
    """Their gain is what is expected of them less what was published: noise of one training."""
    gain = estimate(*PRESETS.values())
    np.testing.assert_allclose(gain.gain, 0, atol=0.25)
    assert abs(gain.gain.mean()) < 0.05
    np.testing.assert_allclose(gain.by_capacity, 0, atol=1e-9)
    np.testing.assert_allclose(gain.top1_pct, list(capacity.PUBLISHED_TOP1.values()), atol=0.3)
    assert (gain.gain_low < 0).all() and (gain.gain_high > 0).all()


def test_intervals_grow_away_from_published_designs():
    t = PRESETS["smt_t"]
    path = [t, change(t, 1, depth=8), change(t, 1, depth=16), change(t, 1, depth=28)]
    gain = estimate(*path)
    assert (np.diff(gain.gain_high - gain.gain_low) > 0).all()
    assert (np.diff(gain.high - gain.low) > 0).all()


def test_what_no_data_resolve_moves_no_mean_and_widens_the_interval():
    t = PRESETS["smt_t"]
    other = t.model_copy(
        update={"stages": tuple(s.model_copy(update={"kernels": (3,)}) for s in t.stages)}
    )
    costs, shapes = np.tile(capacity.costs_of_arch(t), (2, 1)), Shapes.of_archs([t, t])
    gain = estimate_gain(costs, shapes, features.of_archs([t, other]))
    assert gain.gain[1] == gain.gain[0] and gain.top1_pct[1] == gain.top1_pct[0]
    assert gain.low[1] < gain.low[0] and gain.gain_low[1] < gain.gain_low[0]


def test_what_was_recommended_before_has_a_lower_bound_a_point_below_smt_t():
    gain = estimate(PRESETS["smt_t"], promised_before())
    assert gain.low[1] < gain.low[0] - 1.0
    assert gain.gain_low[1] < -1.0


def test_costs_beyond_the_usual_count_for_nothing_and_widen():
    t = PRESETS["smt_t"]
    costs = np.tile(capacity.costs_of_arch(t), (2, 1))
    costs[1, 1] *= 20  # parameters at the same MACs
    gain = estimate_gain(costs, Shapes.of_archs([t, t]), features.of_archs([t, t]))
    assert gain.by_capacity[1] < 0.5
    assert gain.high[1] - gain.low[1] > gain.high[0] - gain.low[0]


@pytest.mark.parametrize("gmacs", [0.3, 60.0])
def test_beyond_all_presets_the_figures_stay_finite_percentages(gmacs):
    t = PRESETS["smt_t"]
    costs = capacity.costs_of_arch(t)[None] * gmacs / 2.4
    gain = estimate_gain(costs, Shapes.of_archs([t]), features.of_archs([t]))
    assert 0 < gain.low[0] < gain.top1_pct[0] < gain.high[0] < 100
