"""A profile: networks at several conditions on one device, measured there or predicted for it.

Networks under the same conditions are timed interleaved, so that a slow moment falls on all. What
fails (out of memory at one batch, a GPU that falls off) is a row with its reason; the rows before
it stay.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch

from smt_nas.conditions import Conditions
from smt_nas.devices.block_table import Latency
from smt_nas.devices.device import Device, load_device, local_device
from smt_nas.devices.measured_table import find_table
from smt_nas.devices.registry import is_here, tables_of
from smt_nas.errors import ConfigError, MeasurementError, SmtNasError
from smt_nas.files import names
from smt_nas.profilers.anchors import correct_with_anchors, read_anchors
from smt_nas.profilers.breakdown import trace_operators
from smt_nas.profilers.compare import Verdict, interleave, verdict
from smt_nas.profilers.energy import energy
from smt_nas.profilers.figure import (
    Reading,
    as_throughput,
    measured_latency,
    predicted_latency,
    unknown,
)
from smt_nas.profilers.measurement import Measurement
from smt_nas.profilers.network_loader import Network
from smt_nas.profilers.peak_memory import peak_memory
from smt_nas.profilers.prepare import prepare
from smt_nas.profilers.runnable import Runnable
from smt_nas.profilers.sampling import Limits
from smt_nas.profilers.throughput import Point, Sweep, sweep
from smt_nas.space import SearchSpace


def predict_latency(network: Network, device: Device, conditions: Conditions) -> Reading:
    """What the device's sheet or table says; without a value where it cannot."""
    try:
        latency = _of_table(network, device, conditions)
        if latency is None:
            latency = device.predict_ops(trace_operators(network, conditions), conditions)
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


Say = Callable[[str], None]
PREDICTED_BATCHES = tuple(2**i for i in range(9))


@dataclass(frozen=True)
class Request:
    """What is to be profiled.

    Attributes:
        cases: conditions, each for every network.
        limits: of each measurement.
        energy: also measure the energy of an image.
        sweeps: conditions under which the batches are to be found: throughput doubling by doubling.
    """

    cases: tuple[Conditions, ...]
    limits: Limits = field(default_factory=Limits)
    energy: bool = True
    sweeps: tuple[Conditions, ...] = ()


@dataclass(frozen=True)
class ProfileRow:
    """One network under one set of conditions.

    Attributes:
        network: its name.
        conditions: how it was run.
        figures: by metric name.
        predicted: the latency that the device's sheet or table gives, beside a measured one.
        measurement: raw samples; None where nothing was measured.
        failure: why there is nothing; None where there is.
    """

    network: str
    conditions: Conditions
    figures: dict[str, Reading]
    predicted: Reading | None = None
    measurement: Measurement | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Two networks under the same conditions; `verdict` is of `other` relative to `base`."""

    base: str
    other: str
    conditions: Conditions
    verdict: Verdict


@dataclass
class Profile:
    """What profiling found so far; rows arrive one case at a time.

    Attributes:
        device: the target.
        where: `cpu` or `cuda:0` where it was measured; None where it is predicted.
        rows: in the order of cases, then of networks.
        comparisons: of measured networks with the first one.
        sweeps: throughput over batches, where they were to be found; also in `rows`.
        interrupted: the user stopped it.
    """

    device: Device
    where: str | None
    rows: list[ProfileRow] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    sweeps: list[Sweep] = field(default_factory=list)
    interrupted: bool = False


def resolve_target(name: str | None, anchors: Path | None = None) -> tuple[Device, str | None]:
    """The device a user named, and where it is on this machine.

    Args:
        name: a data sheet, `cpu`, `cuda:N`; None for this machine's first GPU, or its CPU.
        anchors: networks the user measured on that device, which correct its predictions.

    Returns: the device; `cpu` or `cuda:N` where it is here, None where it must be predicted.

    Raises:
        UnknownName: no such device.
        MeasurementError: this machine has no such GPU.
    """
    if name is None:
        name = "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu" or name.partition(":")[0] == "cuda":
        if anchors is not None:
            raise ConfigError(
                f"--anchors: correct the prediction of a named device (got {name}). Add e.g. "
                "--gpu a100, or measure this one with `smt-nas calibrate`."
            )
        return local_device(name), name
    device = load_device(name)
    if anchors is not None:
        device = correct_with_anchors(device, read_anchors(anchors))
    return device, is_here(device.sheet)


def profile(
    networks: Sequence[Network],
    device: Device,
    where: str | None,
    request: Request,
    say: Say = lambda text: None,
) -> Profile:
    """Measure networks on a device that is here; predict them for one that is not.

    Args:
        networks: the first one is what the others are compared with.
        device: the target.
        where: `cpu` or `cuda:0` where it is here; None where it must be predicted.
        request: under which conditions, how long.
        say: hears what is being done.

    Returns: what there is, also where something failed or the user stopped it.
    """
    found = Profile(device, where)
    try:
        for conditions in request.cases:
            if where is None:
                found.rows += [_predicted(n, device, conditions) for n in networks]
            else:
                say(f"measuring {', '.join(n.name for n in networks)}: {conditions}")
                _measure(found, networks, conditions, request)
        for conditions, network in itertools.product(request.sweeps, networks):
            if where is None:
                _predicted_sweep(found, network, conditions)
            else:
                say(f"looking for the batches of {network.name}: {conditions}")
                _sweep(found, network, conditions)
    except KeyboardInterrupt:
        found.interrupted = True
    return found


def _predicted(network: Network, device: Device, conditions: Conditions) -> ProfileRow:
    latency = predict_latency(network, device, conditions)
    if latency.value is None:
        return ProfileRow(network.name, conditions, {}, failure=latency.reason)
    figures = {
        "latency_ms": latency,
        "throughput_ips": as_throughput(latency, conditions.batch),
        "peak_memory_mb": unknown("predicted", "memory is measured, not predicted"),
        "energy_mj": unknown("predicted", "energy is measured, not predicted"),
    }
    return ProfileRow(network.name, conditions, figures, predicted=latency)


def _measure(
    found: Profile, networks: Sequence[Network], conditions: Conditions, request: Request
) -> None:
    """Measure one case; what cannot be made ready or run is a row with its reason."""
    timed = _timed(found, networks, conditions, request)
    for network in networks:
        if network.name in timed:
            found.rows.append(_row(found, network, conditions, *timed[network.name]))
    if len(timed) > 1:
        first, *others = (m for m, _ in timed.values())
        found.comparisons += [
            Comparison(first.name, m.name, conditions, verdict(first, m)) for m in others
        ]


def _timed(
    found: Profile, networks: Sequence[Network], conditions: Conditions, request: Request
) -> dict[str, tuple[Measurement, Reading]]:
    """Latency and energy by network, timed interleaved; where one fails, the others alone."""
    assert found.where is not None
    with ExitStack() as stack:
        calls: list[Runnable] = []
        for network in networks:
            with _told(found, network.name, conditions):
                call = prepare(network, conditions, found.where)
                stack.callback(call.close)
                calls.append(call)
        timed: dict[str, Measurement] = {}
        with suppress(MeasurementError):  # told below, of the network that failed
            if len(calls) > 1:
                timed = {m.name: m for m in interleave(calls, request.limits)}
        for call in calls if not timed else ():
            with _told(found, call.name, conditions):
                timed |= {m.name: m for m in interleave([call], request.limits)}
        asked = unknown("measured", "not asked for")
        return {
            call.name: (timed[call.name], energy(call) if request.energy else asked)
            for call in calls
            if call.name in timed
        }


@contextmanager
def _told(found: Profile, network: str, conditions: Conditions) -> Iterator[None]:
    """A failure is a row with its reason."""
    try:
        yield
    except MeasurementError as error:
        found.rows.append(ProfileRow(network, conditions, {}, failure=str(error)))


def _sweep(found: Profile, network: Network, conditions: Conditions) -> None:
    """Rows of a throughput curve. Where memory ends, the curve does; other failures are rows."""
    assert found.where is not None

    def keep(point: Point) -> None:
        """At once, as the user may stop the rest."""
        if point.throughput_ips.value is None:
            return
        case = conditions.model_copy(update={"batch": point.batch})
        figures = {
            "latency_ms": unknown("measured", "a sustained loop: throughput only"),
            "throughput_ips": point.throughput_ips,
            **point.memory,
        }
        found.rows.append(
            ProfileRow(network.name, case, figures, predict_latency(network, device, case))
        )

    device = found.device
    with _told(found, network.name, conditions):
        swept = sweep(network, conditions, (), found.where, auto=True, on_point=keep)
        found.sweeps.append(swept)
        if swept.failure is not None:
            found.rows.append(ProfileRow(network.name, conditions, {}, failure=swept.failure))


def _predicted_sweep(found: Profile, network: Network, conditions: Conditions) -> None:
    """The same by prediction, up to a batch that is usual."""
    device = found.device
    cases = [conditions.model_copy(update={"batch": b}) for b in PREDICTED_BATCHES]
    rows = [_predicted(network, device, case) for case in cases]
    points = [Point(r.conditions.batch, r.figures["throughput_ips"]) for r in rows if r.figures]
    reason = "what fits is measured, not predicted"
    found.rows += rows
    found.sweeps.append(
        Sweep(network.name, device.sheet.key, conditions, tuple(points), None, reason)
    )


def _row(
    found: Profile, network: Network, conditions: Conditions, m: Measurement, energy_mj: Reading
) -> ProfileRow:
    assert found.where is not None
    latency = measured_latency(m)
    figures = {
        "latency_ms": latency,
        "throughput_ips": as_throughput(latency, conditions.batch),
        **peak_memory(network, conditions, found.where),
        "energy_mj": energy_mj,
    }
    expected = predict_latency(network, found.device, conditions)
    return ProfileRow(network.name, conditions, figures, expected, m)
