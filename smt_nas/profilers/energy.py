"""Energy of an image: windows of sustained calls under a meter, the idle power before them apart.

A window lasts 2 s or more, as the counters move about every 100 ms, and there are three or more.
The energy of a window is all that the device took, its idle share included.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from smt_nas.errors import one_line
from smt_nas.profilers.latency.clock import Clock, Runnable, SystemClock, run_for
from smt_nas.profilers.latency.watch import open_gpu_of
from smt_nas.profilers.reading import Reading, unknown
from smt_nas.runtime.host import Rapl, open_rapl
from smt_nas.runtime.nvml import Gpu, Unavailable

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
        self._thread = threading.Thread(target=self._sum_power, daemon=True)
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

    def _sum_power(self) -> None:
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


def meter_of(device: str) -> Meter | Unavailable:
    """The best meter of `cpu` or `cuda:0`, or why there is none."""
    if device == "cpu":
        rapl = open_rapl()
        return rapl if isinstance(rapl, Unavailable) else CpuCounter(rapl)
    gpu = open_gpu_of(device)
    return gpu if isinstance(gpu, Unavailable) else gpu_meter(gpu)


def gpu_meter(gpu: Gpu) -> Meter | Unavailable:
    """The best meter of a GPU: its counter, else its power."""
    if gpu.mig:
        return Unavailable("the counter of a GPU in slices holds the energy of all of them")
    if gpu.energy_mj() is not None:
        return GpuCounter(gpu)
    if gpu.sample().power_w is not None:
        return GpuPower(gpu)
    return Unavailable("this GPU tells neither its energy nor its power")


@dataclass(frozen=True)
class Windows:
    """How long energy is measured.

    Attributes:
        window_s: fewest seconds of a window.
        windows: how many.
        idle_s: seconds without work before them.
    """

    window_s: float = 2.0
    windows: int = 3
    idle_s: float = 2.0


@dataclass(frozen=True)
class Energy:
    """What was metered.

    Attributes:
        per_image_mj: millijoules of an image, one value a window.
        power_w: mean over the windows.
        idle_w: before them.
        celsius: at the start.
        meter: whose energy, and how it is known.
        estimated: from readings of the power.
        ended_by: the error that ended it early; None where nothing did.
    """

    per_image_mj: tuple[float, ...]
    power_w: float
    idle_w: float
    celsius: float | None
    meter: str
    estimated: bool
    ended_by: str | None = None

    @property
    def std_mj(self) -> float | None:
        """Standard deviation over the windows; None of a single one."""
        return statistics.stdev(self.per_image_mj) if len(self.per_image_mj) > 1 else None

    @property
    def reading(self) -> Reading:
        """Its mean as a reading, with what must be known beside it."""
        mean, std = statistics.fmean(self.per_image_mj), self.std_mj
        notes = [f"{'estimated from ' if self.estimated else ''}{self.meter}"]
        notes += [f"{self.power_w:.0f} W, of which {self.idle_w:.0f} W idle"]
        notes += [f"from {self.celsius:.0f} °C"] if self.celsius is not None else []
        notes += (
            [f"std {std:.2g} mJ of {len(self.per_image_mj)} windows"] if std is not None else []
        )
        notes += [f"ended by {self.ended_by}"] if self.ended_by else []
        low, high = (None, None) if std is None else (mean - std, mean + std)
        sure = not self.estimated and self.ended_by is None and std is not None
        return Reading(mean, "measured", "ok" if sure else "unknown", low, high, "; ".join(notes))


def measure_energy(runnable: Runnable) -> Reading:
    """Measure the energy of an image; without a value, and with the reason, where none can be.

    Args:
        runnable: the network made ready, which has run before.
    """
    meter = meter_of(runnable.device)
    if isinstance(meter, Unavailable):
        return unknown("measured", meter.reason.rstrip("."))
    try:
        energy = meter_energy(runnable, meter)
    finally:
        meter.close()
    return unknown("measured", energy.reason) if isinstance(energy, Unavailable) else energy.reading


def meter_energy(
    runnable: Runnable,
    meter: Meter,
    windows: Windows = Windows(),
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Energy | Unavailable:
    """Measure energy with a meter.

    Args:
        runnable: the network made ready, which has run before.
        meter: of its device.
        windows: how long.
        clock: the system's, or one that a test moves.
        sleep: waits for seconds.

    Returns: what was metered, also where the device fell off after a whole window; or why nothing.
    """
    clock, celsius = clock or SystemClock(), meter.celsius()

    def rest() -> int:
        sleep(windows.idle_s)
        return 0

    idle = _meter_work(rest, meter, clock)
    if isinstance(idle, Unavailable):
        return idle
    whole, ended_by = _meter_windows(runnable, meter, windows, clock)
    if not whole:
        return Unavailable(str(ended_by))
    return Energy(
        per_image_mj=tuple(w.mj / (w.calls * runnable.conditions.batch) for w in whole),
        power_w=sum(w.mj for w in whole) / sum(w.seconds for w in whole) / 1e3,
        idle_w=idle.mj / idle.seconds / 1e3,
        celsius=celsius,
        meter=meter.what,
        estimated=meter.estimated,
        ended_by=ended_by,
    )


@dataclass(frozen=True)
class _MeteredWork:
    mj: float
    seconds: float
    calls: int = 0


def _meter_work(work: Callable[[], int], meter: Meter, clock: Clock) -> _MeteredWork | Unavailable:
    """Energy and time of some work, which returns its calls."""
    before, start = meter.read_mj(), clock.wall_ns()
    calls = work()
    after, end = meter.read_mj(), clock.wall_ns()
    if before is None or after is None:
        return Unavailable("the energy counter stopped answering")
    if after <= before:
        return Unavailable("the energy counter does not move")
    return _MeteredWork(after - before, (end - start) / 1e9, calls)


def _meter_windows(
    runnable: Runnable, meter: Meter, windows: Windows, clock: Clock
) -> tuple[list[_MeteredWork], str | None]:
    """The whole windows there are, and what ended them early."""

    def run() -> int:
        return run_for(runnable, windows.window_s, clock).calls

    whole = list[_MeteredWork]()
    while len(whole) < windows.windows:
        try:
            window = _meter_work(run, meter, clock)
        except Exception as error:  # the network's own code, or a GPU that fell off
            return whole, one_line(error)
        if isinstance(window, Unavailable):
            return whole, window.reason
        whole.append(window)
    return whole, None
