"""Energy meters: a GPU's own counter, its power asked again and again, a CPU's RAPL counters."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

import torch

from smt_nas.runtime.host import Rapl, open_rapl
from smt_nas.runtime.nvml import Absent, Gpu, open_gpu

_PERIOD_S = 0.02  # between questions for the power


class Meter(Protocol):
    """Counts the energy of a device.

    Attributes:
        what: whose energy, and how it is known.
        estimated: it is put together from readings of the power.
    """

    what: str
    estimated: bool

    def read_mj(self) -> float | None:
        """Millijoules so far; differences count. None where it cannot be told."""

    def celsius(self) -> float | None:
        """Temperature, where it is known."""

    def close(self) -> None:
        """Stop counting."""


class GpuCounter:
    """The counter a GPU keeps itself (Volta and later)."""

    what, estimated = "the board's own counter", False

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self.read_mj: Callable[[], float | None] = gpu.energy_mj

    def celsius(self) -> float | None:
        """Temperature of the chip."""
        return self._gpu.sample().temperature_c

    def close(self) -> None:
        """Nothing to stop."""


class GpuPower:
    """The power of a GPU, asked every 20 ms in a thread and summed.

    Less sure than a counter: the driver gives means of a part of the time (arXiv 2312.02741).
    """

    what, estimated = "the board's power, asked every 20 ms", True

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu
        self._sum_mj, self._known = 0.0, True
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def read_mj(self) -> float | None:
        """Millijoules since it was made; None once a reading failed."""
        return self._sum_mj if self._known else None

    def celsius(self) -> float | None:
        """Temperature of the chip."""
        return self._gpu.sample().temperature_c

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._thread.join()

    def _ask(self) -> None:
        last = time.perf_counter()
        while not self._end.wait(_PERIOD_S):
            watts, now = self._gpu.sample().power_w, time.perf_counter()
            if watts is None:
                self._known = False
                return
            self._sum_mj += watts * (now - last) * 1e3
            last = now


class CpuCounter:
    """RAPL: all CPU packages of the machine, whoever uses them, without their memory."""

    what, estimated = "RAPL of all CPU packages", False

    def __init__(self, rapl: Rapl) -> None:
        self.read_mj: Callable[[], float | None] = rapl.energy_mj

    def celsius(self) -> float | None:
        """Not asked for."""
        return None

    def close(self) -> None:
        """Nothing to stop."""


def meter_of(device: str) -> Meter | Absent:
    """The best meter of `cpu` or `cuda:0`, or why there is none."""
    if device == "cpu":
        rapl = open_rapl()
        return rapl if isinstance(rapl, Absent) else CpuCounter(rapl)
    where = torch.device(device)
    uuid = getattr(torch.cuda.get_device_properties(where), "uuid", None)
    gpu = open_gpu(where.index or 0, uuid=None if uuid is None else str(uuid))
    return gpu if isinstance(gpu, Absent) else gpu_meter(gpu)


def gpu_meter(gpu: Gpu) -> Meter | Absent:
    """The best meter of a GPU: its counter, else its power."""
    if gpu.mig:
        return Absent("the counter of a GPU in slices holds the energy of all of them")
    if gpu.energy_mj() is not None:
        return GpuCounter(gpu)
    if gpu.sample().power_w is not None:
        return GpuPower(gpu)
    return Absent("this GPU tells neither its energy nor its power")
