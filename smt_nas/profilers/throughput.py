"""Throughput over batch sizes: the curve, its knee, and the largest batch that fits.

Each batch runs back to back for some seconds after a warm-up. What does not fit ends the curve and
not the sweep: its points stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import torch

from smt_nas.budgets import MAX_BATCH
from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError, MeasurementError, one_line
from smt_nas.profilers.latency.clock import Clock, Runnable, SystemClock, run_for
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.latency.watch import Watcher, watcher_of
from smt_nas.profilers.memory_estimate import MAX_SHARE, DoesNotFit, available_mb
from smt_nas.profilers.network_loader import Network
from smt_nas.profilers.peak_memory import measure_peak_memory
from smt_nas.profilers.reading import Reading, unknown
from smt_nas.runtime.torch_device import open_device

KNEE = 0.95  # of the best throughput
_RESOLUTION = 32  # the largest batch is found to a 32nd of it
_FLAT = 2  # doublings without gain, after which a CPU's curve is over
_GAIN = 1.02


@dataclass(frozen=True)
class Point:
    """One batch of a curve.

    Attributes:
        batch: images per call.
        throughput_ips: images per second, sustained.
        memory: `peak_memory_mb` and `reserved_memory_mb`.
    """

    batch: int
    throughput_ips: Reading
    memory: dict[str, Reading] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """Throughput of one network over batch sizes.

    Attributes:
        network: its name.
        device: `cpu` or `cuda:0`.
        conditions: of all points but for their batch.
        points: by batch, ascending; those that failed have no throughput but a reason.
        largest: the largest batch that fits; None where it was not looked for, or not found.
        largest_reason: how it was found, or why not.
        failure: what ended it other than full memory; None where nothing did.
    """

    network: str
    device: str
    conditions: Conditions
    points: tuple[Point, ...]
    largest: int | None = None
    largest_reason: str | None = None
    failure: str | None = None

    @property
    def knee(self) -> int | None:
        """The first batch with 95 % of the best throughput; None where nothing ran."""
        speeds = {p.batch: p.throughput_ips.value for p in self.points}
        best = max((v for v in speeds.values() if v is not None), default=0.0)
        return next((b for b, v in speeds.items() if v is not None and v >= KNEE * best), None)


@dataclass(frozen=True)
class Pace:
    """How long a sweep takes.

    Attributes:
        seconds: fewest seconds of calls a batch.
        warmup_s: before them.
        most_s: of one call; `auto` on a CPU tries no batch that would take longer.
    """

    seconds: float = 3.0
    warmup_s: float = 0.5
    most_s: float = 3.0


def parse_batches(text: str) -> tuple[tuple[int, ...], bool]:
    """Read `1,8,64,auto`: batches as written, each once, and whether `auto` is among them.

    Raises:
        ConfigError: a word that is neither a batch nor `auto`.
    """
    words = [word.strip() for word in text.split(",")]
    batches = list[int]()
    for word in words:
        if word == "auto":
            continue
        if not (word.isascii() and word.isdecimal() and len(word) <= 9):
            raise ConfigError(_not_a_batch(word))
        if not 1 <= int(word) <= MAX_BATCH:
            raise ConfigError(_not_a_batch(word))
        batches.append(int(word))
    return tuple(dict.fromkeys(batches)), "auto" in words


def _not_a_batch(word: str) -> str:
    return (
        f"--batch: must be whole numbers from 1 to {MAX_BATCH}, or auto "
        f"(got {word if len(word) <= 20 else word[:17] + '...'!r}). Write e.g. 1,8,64,auto."
    )


@dataclass(frozen=True)
class SweepDependencies:
    """What a sweep works with; a test brings its own."""

    prepare: Callable[[Network, Conditions, str], Runnable] = prepare
    memory: Callable[[Network, Conditions, str], dict[str, Reading]] = measure_peak_memory
    free_mb: Callable[[], float] = available_mb
    watcher: Callable[[str], Watcher] = watcher_of
    clock: Clock = field(default_factory=SystemClock)


def sweep(
    network: Network,
    conditions: Conditions,
    batches: Sequence[int],
    device: str = "cpu",
    *,
    auto: bool = False,
    pace: Pace = Pace(),
    on_point: Callable[[Point], None] = lambda point: None,
    dependencies: SweepDependencies | None = None,
) -> Sweep:
    """Measure throughput and memory over batch sizes.

    Args:
        network: what to run.
        conditions: how; its batch is replaced.
        batches: to be measured.
        device: `cpu`, `cuda` or `cuda:N`.
        auto: also 1, 2, 4, ... and on a GPU the largest batch that fits; see `_SweepRun.double`.
        pace: how long each batch is run.
        on_point: told each point as it is there, as the sweep may be interrupted.
        dependencies: what it works with; the real things where None.

    Returns: the curve. A batch that does not fit or fails is a point with its reason.

    Raises:
        MeasurementError: not even the smallest batch could be run.
    """
    with _cap_memory(device):
        run = _SweepRun(
            network, conditions, device, pace, on_point, dependencies or SweepDependencies()
        )
        for batch in sorted(set(batches)):
            run.measure_point(batch)
        largest, reason = run.double() if auto else (None, "not looked for")
    points = tuple(run.points[batch] for batch in sorted(run.points))
    if not points:
        raise MeasurementError(f"{network.name}: a sweep needs batches. Name some, or auto.")
    if all(p.throughput_ips.value is None for p in points):
        why = (points[0].throughput_ips.reason or "nothing ran").rstrip(".")
        raise MeasurementError(f"{network.name} on {device}: {why}.")
    return Sweep(network.name, device, conditions, points, largest, reason, run.failure)


class _SweepRun:
    """A sweep under way."""

    def __init__(
        self,
        network: Network,
        conditions: Conditions,
        device: str,
        pace: Pace,
        on_point: Callable[[Point], None],
        dependencies: SweepDependencies,
    ) -> None:
        self._network, self._conditions, self._device = network, conditions, device
        self._pace, self._on_point, self._dependencies = pace, on_point, dependencies
        self.points: dict[int, Point] = {}
        self.failure: str | None = None  # the first that is not about memory
        self._too_large = MAX_BATCH + 1  # the smallest batch that is known not to fit

    def measure_point(self, batch: int) -> Reading:
        """Measure a batch, once; its throughput, without a value where it does not run."""
        if batch not in self.points:
            ips, memory = self._measure(batch), dict[str, Reading]()
            if ips.value is not None:
                memory = self._measure_memory(batch)
            self.points[batch] = Point(batch, ips, memory)
            self._on_point(self.points[batch])
        return self.points[batch].throughput_ips

    def _measure_memory(self, batch: int) -> dict[str, Reading]:
        """What it takes; with the reason where that cannot be said, so that the speed stays."""
        try:
            return self._dependencies.memory(self._network, self._at(batch), self._device)
        except Exception as error:  # a GPU that fell off
            return {"peak_memory_mb": unknown("measured", one_line(error))}

    def double(self) -> tuple[int | None, str]:
        """1, 2, 4, ... to the end; the largest batch that fits, and how it was found.

        On a GPU the end is where 90 % of the memory is full. On a CPU it is where a call takes
        long, doubling gains nothing, or the next batch would need more memory than is free.
        """
        batch, best, flat = 1, 0.0, 0
        while batch <= MAX_BATCH:
            ips = self.measure_point(batch).value
            if ips is None:
                return self._bisect_below(batch)
            gained = ips > _GAIN * best
            best, flat = max(best, ips), 0 if gained else flat + 1
            if self._device == "cpu":
                if flat >= _FLAT:
                    return None, f"not looked for on a CPU: {batch} gains nothing"
                if 2 * batch / ips > self._pace.most_s:
                    return None, f"not looked for on a CPU: {2 * batch} would take too long"
            batch *= 2
        return MAX_BATCH, f"no larger one than {MAX_BATCH} is tried"

    def _bisect_below(self, batch: int) -> tuple[int | None, str]:
        """Bisect between the last batch that ran and the one that did not."""
        if self._too_large > batch:  # it failed of something else
            return None, self.points[batch].throughput_ips.reason or "it failed"
        low, high = batch // 2, min(batch, self._too_large)
        if self._device == "cpu":  # to provoke the end of memory may end other processes
            return (low or None), f"by estimate, {batch} needs more memory than is free"
        while low and high - low > max(1, low // _RESOLUTION):
            middle = (low + high) // 2
            reading = self._try(middle)
            if reading.value is None and self._too_large > middle:  # it failed of something else
                return low, f"{middle} failed: {reading.reason}"
            low, high = (middle, high) if reading.value is not None else (low, middle)
        if low:
            self.measure_point(low)
        return (low or None), f"{high} needs more than {MAX_SHARE:.0%} of the memory"

    def _try(self, batch: int) -> Reading:
        """A batch's warm-up, or its point where there is one."""
        if batch in self.points:
            return self.points[batch].throughput_ips
        return self._attempt(batch, self._warm_up)

    def _measure(self, batch: int) -> Reading:
        if batch >= self._too_large:
            return unknown("measured", f"batch {self._too_large} needs more memory than there is")
        if (needed := self._needs_mb(batch)) is not None:
            self._too_large = batch
            return unknown("measured", f"batch {batch} needs about {needed:.0f} MB, more than free")
        return self._attempt(batch, self._run)

    def _needs_mb(self, batch: int) -> float | None:
        """Memory of a batch by the largest before it, where a CPU has less than that free."""
        if self._device != "cpu":
            return None
        known = {
            p.batch: p.memory["peak_memory_mb"].value
            for p in self.points.values()
            if p.batch < batch and "peak_memory_mb" in p.memory
        }
        peak = known.get(max(known, default=0))
        if peak is None:
            return None
        needed = peak * batch / max(known)
        return needed if needed > MAX_SHARE * self._dependencies.free_mb() else None

    def _attempt(self, batch: int, use: Callable[[Runnable], Reading]) -> Reading:
        """Make a batch ready, use it, close it; a failure is a figure without a value."""
        runnable = None
        try:
            runnable = self._dependencies.prepare(self._network, self._at(batch), self._device)
            return use(runnable)
        except (DoesNotFit, torch.OutOfMemoryError):
            self._too_large = min(self._too_large, batch)
            return unknown("measured", f"batch {batch} needs more memory than there is")
        except Exception as error:  # the network's own code, or a GPU that fell off
            reason = str(error) if isinstance(error, MeasurementError) else one_line(error)
            self.failure = self.failure or reason
            return unknown("measured", reason)
        finally:
            if runnable is not None:
                with suppress(RuntimeError):  # a GPU that fell off
                    runnable.close()

    def _at(self, batch: int) -> Conditions:
        return self._conditions.model_copy(update={"batch": batch})

    def _run(self, runnable: Runnable) -> Reading:
        """Images per second after the warm-up, and what the watcher saw."""
        clock, watcher = self._dependencies.clock, self._dependencies.watcher(self._device)
        self._warm_up(runnable)
        watcher.start()
        try:
            done = run_for(runnable, self._pace.seconds, clock)
        finally:
            report = watcher.stop()
        ips = done.calls * runnable.conditions.batch / done.seconds
        if not report.concerns:
            return Reading(ips, "measured")
        status, reason = report.concerns[0]
        return Reading(ips, "measured", status, reason=reason)

    def _warm_up(self, runnable: Runnable) -> Reading:
        """Run for the warm-up; its images per second."""
        runnable.first()
        warmup = run_for(runnable, self._pace.warmup_s, self._dependencies.clock)
        return Reading(warmup.calls * runnable.conditions.batch / warmup.seconds, "measured")


@contextmanager
def _cap_memory(device: str) -> Iterator[None]:
    """Let torch take 90 % of a GPU's memory: full to the last byte is no way to run."""
    if device == "cpu" or not torch.cuda.is_available():
        yield
        return
    where = open_device(device)
    with suppress(RuntimeError):  # a GPU that fell off: the first call will tell
        torch.cuda.set_per_process_memory_fraction(MAX_SHARE, where)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # a GPU that fell off has no limit to lift
            torch.cuda.set_per_process_memory_fraction(1.0, where)
