"""`PartTimer`: where a calibration's times come from: chains of parts, and whole networks.

A chain is run as a network is, and timed between its parts.

On a CPU the clocks are read there. A sample is wall time; where the system gave the CPU to others
meanwhile, it is the thread's CPU time, and the sample is flagged: on a shared machine the longer
calls would else seem slower than they are, as they are interrupted more often. With more than one
thread there is no such clock, and a sample is wall time always.

On a GPU, events are put there while the device is held up, so that the host is far ahead: what
lies between two events is then the device's own time, and the host's is what launching took.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from smt_nas.arch import Architecture
from smt_nas.conditions import DEPLOYED, Conditions
from smt_nas.costs.parts import Part
from smt_nas.models.fused.fused_parts import fuse_part
from smt_nas.models.fused.packing import is_packable, pack_layers
from smt_nas.models.part_modules import build_part, input_shape
from smt_nas.profilers.latency.clock import Runnable
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.latency.stats import replace_interrupted
from smt_nas.profilers.network_loader import Network, fill_weights, network_of
from smt_nas.runtime.backends.deploy import deploy
from smt_nas.runtime.backends.loaded_graph import LoadedGraph
from smt_nas.runtime.torch_device import open_device

Floats = NDArray[np.float64]
_TIMED = 3  # calls a visit, after one that is not timed
_ENOUGH_S = 0.3  # a visit of slow networks ends after fewer
_KEPT_BYTES = 1_000_000_000  # of weights of whole networks that stay in memory
_HOLD_S, _MAX_HOLD_S = 0.02, 2.0  # how long a GPU is held up while a chain is launched
_CYCLES_PER_S = 2e9  # of a GPU's clock, about
_T = TypeVar("_T")


@dataclass(frozen=True)
class ChainTimes:
    """Milliseconds of the parts of a chain, each (T,).

    Attributes:
        ms: of each.
        host_ms: to launch each; None on a CPU.
        interrupted: share of the samples that are CPU time.
    """

    ms: Floats
    host_ms: Floats | None = None
    interrupted: float = 0.0


@dataclass(frozen=True)
class NetworkSample:
    """Milliseconds of one forward, waited for; `interrupted` as in `ChainTimes`."""

    ms: float
    interrupted: float = 0.0


class PartTimer(Protocol):
    """What times chains and networks on one device."""

    def chain(self, parts: Sequence[Part], conditions: Conditions) -> ChainTimes:
        """Time the parts of a chain, in the order in which they run."""

    def network(self, arch: Architecture, conditions: Conditions) -> NetworkSample:
        """Time one forward of a network, as a caller waits for it."""

    def seconds(self) -> float:
        """A clock."""


class TorchPartTimer:
    """This machine.

    Args:
        device: `cpu`, `cuda` or `cuda:N`.

    Raises:
        MeasurementError: no such device here.
    """

    def __init__(self, device: str) -> None:
        self._device = open_device(device)
        self._modules: dict[tuple[Part, Hashable], nn.Module] = {}
        self._runnables: OrderedDict[tuple[str, Conditions], tuple[Runnable, int]] = OrderedDict()
        self._hold_s = _HOLD_S

    def chain(self, parts: Sequence[Part], conditions: Conditions) -> ChainTimes:
        """Median of a few forwards of a chain."""
        changes: dict[str, str] = {"mode": "eager"}  # events cannot lie in a graph
        if conditions.mode in DEPLOYED:
            changes["precision"] = "fp32"  # of what a runtime takes and gives
        eager = conditions.model_copy(update=changes)
        chain = _Chain([self._module(part, conditions) for part in parts], self._device)
        size, channels = parts[0].size[0], parts[0].dim_in
        network = Network("a chain of parts", "", None, size, channels, lambda: chain)
        runnable = prepare(network, eager, str(self._device))
        try:
            runnable()
            times = _repeat(lambda: self._time_chain(runnable, chain))
        finally:
            runnable.close()
        if self._device.type == "cuda":
            device, launch = (np.median([t[i] for t in times], axis=0) for i in range(2))
            return ChainTimes(device, launch)
        wall, cpu = (np.array([t[i] for t in times]) for i in range(2))  # (calls, T)
        ms, flagged = _replace_interrupted(wall, cpu, conditions)
        return ChainTimes(np.median(ms, axis=0), None, float(flagged.mean()))

    def network(self, arch: Architecture, conditions: Conditions) -> NetworkSample:
        """Median of a few forwards, each waited for."""
        runnable = self._prepare_cached(arch, conditions)
        self._time_call(runnable)
        wall, cpu = np.array(_repeat(lambda: self._time_call(runnable))).T
        if self._device.type == "cuda":
            return NetworkSample(float(np.median(wall)))
        ms, flagged = _replace_interrupted(wall, cpu, conditions)
        return NetworkSample(float(np.median(ms)), float(flagged.mean()))

    def seconds(self) -> float:
        """The monotonic clock."""
        return time.monotonic()

    def _time_call(self, runnable: Runnable) -> tuple[float, float]:
        """Wall and CPU time of one call."""
        wall, cpu = time.perf_counter_ns(), time.thread_time_ns()
        runnable()
        self._synchronise()
        return (time.perf_counter_ns() - wall) / 1e6, (time.thread_time_ns() - cpu) / 1e6

    def _synchronise(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _time_chain(self, runnable: Runnable, chain: _Chain) -> tuple[Floats, Floats]:
        """One forward of a chain: device and host times; on a CPU, wall and CPU times."""
        if self._device.type == "cpu":
            runnable()
            return chain.wall_ms(), chain.cpu_ms()
        while True:
            self._synchronise()
            torch.cuda._sleep(int(self._hold_s * _CYCLES_PER_S))  # type: ignore[no-untyped-call]
            runnable()
            overtaken = chain.has_begun()
            self._synchronise()
            if not overtaken or self._hold_s >= _MAX_HOLD_S:
                return chain.device_ms(), chain.wall_ms()
            self._hold_s *= 2

    def _module(self, part: Part, conditions: Conditions) -> nn.Module:
        """A part with weights of its own; kept, as building takes longer than running."""
        pure = conditions.precision if conditions.precision in ("fp16", "bf16") else "fp32"
        own = conditions if conditions.mode in DEPLOYED else (pure, conditions.mode == "fused")
        key = part, own
        if key not in self._modules:
            self._modules[key] = _build_form(part, conditions, self._device)
        return self._modules[key]

    def _prepare_cached(self, arch: Architecture, conditions: Conditions) -> Runnable:
        """A network made ready; the least recently used ones are dropped for want of memory."""
        key = arch.key, conditions
        if key in self._runnables:
            self._runnables.move_to_end(key)
            return self._runnables[key][0]
        network = network_of(arch, f"network {arch.key}")
        runnable = prepare(network, conditions, str(self._device))
        runnable.first()
        self._runnables[key] = runnable, _weight_bytes(arch)
        while (
            len(self._runnables) > 1 and sum(n for _, n in self._runnables.values()) > _KEPT_BYTES
        ):
            _, (oldest, _) = self._runnables.popitem(last=False)
            oldest.close()
        return runnable


def _build_form(part: Part, conditions: Conditions, device: torch.device) -> nn.Module:
    """A part with random weights in the form that a mode runs."""
    with torch.device("meta"):
        module = build_part(part)
    module.to_empty(device="cpu")
    fill_weights(module)
    if conditions.mode == "fused":
        fused = fuse_part(module, part).to(device)
        return pack_layers(fused) if is_packable(next(fused.parameters())) else fused
    if conditions.mode in DEPLOYED:
        example = torch.zeros(conditions.batch, *input_shape(part))
        return _DeployedPart(deploy(fuse_part(module, part), example, conditions))
    return module.to(device)


class _DeployedPart(nn.Module):
    """A part that a runtime of its own runs."""

    def __init__(self, graph: LoadedGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(self, x: Tensor) -> Tensor:
        """As the part; OpenVINO's result is copied out of its buffer, which the next call uses."""
        return torch.from_numpy(self.graph.call(x.numpy()))


class _Chain(nn.Module):
    """Modules one after the other, with a mark before, between and after them."""

    def __init__(self, modules: Sequence[nn.Module], device: torch.device) -> None:
        super().__init__()
        self.parts = nn.ModuleList(modules)
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[int, int]] = []  # wall and CPU, ns
        self._events: list[torch.cuda.Event] = []

    def forward(self, x: Tensor) -> Tensor:
        """Image `(B, C, H, W)` to logits."""
        self._marks, self._events = [], []
        self._mark()
        for part in self.parts:
            x = part(x)
            self._mark()
        return x

    def _mark(self) -> None:
        if self._on_gpu:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._events.append(event)
        self._marks.append((time.perf_counter_ns(), time.thread_time_ns()))

    def has_begun(self) -> bool:
        """Whether the GPU has begun already: then it may have waited for the host."""
        return bool(self._events[0].query())  # type: ignore[no-untyped-call]

    def wall_ms(self) -> Floats:
        """Time between the marks on the host."""
        return np.diff([wall for wall, _ in self._marks]) / 1e6

    def cpu_ms(self) -> Floats:
        """CPU time of this thread between the marks."""
        return np.diff([cpu for _, cpu in self._marks]) / 1e6

    def device_ms(self) -> Floats:
        """Time between the marks on the GPU."""
        pairs = zip(self._events, self._events[1:], strict=False)
        return np.array([a.elapsed_time(b) for a, b in pairs])


def _replace_interrupted(
    wall: Floats, cpu: Floats, conditions: Conditions
) -> tuple[Floats, NDArray[np.bool_]]:
    """Wall times, or CPU times where others had the CPU meanwhile, and where that was."""
    if conditions.threads != 1:
        return wall, np.zeros(wall.shape, dtype=bool)
    return replace_interrupted(wall, cpu)


def _repeat(measure: Callable[[], _T]) -> list[_T]:
    """A few samples; fewer where they take long."""
    start, samples = time.perf_counter(), [measure()]
    while len(samples) < _TIMED and time.perf_counter() - start < _ENOUGH_S:
        samples.append(measure())
    return samples


def _weight_bytes(arch: Architecture) -> int:
    from smt_nas import costs

    return 4 * costs.of(arch).params
