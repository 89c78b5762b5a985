"""The preset of equal cost: the published SMTs, and what lies between and beyond them.

Between two presets in MACs, logarithms of costs, depths, widths and expansions are interpolated,
and shares of MACs; beyond them the first or the last preset is scaled in width, by which parameters
go with MACs and activations with their square root.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from smt_nas import costs
from smt_nas.arch import PRESETS
from smt_nas.evaluators.capacity import UNITS
from smt_nas.evaluators.topology.ensemble import Networks
from smt_nas.evaluators.topology.shapes import Floats, Shapes

_SCALED_IN_WIDTH = np.array([1.0, 1.0, 0.5])  # exponent on MACs of each cost


@cache
def load_presets() -> Networks:
    """The published SMTs, the smallest first."""
    archs = list(PRESETS.values())
    rows = [(c.macs, c.params, c.activations) for c in map(costs.of, archs)]
    return Networks(np.array(rows) / UNITS, Shapes.of_archs(archs))


def interpolate_presets(gmacs: Floats) -> Networks:
    """The presets of so many GMACs, (n,)."""
    presets = load_presets()
    at, log_macs = np.log(presets.costs[:, 0]), np.log(gmacs)
    inside = np.clip(log_macs, at[0], at[-1])
    beyond = np.exp(np.outer(log_macs - inside, _SCALED_IN_WIDTH))

    def between(values: Floats) -> Floats:
        return np.column_stack([np.interp(inside, at, column) for column in values.T])

    shapes = presets.shapes
    return Networks(
        costs=np.exp(between(np.log(presets.costs))) * beyond,
        shapes=Shapes(
            depth=np.exp(between(np.log(shapes.depth))),
            width=np.exp(between(np.log(shapes.width))),
            expansion=np.exp(between(np.log(shapes.expansion))),
            macs=between(shapes.macs_share),
        ),
    )
