"""The latency of any network on a device, as its table or its sheet predicts it."""

from __future__ import annotations

from smt_nas.devices.conditions import Conditions
from smt_nas.devices.device import Device
from smt_nas.devices.latency import Latency
from smt_nas.devices.registry import tables_of
from smt_nas.errors import MeasurementError
from smt_nas.profilers.breakdown import operators
from smt_nas.profilers.figure import Figure, predicted_latency, unknown
from smt_nas.profilers.networks import Network
from smt_nas.resources import names
from smt_nas.space import SearchSpace


def prediction(network: Network, device: Device, conditions: Conditions) -> Figure:
    """What the device's sheet or table says; without a value where it cannot."""
    try:
        latency = _of_table(network, device, conditions)
        if latency is None:
            latency = device.predict_ops(operators(network, conditions), conditions)
        return predicted_latency(latency)
    except MeasurementError as error:
        return unknown("predicted", str(error))


def _of_table(network: Network, device: Device, conditions: Conditions) -> Latency | None:
    """What a table measured on the device says; None where none covers the network."""
    arch = network.arch
    if arch is None or conditions.image_size not in (None, arch.image_size):
        return None
    for name in set(tables_of(device.sheet.key)) & set(names("search_spaces")):
        space = SearchSpace.load(name)
        if space.contains([arch])[0]:
            latency = device.predict(space, space.encode(arch), conditions)
            if latency.basis == "table":
                return latency
    return None
