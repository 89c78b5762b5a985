"""What is timed, a `Runnable`, and what times it, a `Clock`.

Both are ports. Real are what `prepare` returns and the clocks of the operating system with CUDA's
events; a test moves a clock by hand, and its runnables say how far.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import torch

from smt_nas.conditions import Conditions

_LAP_NS = 100e6  # a GPU's queue runs ahead by this much at most; waiting for it costs microseconds
_GROWTH = 8  # of a lap's calls to the next one's, at most


class Runnable(Protocol):
    """One forward (or training step) at a time, on inputs that rotate.

    Attributes:
        name: of the network.
        device: `cpu` or `cuda:0`.
        conditions: how it is run.
        compile_ms: what compiling or capturing took, known after `first`; None where nothing is
            compiled.
    """

    name: str
    device: str
    conditions: Conditions
    compile_ms: float | None

    def first(self) -> None:
        """The first call, waited for: compiles, tunes, allocates."""

    def __call__(self) -> None:
        """One call on the next input. On a GPU it is submitted, not waited for."""

    def close(self) -> None:
        """Give the memory back."""


class Stream(Protocol):
    """A GPU's queue: work is put in and done in order, later."""

    def mark(self) -> Any:
        """Put a mark behind what was submitted so far."""

    def wait(self) -> None:
        """Return when all that was submitted is done."""

    def between_ms(self, start: Any, end: Any) -> float:
        """Time on the GPU between two marks that are done."""


class Clock(Protocol):
    """Times of this machine."""

    def wall_ns(self) -> int:
        """Monotonic."""

    def cpu_ns(self) -> int:
        """CPU time of this process, all its threads."""

    def date(self) -> str:
        """Now in UTC, ISO 8601, to the microsecond."""

    def stream(self, device: str) -> Stream | None:
        """The queue of `cuda:0`; None for `cpu`, whose calls end when they return."""


class SystemClock:
    """The clocks of the operating system, and CUDA events."""

    def wall_ns(self) -> int:
        """Nanoseconds of `perf_counter`."""
        return time.perf_counter_ns()

    def cpu_ns(self) -> int:
        """Nanoseconds of `process_time`."""
        return time.process_time_ns()

    def date(self) -> str:
        """Now in UTC, ISO 8601."""
        return datetime.now(UTC).isoformat(timespec="microseconds")

    def stream(self, device: str) -> Stream | None:
        """The current stream of a CUDA device."""
        return None if torch.device(device).type == "cpu" else CudaStream(device)


class CudaStream:
    """The current stream of a CUDA device, marked with events.

    Args:
        device: `cuda:0`.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def mark(self) -> torch.cuda.Event:
        """Record an event with a time."""
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def wait(self) -> None:
        """Synchronise the device."""
        torch.cuda.synchronize(self._device)

    def between_ms(self, start: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Milliseconds between two events."""
        return float(start.elapsed_time(end))


@dataclass(frozen=True)
class SustainedRun:
    """Calls made back to back, all of them ended, and the seconds they took."""

    calls: int
    seconds: float


def run_for(runnable: Runnable, seconds: float, clock: Clock) -> SustainedRun:
    """Call back to back until the time is over.

    Args:
        runnable: the network made ready, which has run before.
        seconds: fewest; at least one call is made.
        clock: what times it.
    """
    stream = clock.stream(runnable.device)
    start = now = clock.wall_ns()
    calls, lap = 0, 1
    while calls == 0 or now - start < seconds * 1e9:
        for _ in range(lap):
            runnable()
        calls += lap
        if stream:
            stream.wait()
        before, now = now, clock.wall_ns()
        if stream:
            lap = max(1, int(min(_GROWTH * lap, lap * _LAP_NS / max(now - before, 1))))
    return SustainedRun(calls, (now - start) / 1e9)
