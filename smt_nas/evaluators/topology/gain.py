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
from smt_nas.evaluators.base import NORMAL_80
from smt_nas.evaluators.topology.ensemble import FamilyEnsemble, Networks, to_percent
from smt_nas.evaluators.topology.fits import load_fit
from smt_nas.evaluators.topology.pattern import find_like_presets, load_presets
from smt_nas.evaluators.topology.published_table import load_published
from smt_nas.evaluators.topology.shapes import Floats, Shapes
from smt_nas.evaluators.topology.unresolved import measure_doubt

FAMILY = "smt"


@dataclass(frozen=True)
class Gain:
    """Of n networks; each field is (n,), in points of ImageNet-1K top-1, intervals of 80 %.

    Attributes:
        top1_pct, low, high: expected top-1.
        gain, gain_low, gain_high: over the preset of equal MACs.
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
    networks, preset = Networks(capped, shapes), find_like_presets(costs[:, 0])
    level, rise = _condition_on_smt().predict(networks, preset)
    assert level.std is not None and rise.std is not None
    base = to_percent(level.mean - rise.mean)
    doubt = measure_doubt(features) * 100 / (base * (100 - base))  # logits, at the preset
    level_std, rise_std = (np.hypot(s * (1 + excess), doubt) for s in (level.std, rise.std))

    def rise_to(logit: Floats) -> Floats:
        return np.asarray(to_percent(level.mean - rise.mean + logit) - base)

    by_costs = capacity.level_of_costs(capped) - capacity.level_of_costs(preset.costs)
    return Gain(
        top1_pct=to_percent(level.mean),
        low=to_percent(level.mean - NORMAL_80 * level_std),
        high=to_percent(level.mean + NORMAL_80 * level_std),
        gain=rise_to(rise.mean),
        gain_low=rise_to(rise.mean - NORMAL_80 * rise_std),
        gain_high=rise_to(rise.mean + NORMAL_80 * rise_std),
        by_capacity=by_costs,
    )


@cache
def _condition_on_smt() -> FamilyEnsemble:
    top1 = np.array(list(capacity.PUBLISHED_TOP1.values()))
    return FamilyEnsemble.condition(load_fit(), load_published(), FAMILY, load_presets(), top1)
