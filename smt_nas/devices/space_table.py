"""The block table of a device for a space: as measured, else of its sheet with each part traced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex
from smt_nas.devices.blocks import BlockTable
from smt_nas.devices.tables import find_table
from smt_nas.space import SearchSpace

if TYPE_CHECKING:
    from smt_nas.devices.device import Device

_WHOLE = 5  # networks that are traced whole, where parts do not quite add up


def table_of(device: Device, space: SearchSpace, conditions: Conditions) -> BlockTable:
    """What predicts the networks of a space on a device.

    Raises:
        MeasurementError: the device cannot do this, or it is a training step.
        ConfigError: there is a measured table, but it is damaged.
    """
    measured = find_table(device.sheet.key, space)
    found = None if measured is None else measured.block_table(conditions)
    return sheet_table(device, space, conditions) if found is None else found


def sheet_table(device: Device, space: SearchSpace, conditions: Conditions) -> BlockTable:
    """The same from the sheet alone. Raises MeasurementError, as `table_of`."""
    from smt_nas.models.parts import trace_part

    index = PartIndex.of(space, conditions.image_size)
    batch, channels_last = conditions.batch, conditions.channels_last
    costs = [device.cost(trace_part(p, batch, channels_last), conditions) for p in index.parts]
    low, high = device.interval(conditions)
    table = BlockTable(
        index=index,
        conditions=conditions,
        ms=np.array([cost.device_ms for cost in costs]),
        host_ms=np.array([cost.host_ms for cost in costs]),
        factor=device.factor(conditions),
        low=low,
        high=high,
        basis=device.basis(conditions),
        notes=device.sheet.warnings,
    )
    return _merged(device, table) if conditions.mode == "compile" else table


def _merged(device: Device, table: BlockTable) -> BlockTable:
    """Correct for the kernels that a compiler merges across the border of two parts."""
    genes = table.index.space.sample(np.random.default_rng(0), _WHOLE)
    whole = [
        device.predict_arch(arch, table.conditions).ms[0]
        for arch in table.index.space.decode(genes)
    ]
    share = float(np.median(np.array(whole) / table.predict(genes).ms))
    return replace(table, factor=table.factor * share)
