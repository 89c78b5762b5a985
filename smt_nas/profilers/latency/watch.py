"""Watchers: what else happened on the machine while networks were timed.

What cannot be read is `unknown`, never fine.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import psutil
import torch

from smt_nas.errors import format_count
from smt_nas.profilers.latency.measurement import Concern, WatchReport
from smt_nas.runtime.host import (
    MAX_FOREIGN,
    HostSample,
    foreign_share,
    sample_host,
    steal_share,
)
from smt_nas.runtime.nvml import Gpu, GpuSample, Unavailable, open_gpu

MAX_THROTTLED = 0.05  # share of readings in which the clocks may be held back
LOW_CLOCK = 0.75  # of the highest: below it a GPU is held back, whatever it says of reasons
_PERIOD_S = 0.03  # between readings of a GPU
_TICK_S = 0.02  # what two counters of /proc can be wrong by


class Watcher(Protocol):
    """Watches one device from `start` to `stop`."""

    def start(self) -> None:
        """Begin."""

    def saw_load(self) -> bool:
        """Whether others used the machine since the last question (or the start)."""

    def stop(self) -> WatchReport:
        """End; what was seen."""


def watcher_of(device: str) -> Watcher:
    """The watcher of `cpu` or `cuda:0`."""
    if device == "cpu":
        return HostWatcher()
    gpu = open_gpu_of(device)
    return NullWatcher(gpu.reason) if isinstance(gpu, Unavailable) else GpuWatcher(gpu)


def open_gpu_of(device: str) -> Gpu | Unavailable:
    """The GPU of `cuda:0`, found by its UUID, as CUDA may count in another order than NVML."""
    where = torch.device(device)
    uuid = getattr(torch.cuda.get_device_properties(where), "uuid", None)
    return open_gpu(where.index or 0, uuid=None if uuid is None else str(uuid))


class NullWatcher:
    """Sees nothing, and says so.

    Args:
        reason: why, one sentence.
    """

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def start(self) -> None:
        """Nothing to begin."""

    def saw_load(self) -> bool:
        """It cannot tell."""
        return False

    def stop(self) -> WatchReport:
        """Tell that nothing was seen."""
        return WatchReport((("unknown", f"nothing watched the GPU: {self._reason}"),))


class HostWatcher:
    """Reads /proc when asked, between rounds: a thread of its own would take a CPU.

    Args:
        read: gives the state of the machine.
    """

    def __init__(self, read: Callable[[], HostSample] = sample_host) -> None:
        self._read = read
        self._samples: list[HostSample] = []

    def start(self) -> None:
        """Take the first reading."""
        self._samples = [self._read()]

    def saw_load(self) -> bool:
        """Whether others, or a hypervisor for others, used over 5 % of the CPU time since."""
        self._samples.append(self._read())
        return _others_used_cpu(*self._samples[-2:]) is True

    def stop(self) -> WatchReport:
        """Judge the whole run."""
        self._samples.append(self._read())
        first, last = self._samples[0], self._samples[-1]
        foreign, steal = foreign_share(first, last), steal_share(first, last)
        others = _others_used_cpu(first, last)
        concerns: list[Concern] = []
        if others is None:
            concerns.append(("unknown", "/proc does not tell who used the CPUs"))
        elif others:
            shares = f"{foreign:.0%} of the CPU time, and {steal or 0:.0%} was stolen"
            concerns.append(("loaded", f"other processes used {shares}"))
        clocks = [s.mhz for s in self._samples if s.mhz is not None]
        values = {
            "foreign_share": foreign,
            "steal_share": steal,
            "load1": last.load1,
            "mhz": float(np.median(clocks)) if clocks else None,
            "mhz_min": min(clocks, default=None),
        }
        return WatchReport(tuple(concerns), values)


def _others_used_cpu(before: HostSample, after: HostSample) -> bool | None:
    foreign = foreign_share(before, after)
    if foreign is None:
        return None
    capacity_s = (after.time_s - before.time_s) * before.cpus
    share = foreign + (steal_share(before, after) or 0.0)
    return share > MAX_FOREIGN + _TICK_S / capacity_s


class GpuWatcher:
    """Reads a GPU's clocks, power, temperature and throttle reasons from a thread of its own.

    Args:
        gpu: read every `period_s`.
        period_s: seconds.
    """

    def __init__(self, gpu: Gpu, period_s: float = _PERIOD_S) -> None:
        self._gpu, self._period_s = gpu, period_s
        self._samples: list[GpuSample] = []
        self._failure: str | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="gpu watcher", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def saw_load(self) -> bool:
        """A GPU tells of others only who they are, not when they work."""
        return False

    def stop(self) -> WatchReport:
        """End, and judge the readings."""
        self._end.set()
        self._thread.join()
        return WatchReport(tuple(self._list_concerns()), self._summarise())

    def _watch(self) -> None:
        try:
            while True:
                self._samples.append(self._gpu.sample())
                if self._end.wait(self._period_s):
                    return
        except Exception as error:  # a watcher that dies unseen would look like a quiet one
            self._failure = f"{type(error).__name__}: {error}"

    def _list_concerns(self) -> Iterator[Concern]:
        n = len(self._samples)
        if self._failure or not n:
            yield "unknown", f"the clocks could not be read ({self._failure or 'no reading'})"
        if any(s.lost for s in self._samples):
            yield "unknown", "the GPU fell off the bus"
        failed = sum(s.reasons is None or s.sm_mhz is None for s in self._samples)
        if failed:
            yield "unknown", f"{failed} of {n} readings of the clocks failed"
        doubts = sorted({doubt for s in self._samples for doubt in s.doubts})
        if doubts:
            yield "unknown", f"answers that cannot be true: {', '.join(doubts[:3])}"
        if self._gpu.mig:
            yield "unknown", "a MIG slice: clocks and power are shared with other slices"
        if others := _count_others(self._gpu.other_processes()):
            yield "unknown", f"{format_count(others, 'other process')} on the GPU, at work or not"
        for name, share in self._share_of_reasons().items():
            if share > MAX_THROTTLED:
                yield "throttled", f"{name} in {share:.0%} of the readings"
        share_of_max = self._summarise()["sm_share_of_max"]
        if share_of_max is not None and share_of_max < LOW_CLOCK:
            yield "throttled", f"SM clock at {share_of_max:.0%} of its maximum"

    def _share_of_reasons(self) -> dict[str, float]:
        """Share of the readings in which each reason held the clocks back."""
        readings = [s.reasons for s in self._samples if s.reasons is not None]
        counts = Counter(name for reasons in readings for name in reasons)
        return {name: count / len(readings) for name, count in sorted(counts.items())}

    def _summarise(self) -> dict[str, Any]:
        def read(name: str) -> list[float]:
            values = (getattr(s, name) for s in self._samples)
            return [v for v in values if v is not None]

        sm, temperatures = read("sm_mhz"), read("temperature_c")
        median, top = _median(sm), self._gpu.max_sm_mhz
        return {
            "readings": len(self._samples),
            "sm_mhz": median,
            "sm_mhz_min": min(sm, default=None),
            "sm_share_of_max": None if median is None or top is None else median / top,
            "mem_mhz": _median(read("mem_mhz")),
            "power_w": _median(read("power_w")),
            "temperature_start_c": temperatures[0] if temperatures else None,
            "temperature_max_c": max(temperatures, default=None),
            "reasons": self._share_of_reasons(),
            "other_processes": _count_others(self._gpu.other_processes()),
        }


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None


def _count_others(pids: Sequence[int] | None) -> int | None:
    """How many other processes are on a GPU.

    In a container the driver tells ids of the host: of those unknown here, one may be ourselves.
    """
    if pids is None:
        return None
    unknown = sum(not psutil.pid_exists(pid) for pid in pids)
    return len(pids) - min(unknown, 1)
