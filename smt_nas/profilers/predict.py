"""The latency of any network on a device, as its table or its sheet predicts it."""

from __future__ import annotations

from smt_nas.conditions import Conditions
from smt_nas.devices.block_table import Latency
from smt_nas.devices.device import Device
from smt_nas.devices.measured_table import find_table
from smt_nas.devices.registry import tables_of
from smt_nas.errors import SmtNasError
from smt_nas.files import names
from smt_nas.profilers.breakdown import operators
from smt_nas.profilers.figure import Figure, predicted_latency, unknown
from smt_nas.profilers.networks import Network
from smt_nas.space import SearchSpace


def prediction(network: Network, device: Device, conditions: Conditions) -> Figure:
    """What the device's sheet or table says; without a value where it cannot."""
    try:
        latency = _of_table(network, device, conditions)
        if latency is None:
            latency = device.predict_ops(operators(network, conditions), conditions)
        return predicted_latency(latency)
    except SmtNasError as error:  # also of a damaged table: what was measured beside it stays
        return unknown("predicted", str(error))


def _of_table(network: Network, device: Device, conditions: Conditions) -> Latency | None:
    """What a table measured on the device says; None where none covers network and conditions."""
    arch = network.arch
    if arch is None or conditions.image_size not in (None, arch.image_size):
        return None
    for name in sorted({*tables_of(device.sheet.key)} & {*names("search_spaces")}):
        space = SearchSpace.load(name)
        table = find_table(device.sheet.key, space) if space.contains([arch])[0] else None
        blocks = None if table is None else table.block_table(conditions)
        if blocks is not None:
            return blocks.predict(space.encode(arch))
    return None
