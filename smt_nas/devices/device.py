"""`Device`: a sheet, what is known of its efficiency, and predictions from both."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions, Mode
from smt_nas.costs.ops import Op
from smt_nas.costs.parts import PartIndex
from smt_nas.devices.block_table import BlockTable, Correction, JointTimes, Latency
from smt_nas.devices.dispatch import Host, load_host
from smt_nas.devices.gpu_kernels import Floats, Kernels, build_kernels
from smt_nas.devices.resolve import DeviceRef, resolve
from smt_nas.devices.roofline import (
    Efficiency,
    Hardware,
    Times,
    kernel_times,
    load_efficiency,
)
from smt_nas.devices.sheet import Sheet
from smt_nas.devices.tables.measured_table import find_device_table
from smt_nas.devices.tables.part_traces import trace_parts
from smt_nas.devices.tables.table_extension import extend_table, restrict_table
from smt_nas.errors import MeasurementError
from smt_nas.space import SearchSpace

Bound = Literal["compute", "memory", "launch", "host"]
_WHOLE = 5  # networks that are traced whole, where parts do not quite add up
_UNSEEN = {  # in log, how much wider an interval is where the residuals are not of the conditions
    "capped": 0.35,  # of a board that a sheet warns of; nothing was measured
    "tf32": 0.35,  # published rows of an A100 name no precision (benchmarks/RESULTS.md)
    "fp32": 0.15,  # V100, A100 and H100, in no fit
    "unsustained": 0.25,  # fp32 of a chip whose dense products nobody timed: what the others keep
    "small": 0.18,  # an H100 at batch 1
}
_PREDICTED: tuple[Mode, ...] = ("eager", "compile", "graph")  # modes that sheets tell of
_CLOCK_GHZ = 1.5  # where a sheet has none
_SUSTAINED = 0.76  # the same: the median of the seven chips that were measured
_SMALL_BATCH = 16  # nearly all truths are of larger ones


@dataclass(frozen=True)
class OpTimes:
    """Predicted time of each of n operators; those that another's kernel does take 0.

    Attributes:
        ms: (n,); their sum is the network's time.
        bound: what each waits for, (n,): the arithmetic, the memory, the kernel's start, the host.
    """

    ms: Floats
    bound: tuple[Bound, ...]


class Cost(NamedTuple):
    """Milliseconds of a run of operators: what the device needs, what the host needs to launch."""

    device_ms: float
    host_ms: float


@dataclass(frozen=True)
class Device:
    """What predicts latency on one device.

    Attributes:
        sheet: of the device.
        efficiency: shares of its peaks.
        corrections: by mode, from networks that a user measured.
    """

    sheet: Sheet
    efficiency: Efficiency
    corrections: Mapping[Mode, Correction] = field(default_factory=dict)
    _tables: dict[tuple[str, Conditions], BlockTable] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def predict(
        self, space: SearchSpace, genes: NDArray[np.int64], conditions: Conditions
    ) -> Latency:
        """Latency of n networks of a space, from genes (n, G).

        From the table measured on this device, where there is one for the space, or an earlier
        edition of it, under these conditions; else from the sheet. The first call for a space that
        does not ship takes seconds, to trace its parts; later ones a microsecond a network.

        Raises:
            SpaceError: the genes do not belong to the space.
            MeasurementError: as `predict_ops`.
            ConfigError: the device's measured table is damaged.
        """
        key = (space.digest, conditions)
        if key not in self._tables:
            self._tables[key] = find_block_table(self, space, conditions)
        return self._tables[key].predict(genes)

    def predict_ops(
        self, ops: Sequence[Op], conditions: Conditions, is_smt: bool = False
    ) -> Latency:
        """Latency of one network, arrays of (1,), from its operators at `conditions.batch`.

        Args:
            ops: of the network.
            conditions: how it runs.
            is_smt: it is one of ours, and not any network.

        Raises:
            MeasurementError: the device cannot do this, or it is a training step.
        """
        cost = self.cost(ops, conditions)
        device_ms = np.array([cost.device_ms * self.factor(conditions, is_smt)])
        host_ms = np.array([cost.host_ms])
        ms, low, high = self.joint(conditions).predict(device_ms, host_ms)
        return Latency(
            ms=ms,
            low=low,
            high=high,
            conditions=conditions,
            basis=self.basis(conditions),
            notes=self.sheet.warnings,
            host_bound=None if self.host is None else host_ms > device_ms,
        )

    def predict_arch(self, arch: Architecture, conditions: Conditions) -> Latency:
        """Latency of one architecture, arrays of (1,); `predict_ops` of its trace."""
        return self.predict_ops(trace_arch(arch, conditions), conditions, is_smt=True)

    def cost(self, ops: Sequence[Op], conditions: Conditions) -> Cost:
        """What a run of operators needs, e.g. of a part of a network; costs of parts add up."""
        kernels = build_kernels(ops, conditions, self.sheet.kind == "gpu")
        times = self._times(kernels, conditions)
        return Cost(float(times.total.sum()), float(self._host_ms(kernels, conditions).sum()))

    def op_times(self, ops: Sequence[Op], conditions: Conditions, is_smt: bool = False) -> OpTimes:
        """Time of each operator, and what bounds it. Its arguments are those of `predict_ops`.

        Raises:
            MeasurementError: as `predict_ops`.
        """
        kernels = build_kernels(ops, conditions, self.sheet.kind == "gpu")
        times, host = self._times(kernels, conditions), self._host_ms(kernels, conditions)
        waits = host.sum() > times.total.sum() * self.factor(conditions, is_smt)
        busiest = host if waits else times.total
        ms, bound = (
            np.zeros(len(ops)),
            np.full(len(ops), "host" if waits else "launch", dtype=object),
        )
        whole = self.predict_ops(ops, conditions, is_smt).ms[0]
        np.add.at(ms, kernels.owner, busiest * (whole / busiest.sum()))
        bound[kernels.owner] = "host" if waits else _find_bounds(times)
        return OpTimes(ms, tuple(bound))

    def factor(self, conditions: Conditions, is_smt: bool = False) -> float:
        """Device time over roofline, as measurements of it have it, else of a typical one."""
        own = self.efficiency.factor(self.sheet.key, conditions.mode) or self.sheet.pace
        if own is None:
            own = self.efficiency.typical.get(_fitted_mode(conditions.mode), 1.0)
        return own * self.efficiency.ours if is_smt else own

    def joint(self, conditions: Conditions) -> JointTimes:
        """How it shares a forward with its host."""
        low, high = self.interval(conditions)
        half = self.host.half_width if self.host else 0.0
        return JointTimes(low, high, half, self.corrections.get(conditions.mode))

    def interval(self, conditions: Conditions) -> tuple[float, float]:
        """Log of truth over the device's predicted time that the interval reaches down and up to.

        What the host takes has an interval of its own.
        """
        own = self.efficiency.factor(self.sheet.key, conditions.mode) is not None
        table = self.efficiency.own_intervals if own else self.efficiency.intervals
        low, high = table[_fitted_mode(conditions.mode)]
        wider = math.hypot(*(_UNSEEN[name] for name in self._list_unseen(conditions)))
        return -math.hypot(low, wider), math.hypot(high, wider)

    def _list_unseen(self, conditions: Conditions) -> Iterator[str]:
        """In what the conditions are unlike those the residuals are of."""
        if self.sheet.kind == "cpu":
            return  # its interval says it
        if self.sheet.warnings:
            yield "capped"
        if conditions.batch < _SMALL_BATCH:
            yield "small"
        if conditions.precision in ("fp32", "tf32"):
            yield conditions.precision
        if conditions.precision == "fp32" and self.sheet.sustained is None:
            yield "unsustained"

    def basis(self, conditions: Conditions) -> Literal["sheet", "anchored"]:
        """What a prediction without a measured table is made from."""
        return "anchored" if conditions.mode in self.corrections else "sheet"

    @property
    def host(self) -> Host | None:
        """What feeds it; None of a CPU."""
        return load_host(self.sheet.host) if self.sheet.kind == "gpu" else None

    def _host_ms(self, kernels: Kernels, conditions: Conditions) -> Floats:
        """Time to submit each kernel, (n,)."""
        host = self.host
        return host.submit_ms(kernels, conditions.mode) if host else np.zeros(len(kernels))

    def _times(self, kernels: Kernels, conditions: Conditions) -> Times:
        hardware = hardware_of(self.sheet, conditions)
        compiled = conditions.mode == "compile"
        return kernel_times(kernels, hardware, self.efficiency.coefficients, compiled)


def trace_arch(arch: Architecture, conditions: Conditions) -> Sequence[Op]:
    """Operators of a network under conditions."""
    from smt_nas.models import build
    from smt_nas.models.trace import trace

    size = conditions.image_size or arch.image_size
    module = build(arch, device="meta").eval()
    image = (arch.in_channels, size, size)
    return trace(module, image, conditions.batch, conditions.channels_last)


def load_device(device: str | DeviceRef) -> Device:
    """What predicts latency on a device: one that was resolved, or a name for `resolve`.

    Raises:
        UnknownName: no such device.
        ConfigError: a file is no sheet.
        MeasurementError: this machine has no such device, or it does not say what it is.
    """
    ref = resolve(device) if isinstance(device, str) else device
    sheet = ref.require_sheet()
    return Device(sheet, load_efficiency(sheet.kind))


def find_block_table(device: Device, space: SearchSpace, conditions: Conditions) -> BlockTable:
    """What predicts the networks of a space on a device.

    A table of another edition of the space serves what it holds; the rest is by the sheet.

    Raises:
        MeasurementError: the device cannot do this, or it is a training step.
        ConfigError: there is a measured table, but it is damaged.
    """
    measured = find_device_table(device.sheet, space)
    table = None if measured is None else measured.block_table(conditions)
    if table is None:
        return trace_block_table(device, space, conditions)
    if table.index.space.digest == space.digest:
        return table
    restricted = restrict_table(table, PartIndex.of(space, conditions.image_size))
    if restricted is not None:
        return restricted
    return extend_table(table, trace_block_table(device, space, _predictable(device, conditions)))


def _predictable(device: Device, conditions: Conditions) -> Conditions:
    """Conditions as near that the sheet has peaks for: a table tells how far off that is."""
    if device.sheet.peak(conditions.precision) is None:
        conditions = conditions.model_copy(update={"precision": "fp32"})
    if not is_predicted(conditions):
        conditions = conditions.model_copy(update={"mode": "eager"})
    return conditions


def trace_block_table(device: Device, space: SearchSpace, conditions: Conditions) -> BlockTable:
    """The same from the sheet alone. Raises MeasurementError, as `find_block_table`."""
    hardware_of(device.sheet, conditions)  # what it cannot do is told before seconds of tracing
    index = PartIndex.of(space, conditions.image_size)
    batch, channels_last = conditions.batch, conditions.channels_last
    traces = trace_parts(index.parts, batch, channels_last)
    costs = [device.cost(ops, conditions) for ops in traces]
    table = BlockTable(
        index=index,
        conditions=conditions,
        ms=np.array([cost.device_ms for cost in costs]),
        host_ms=None if device.host is None else np.array([cost.host_ms for cost in costs]),
        factor=device.factor(conditions, is_smt=True),
        joint=device.joint(conditions),
        basis=device.basis(conditions),
        notes=device.sheet.warnings,
    )
    return _correct_for_fusion(device, table) if conditions.mode == "compile" else table


def _correct_for_fusion(device: Device, table: BlockTable) -> BlockTable:
    """Correct for the kernels that a compiler merges across the border of two parts."""
    conditions, index = table.conditions, table.index
    genes = index.space.canonical(index.space.sample(np.random.default_rng(0), _WHOLE))
    archs = index.space.decode(genes)
    costs = [device.cost(trace_arch(arch, conditions), conditions) for arch in archs]
    on_device, on_host = np.array(costs).T
    factor = table.factor * float(np.median(on_device / index.sums(table.ms, genes)))
    if table.host_ms is None:
        return replace(table, factor=factor)
    share = float(np.median(on_host / index.sums(table.host_ms, genes)))
    return replace(table, factor=factor, host_ms=table.host_ms * share)


def hardware_of(sheet: Sheet, conditions: Conditions) -> Hardware:
    """The peaks that count under these conditions.

    Raises:
        MeasurementError: the device cannot do this, or it is a training step.
    """
    precision = conditions.precision
    peak, vector = sheet.peak(precision), sheet.peak("fp32")
    if conditions.train:
        raise MeasurementError(
            f"{sheet.key}: only inference is predicted (got a training step). "
            "Measure it on a machine that has the device."
        )
    if not is_predicted(conditions):
        raise MeasurementError(
            f"{sheet.key}: the form {conditions.mode} is not predicted from a sheet, as nobody "
            f"measured how it differs (got no table of it). `smt-nas calibrate --space SPACE "
            f"--form {conditions.mode}` on that machine makes one, for that space."
        )
    if peak is None or vector is None:
        able = ", ".join(sheet.peak_tflops)
        raise MeasurementError(
            f"{sheet.key}: cannot compute in {precision} (it can: {able}). Choose another one."
        )
    share = 1.0
    if sheet.kind == "cpu" and conditions.threads:
        share = min(1.0, conditions.threads / sheet.units)
    kept = (sheet.sustained or _SUSTAINED) if sheet.kind == "gpu" and precision == "fp32" else 1.0
    return Hardware(
        product_tflops=peak * share * kept,
        vector_tflops=vector * share,
        bandwidth_gbps=sheet.bandwidth_gbps,
        l2_mb=sheet.l2_mb or 1.0,
        sms=sheet.sms or max(1.0, sheet.units * share),
        tensor=sheet.kind == "gpu" and precision != "fp32",
        half=precision not in ("fp32", "tf32"),
        clock_ghz=sheet.boost_ghz or _CLOCK_GHZ,
    )


def is_predicted(conditions: Conditions) -> bool:
    """Whether sheets tell of this form of networks; of the others measured tables alone do."""
    return conditions.mode in _PREDICTED


def _fitted_mode(mode: Mode) -> Mode:
    """The mode whose measurements speak for a mode: a graph runs the kernels of eager."""
    return "eager" if mode == "graph" else mode


def _find_bounds(times: Times) -> np.ndarray:
    """What each kernel takes longest for."""
    table = np.stack([times.compute, times.memory, times.start])
    names = np.array(["compute", "memory", "launch"], dtype=object)
    return np.asarray(names[table.argmax(axis=0)])
