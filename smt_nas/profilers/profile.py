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
from typing import TYPE_CHECKING, Any

import torch

from smt_nas.conditions import Conditions
from smt_nas.devices.block_table import Latency
from smt_nas.devices.device import Device, load_device
from smt_nas.devices.registry import tables_of
from smt_nas.devices.resolve import resolve
from smt_nas.devices.tables.measured_table import find_device_table
from smt_nas.devices.visible import BY_BUS, ORDER, is_order_unsure
from smt_nas.errors import ConfigError, MeasurementError, SmtNasError
from smt_nas.files import names
from smt_nas.profilers.anchors import correct_with_anchors, read_anchors
from smt_nas.profilers.board import check_board
from smt_nas.profilers.breakdown import trace_operators
from smt_nas.profilers.compare import Verdict, verdict
from smt_nas.profilers.energy import measure_energy
from smt_nas.profilers.latency.clock import Runnable
from smt_nas.profilers.latency.measurement import Measurement
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.latency.sampling import Limits, interleave
from smt_nas.profilers.network_loader import Network
from smt_nas.profilers.peak_memory import measure_peak_memory
from smt_nas.profilers.reading import (
    Reading,
    latency_as_measured,
    latency_as_predicted,
    throughput_of,
    unknown,
)
from smt_nas.profilers.throughput import Point, Sweep, sweep
from smt_nas.runtime.backends import load_graph
from smt_nas.runtime.torch_device import SharedGpu, open_device
from smt_nas.space import SearchSpace

if TYPE_CHECKING:
    import pandas as pd

READINGS = ("latency_ms", "throughput_ips", "peak_memory_mb", "reserved_memory_mb", "energy_mj")
"""What a row may hold, in the order of a profile's columns."""
PREDICTED_BATCHES = tuple(2**i for i in range(9))

Say = Callable[[str], None]


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
        readings: by metric name.
        predicted: the latency that the device's sheet or table gives, beside a measured one.
        measurement: raw samples; None where nothing was measured.
        failure: why there is nothing; None where there is.
        runtime: what ran a deployed file, and what it computed in; None for what torch ran.
    """

    network: str
    conditions: Conditions
    readings: dict[str, Reading]
    predicted: Reading | None = None
    measurement: Measurement | None = None
    failure: str | None = None
    runtime: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Two networks under the same conditions; `verdict` is of `other` relative to `base`."""

    base: str
    other: str
    conditions: Conditions
    verdict: Verdict


@dataclass
class Profile:
    """What profiling gave so far; rows arrive one case at a time.

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

    def frame(self) -> pd.DataFrame:
        """A row for each of `rows`.

        Returns: `network`, `device`, the conditions; of each of `READINGS` its value, in the unit
        of its name, `_low`, `_high`, `_from` (provenance) and `_status`; `predicted_ms`,
        `samples`, `failure`. What is not known is missing.
        """
        import pandas as pd

        parts = ("", "_low", "_high", "_from", "_status")
        columns = ["network", "device", *Conditions.model_fields]
        columns += [f"{name}{part}" for name in READINGS for part in parts]
        columns += ["predicted_ms", "samples", "failure"]
        rows = [_frame_row(row, self.device.sheet.key) for row in self.rows]
        frame = pd.DataFrame(rows, columns=columns, dtype=object)
        numbers = [f"{name}{part}" for name in READINGS for part in parts[:3]]
        types = dict.fromkeys((*numbers, "predicted_ms"), "float64")
        types |= dict.fromkeys(("batch", "image_size", "threads", "samples"), "Int64")
        return frame.astype(types | dict.fromkeys(("channels_last", "train"), "bool"))


def _frame_row(row: ProfileRow, device: str) -> list[Any]:
    cells: list[Any] = [row.network, device]
    cells += [getattr(row.conditions, name) for name in Conditions.model_fields]
    for name in READINGS:
        r = row.readings.get(name)
        is_known = r is not None and r.value is not None
        cells += [r.value, r.low, r.high, r.provenance, r.status] if r and is_known else [None] * 5
    predicted = None if row.predicted is None else row.predicted.value
    samples = None if row.measurement is None else row.measurement.wall.n
    return [*cells, predicted, samples, row.failure]


def resolve_target(
    name: str | None, anchors: Path | None = None, say: Say = lambda text: None
) -> tuple[Device, str | None]:
    """The device a user named, and where it is on this machine.

    A GPU that is here and that torch cannot use (a CPU build of torch, say) is predicted.

    Args:
        name: as `devices.resolve` takes it; None for torch's first GPU, or the CPU.
        anchors: networks the user measured on that device, which correct its predictions.
        say: hears why a device that is here is not measured.

    Returns: the device; `cpu` or `cuda:N` where it can be measured, None where it must be
        predicted.

    Raises:
        UnknownName: no such device.
        MeasurementError: this machine has no such GPU, or torch has another one of its name.
    """
    ref = resolve(name or ("cuda:0" if torch.cuda.is_available() else "cpu"))
    if ref.is_own and anchors is not None:
        raise ConfigError(
            f"--anchors: correct the prediction of a named device (got {ref.label}). Add e.g. "
            "--gpu a100, or measure this one with `smt-nas calibrate`."
        )
    device = load_device(ref)
    if anchors is not None:
        device = correct_with_anchors(device, read_anchors(anchors))
    if ref.here in (None, "cpu"):
        return device, ref.here
    try:
        place = open_device(ref.require_here())
    except MeasurementError as error:
        if isinstance(error, SharedGpu) and ref.is_own:
            raise  # it is not what the sheet of the whole card says
        say(f"{device.sheet.name} is here and is not measured, only predicted. {error}")
        if ref.is_own and is_order_unsure():
            say(
                f"{ref.label} is counted by the bus here; CUDA may put the fastest GPU first. Set "
                f"{ORDER}={BY_BUS}, or name the GPU by its model."
            )
        return device, None
    check_board(device.sheet, place)
    return device, ref.here


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
    result = Profile(device, where)
    try:
        for conditions in request.cases:
            if where is None:
                _predict_case(result, networks, conditions, request)
            else:
                say(f"measuring {', '.join(n.name for n in networks)}: {conditions}")
                _measure_case(result, networks, conditions, request)
        for conditions, network in itertools.product(request.sweeps, networks):
            if where is None:
                _predict_sweep(result, network, conditions)
            else:
                say(f"looking for the batches of {network.name}: {conditions}")
                _measure_sweep(result, network, conditions)
    except KeyboardInterrupt:
        result.interrupted = True
    return result


def _predict_row(network: Network, device: Device, conditions: Conditions) -> ProfileRow:
    latency = predict_latency(network, device, conditions)
    if latency.value is None:
        return ProfileRow(network.name, conditions, {}, failure=latency.reason)
    readings = {
        "latency_ms": latency,
        "throughput_ips": throughput_of(latency, conditions.batch),
        "peak_memory_mb": unknown("predicted", "memory is measured, not predicted"),
        "energy_mj": unknown("predicted", "energy is measured, not predicted"),
    }
    return ProfileRow(network.name, conditions, readings, predicted=latency)


def _predict_case(
    result: Profile, networks: Sequence[Network], conditions: Conditions, request: Request
) -> None:
    """Rows of one set of conditions; where the host binds, those of a CUDA graph beside them."""
    rows = [_predict_row(n, result.device, conditions) for n in networks]
    result.rows += rows
    graph = conditions.model_copy(update={"mode": "graph"})
    waits = any(r.predicted is not None and r.predicted.bound == "host" for r in rows)
    if waits and conditions.mode == "eager" and graph not in request.cases:
        result.rows += [_predict_row(n, result.device, graph) for n in networks]


def _measure_case(
    result: Profile, networks: Sequence[Network], conditions: Conditions, request: Request
) -> None:
    """Measure one case; what cannot be made ready or run is a row with its reason."""
    timed = _time_networks(result, networks, conditions, request)
    for network in networks:
        if network.name in timed:
            result.rows.append(_measured_row(result, network, conditions, *timed[network.name]))
    if len(timed) > 1:
        first, *others = (m for m, _ in timed.values())
        result.comparisons += [
            Comparison(first.name, m.name, conditions, verdict(first, m)) for m in others
        ]


def _time_networks(
    result: Profile, networks: Sequence[Network], conditions: Conditions, request: Request
) -> dict[str, tuple[Measurement, Reading]]:
    """Latency and energy by network, timed interleaved; where one fails, the others alone."""
    assert result.where is not None
    with ExitStack() as stack:
        runnables: list[Runnable] = []
        for network in networks:
            with _keep_failure(result, network.name, conditions):
                runnable = prepare(network, conditions, result.where)
                stack.callback(runnable.close)
                runnables.append(runnable)
        timed: dict[str, Measurement] = {}
        with suppress(MeasurementError):  # told below, of the network that failed
            if len(runnables) > 1:
                timed = {m.name: m for m in interleave(runnables, request.limits)}
        for runnable in runnables if not timed else ():
            with _keep_failure(result, runnable.name, conditions):
                timed |= {m.name: m for m in interleave([runnable], request.limits)}
        skipped = unknown("measured", "not asked for")
        return {
            r.name: (timed[r.name], measure_energy(r) if request.energy else skipped)
            for r in runnables
            if r.name in timed
        }


@contextmanager
def _keep_failure(result: Profile, network: str, conditions: Conditions) -> Iterator[None]:
    """A failure is a row with its reason."""
    try:
        yield
    except MeasurementError as error:
        result.rows.append(ProfileRow(network, conditions, {}, failure=str(error)))


def _measure_sweep(result: Profile, network: Network, conditions: Conditions) -> None:
    """Rows of a throughput curve. Where memory ends, the curve does; other failures are rows."""
    assert result.where is not None

    def keep(point: Point) -> None:
        """At once, as the user may stop the rest."""
        if point.throughput_ips.value is None:
            return
        case = conditions.model_copy(update={"batch": point.batch})
        readings = {
            "latency_ms": unknown("measured", "a sustained loop: throughput only"),
            "throughput_ips": point.throughput_ips,
            **point.memory,
        }
        result.rows.append(
            ProfileRow(network.name, case, readings, predict_latency(network, device, case))
        )

    device = result.device
    with _keep_failure(result, network.name, conditions):
        swept = sweep(network, conditions, (), result.where, auto=True, on_point=keep)
        result.sweeps.append(swept)
        if swept.failure is not None:
            result.rows.append(ProfileRow(network.name, conditions, {}, failure=swept.failure))


def _predict_sweep(result: Profile, network: Network, conditions: Conditions) -> None:
    """The same by prediction, up to a batch that is usual."""
    device = result.device
    cases = [conditions.model_copy(update={"batch": b}) for b in PREDICTED_BATCHES]
    rows = [_predict_row(network, device, case) for case in cases]
    points = [Point(r.conditions.batch, r.readings["throughput_ips"]) for r in rows if r.readings]
    reason = "what fits is measured, not predicted"
    result.rows += rows
    result.sweeps.append(
        Sweep(network.name, device.sheet.key, conditions, tuple(points), None, reason)
    )


def _measured_row(
    result: Profile, network: Network, conditions: Conditions, m: Measurement, energy_mj: Reading
) -> ProfileRow:
    assert result.where is not None
    latency = latency_as_measured(m)
    readings = {
        "latency_ms": latency,
        "throughput_ips": throughput_of(latency, conditions.batch),
        **measure_peak_memory(network, conditions, result.where),
        "energy_mj": energy_mj,
    }
    if network.file is not None:
        runtime = load_graph(network.file, precision=conditions.precision).describe()
        return ProfileRow(network.name, conditions, readings, measurement=m, runtime=runtime)
    expected = predict_latency(network, result.device, conditions)
    return ProfileRow(network.name, conditions, readings, expected, m)


def predict_latency(network: Network, device: Device, conditions: Conditions) -> Reading:
    """What the device's sheet or table says; without a value where it cannot."""
    if network.file is not None:
        why = "a deployed file is measured on the CPU, not predicted"
        return unknown("predicted", f"{network.name}: {why}. Leave --gpu out.")
    try:
        latency = _predict_by_table(network, device, conditions)
        if latency is None:
            ops = trace_operators(network, conditions)
            latency = device.predict_ops(ops, conditions, network.is_smt)
        return latency_as_predicted(latency)
    except SmtNasError as error:  # also of a damaged table: what was measured beside it stays
        return unknown("predicted", str(error))


def _predict_by_table(network: Network, device: Device, conditions: Conditions) -> Latency | None:
    """What a table measured on the device says; None where none covers network and conditions."""
    arch = network.arch
    if arch is None or conditions.image_size not in (None, arch.image_size):
        return None
    for name in sorted({*tables_of(device.sheet)} & {*names("search_spaces")}):
        space = SearchSpace.load(name)
        table = find_device_table(device.sheet, space) if space.contains([arch])[0] else None
        blocks = None if table is None else table.block_table(conditions)
        if blocks is None:
            continue
        own = blocks.index.space  # an earlier edition, where the table is of that
        if own.contains([arch])[0]:
            return blocks.predict(own.encode(arch))
        return device.predict(space, space.encode(arch), conditions)
    return None
