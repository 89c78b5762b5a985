"""Gain over the preset of equal cost, on ImageNet, by what published networks show.

    logit(top-1) = that of the preset of equal MACs + what costs and topology are worth beside it

Both by `FamilyEnsemble`, conditioned on the four results published for SMT. Parameters and
activations beyond what is usual at their MACs count for nothing, as in `capacity`, and widen the
interval; so does what no data resolve (`unresolved`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from smt_nas.evaluators import capacity
from smt_nas.evaluators.base import NORMAL_80, NORMAL_95
from smt_nas.evaluators.scaling_law import LAW
from smt_nas.evaluators.topology.ensemble import FamilyEnsemble, Networks
from smt_nas.evaluators.topology.fits import load_fit
from smt_nas.evaluators.topology.pattern import interpolate_presets, load_presets
from smt_nas.evaluators.topology.published_table import load_published
from smt_nas.evaluators.topology.shapes import Floats, Shapes
from smt_nas.evaluators.topology.unresolved import measure_doubt

FAMILY = "smt"


@dataclass(frozen=True)
class Gain:
    """Of n networks; each field is (n,), in points of ImageNet-1K top-1.

    Attributes:
        top1_pct, low, high: expected top-1, with an interval of 80 %.
        gain, gain_low, gain_high: over what is published of the preset of equal MACs, with an
            interval of 95 %, as a gain is a claim, and of the best of many; between two presets
            that is interpolated, and beyond them as far off expectation as the nearest.
        by_capacity: of the gain, what costs alone account for.
    """

    top1_pct: Floats
    low: Floats
    high: Floats
    gain: Floats
    gain_low: Floats
    gain_high: Floats
    by_capacity: Floats


def estimate_gain(costs: Floats, shapes: Shapes, features: Floats) -> Gain:
    """Estimate n networks.

    Args:
        costs: GMACs, M parameters and M activations, (n, 3), at 224 px.
        shapes: of their stages.
        features: as `predictors.features` has them, (n, F).
    """
    capped, excess = capacity.cap_costs(costs)
    networks, preset = Networks(capped, shapes), interpolate_presets(costs[:, 0])
    level, rise = _condition_on_smt().predict(networks, preset)
    assert level.std is not None and rise.std is not None
    base = level.mean - rise.mean + _interpolate_residuals(costs[:, 0])
    by_base, at_base = level.mean - base, LAW.percent(base)
    doubt = measure_doubt(features) * 100 / (at_base * (100 - at_base))  # logits
    level_std, rise_std = (np.hypot(s * (1 + excess), doubt) for s in (level.std, rise.std))
    # what is published of the preset is known, so that all that is open of the network counts
    gain_std = np.maximum(level_std, rise_std)

    def to_gain(logit: Floats) -> Floats:
        return np.asarray(LAW.percent(base + logit) - at_base)

    by_costs = capacity.level_of_costs(capped) - capacity.level_of_costs(preset.costs)
    return Gain(
        top1_pct=LAW.percent(level.mean),
        low=LAW.percent(level.mean - NORMAL_80 * level_std),
        high=LAW.percent(level.mean + NORMAL_80 * level_std),
        gain=to_gain(by_base),
        gain_low=to_gain(by_base - NORMAL_95 * gain_std),
        gain_high=to_gain(by_base + NORMAL_95 * gain_std),
        by_capacity=by_costs,
    )


def _interpolate_residuals(gmacs: Floats) -> Floats:
    """By how much the preset of so many GMACs is better than the process says, logits, (n,).

    Of a published preset what its paper tells less what is expected: a gain is over the former.
    """
    at = np.log(load_presets().costs[:, 0])
    return np.asarray(np.interp(np.log(gmacs), at, _measure_residuals()))


@cache
def _measure_residuals() -> Floats:
    presets = load_presets()
    level, _ = _condition_on_smt().predict(presets, presets)
    return LAW.scale(_published_top1()) - level.mean


def _published_top1() -> Floats:
    return np.array(list(capacity.PUBLISHED_TOP1.values()))


@cache
def _condition_on_smt() -> FamilyEnsemble:
    presets, top1 = load_presets(), _published_top1()
    return FamilyEnsemble.condition(load_fit(), load_published(), FAMILY, presets, top1)
