"""Time one network (`measure`), or several in turns (`interleave`).

After a first call that stands apart and a warm-up until times are steady, networks take turns,
forwards and backwards (A, B, B, A), until enough is known or the time is up. What is slow for a
moment is slow for all; one network alone is measured by the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from smt_nas.errors import MeasurementError, SmtNasError, one_line
from smt_nas.profilers.latency.clock import Clock, Runnable, SystemClock
from smt_nas.profilers.latency.measurement import (
    Measurement,
    RunContext,
    Samples,
    are_close,
    assess_quality,
)
from smt_nas.profilers.latency.stats import (
    INTERVAL_SAMPLES,
    Floats,
    half_width,
    ratio_interval,
    thirds,
)
from smt_nas.profilers.latency.watch import Watcher, watcher_of
from smt_nas.runtime.host import available_cores

GPU_PRECISION, CPU_PRECISION = 0.005, 0.01
MARGINS = {"cpu": 0.03, "cuda": 0.01}
"""Differences of latency below these are none, for networks measured in turns. On a GPU twice the
precision of a median. On a CPU 3 %: where tensors come to lie moves a network by about as much."""
_RATIO_SHARE = 0.4
"""Of the margin, half the interval of a ratio before a verdict: networks that are alike then differ
by chance by less than the other 0.6, three standard errors, in 99.7 % of runs."""
TURN_MS = {"cpu": 10.0, "cuda": 50.0}
"""How long a turn should take. On a GPU a turn ends with a wait, so this also bounds how far the
queue runs ahead; with fewer than one call a turn, it is one call ahead."""
MIN_ROUNDS = INTERVAL_SAMPLES
STEADY = 0.01  # warm when the last third of the warm-up is within this of the third before
_CHECK_GROWTH = 1.2  # rounds between checks of the stop rule, so that they cost a share of the run
_WARMUP_GROWTH = 1.05  # the same of the warm-up
_CHECK_RESAMPLES = 300
_LOOK_S = 0.5  # between questions to the watcher

OnRound = Callable[[int, int], None]
"""Told after each round: rounds done, rounds that the time cap leaves room for."""


@dataclass(frozen=True)
class Limits:
    """When to stop measuring one network; n networks measured together get n times the seconds.

    Attributes:
        seconds: time cap of the samples, without the warm-up.
        samples: fewest, unless the time cap comes first.
        close_samples: fewest of a network, in `MIN_ROUNDS` at least, whose samples lie so close
            together that no drift hides among them (`are_close`): it takes no more turns. None:
            as many as of all others.
        min_s: fewest seconds of samples, unless the time cap comes first.
        precision: stop when half the 95 % interval of the median is at most this share of it, and
            that of the ratio to the first network, where there are several; None for 0.5 % on a
            GPU and 1 % on a CPU, and for ratios 0.4 % and 1.2 %.
        warmup_s: fewest seconds of warm-up, however many networks share it; 0 for none beside the
            first call, or one more of those whose turn may hold several.
        warmup_cap_s: most seconds of it, where it does not get steady.
    """

    seconds: float = 10.0
    samples: int = 30
    close_samples: int | None = None
    min_s: float = 1.0
    precision: float | None = None
    warmup_s: float = 0.5
    warmup_cap_s: float = 10.0

    def precision_on(self, device: str) -> float:
        """The precision asked for on `cpu` or `cuda:0`."""
        if self.precision is not None:
            return self.precision
        return CPU_PRECISION if device == "cpu" else GPU_PRECISION

    def ratio_precision_on(self, device: str) -> float:
        """The same for a ratio of two medians."""
        return self.precision if self.precision is not None else _RATIO_SHARE * margin_on(device)


def margin_on(device: str) -> float:
    """The margin of networks measured in turns on `cpu` or `cuda:0`."""
    return MARGINS["cpu" if device == "cpu" else "cuda"]


def measure(
    runnable: Runnable,
    limits: Limits = Limits(),
    *,
    clock: Clock | None = None,
    watcher: Watcher | None = None,
) -> Measurement:
    """Measure the latency of one network.

    On a GPU each sample is two figures from two passes: time between CUDA events with calls queued
    back to back, and host time from submit to synchronise, one call after the other.

    Args:
        runnable: the network made ready; the caller closes it.
        limits: when to stop.
        clock: the system's, or one that a test moves.
        watcher: watches the machine meanwhile; the one of the network's device where None.

    Returns:
        All samples and what is known about them. A call that fails midway ends it, and is named
        in `stopped_by`.

    Raises:
        MeasurementError: the call failed before it gave a sample.
    """
    [measurement] = interleave([runnable], limits, clock=clock, watcher=watcher)
    return measurement


def interleave(
    runnables: Sequence[Runnable],
    limits: Limits = Limits(),
    on_round: OnRound | None = None,
    *,
    reference: int = 0,
    clock: Clock | None = None,
    watcher: Watcher | None = None,
) -> list[Measurement]:
    """Measure networks in turns, A, B, B, A, so that a slow moment falls on all of them.

    Args:
        runnables: networks made ready, all on one device; all stay in memory at the same time.
        limits: when to stop; the seconds are those of each network.
        on_round: told after each round: rounds done, rounds that the time cap leaves room for.
        reference: place of the network that takes its turn as long as any other does.
        clock: the system's, or one that a test moves.
        watcher: watches the machine meanwhile; the one of their device where None.

    Returns:
        One measurement each, in their order. A network that fails midway leaves the others alone.

    Raises:
        MeasurementError: a call failed before it gave a sample, or networks are on two devices.
    """
    if not runnables:
        return []
    devices = sorted({runnable.device for runnable in runnables})
    if len(devices) > 1:
        raise MeasurementError(
            f"comparison: all networks must be on one device (got {', '.join(devices)}). "
            "Measure each device by itself."
        )
    watcher, clock = watcher or watcher_of(devices[0]), clock or SystemClock()
    collectors = [SampleCollector(runnable, clock) for runnable in runnables]
    started = clock.date()
    with _restore_threads():
        for collector in collectors:
            collector.run_first()
        warmup_s, steady = _warm_up(collectors, limits, clock)
        watcher.start()
        try:
            stopped_by, loaded = _take_rounds(
                collectors, limits, clock, watcher, on_round, reference
            )
        finally:
            watched = watcher.stop()
    context = RunContext(
        started, limits.warmup_s > 0, warmup_s, steady, stopped_by, tuple(loaded), watched
    )
    return [assess_quality(collector.samples, context) for collector in collectors]


class SampleCollector:
    """One network under the clock: takes its turns, and keeps what they gave in `samples`.

    Args:
        runnable: the network, made ready.
        clock: what times it.
    """

    def __init__(self, runnable: Runnable, clock: Clock) -> None:
        self._runnable, self._clock = runnable, clock
        self._stream = clock.stream(runnable.device)
        self._submitted_ms = 0.0
        threads = None if self._stream else (runnable.conditions.threads or available_cores())
        self.samples = Samples(runnable.name, runnable.device, runnable.conditions, threads)

    def run_first(self) -> None:
        """The first call, apart from all others."""
        self.samples.first_call_ms = self._guard(lambda: self._time(self._runnable.first))
        self.samples.compile_ms = self._runnable.compile_ms

    def run_once(self) -> float:
        """One call for warm-up, waited for; its milliseconds."""
        return self._guard(lambda: self._time(self._runnable))

    def fills_turn(self) -> bool:
        """Whether one call surely takes a turn: on a CPU the first takes at most twice as long."""
        call_ms = self.samples.first_call_ms - (self.samples.compile_ms or 0.0)
        return self._stream is None and call_ms >= 2 * TURN_MS["cpu"]

    def plan_turns(self, call_ms: float) -> None:
        """Set the calls of a turn by what one takes."""
        target = TURN_MS["cuda" if self._stream else "cpu"]
        self.samples.per_turn = max(1, int(target / max(call_ms, 1e-3)))

    def take_turn(self) -> None:
        """Take `per_turn` samples. A call that fails ends this network, its samples are kept."""
        try:
            self._guard(self._take_gpu_turn if self._stream else self._take_cpu_turn)
        except SmtNasError:
            if not self.samples.wall_ms:
                raise

    def _take_cpu_turn(self) -> float:
        for _ in range(self.samples.per_turn):
            busy = self._clock.cpu_ns()
            self.samples.wall_ms.append(self._time(self._runnable))
            self.samples.cpu_ms.append((self._clock.cpu_ns() - busy) / 1e6)
        return 0.0

    def _take_gpu_turn(self) -> float:
        """Calls one after the other between marks, then as many waited for each.

        The first says what the GPU needs, the second what a caller waits. Nothing waits between
        the marks, and one call leads in, so that the queue is never empty behind the first.
        """
        assert self._stream is not None
        marks = []
        if self.samples.per_turn > 1:
            self._runnable()
        for _ in range(self.samples.per_turn):
            start = self._stream.mark()
            self._runnable()
            marks.append((start, self._stream.mark()))
        self._stream.wait()
        on_device = [self._stream.between_ms(*pair) for pair in marks]
        self.samples.device_ms += on_device
        for _ in marks:
            self.samples.wall_ms.append(self._time(self._runnable))
            self.samples.submit_ms.append(self._submitted_ms)
        return 0.0

    def _time(self, call: Callable[[], None]) -> float:
        """Milliseconds from submitting to the end; those until all was submitted are kept."""
        start = self._clock.wall_ns()
        call()
        self._submitted_ms = (self._clock.wall_ns() - start) / 1e6
        if self._stream:
            self._stream.wait()
        return (self._clock.wall_ns() - start) / 1e6

    def _guard(self, action: Callable[[], float]) -> float:
        """Run on the threads asked for; tell what fails in one line.

        A network of anybody's can raise anything, so all exceptions are caught.
        """
        samples = self.samples
        if samples.threads and samples.threads != torch.get_num_threads():
            torch.set_num_threads(samples.threads)
        try:
            return action()
        except SmtNasError as error:
            samples.error = str(error)
            raise
        except Exception as error:
            samples.error = one_line(error)
            raise MeasurementError(
                f"{samples.name}: must run on {samples.device} as {samples.conditions} "
                f"(got {samples.error}). {_way_out(error)}"
            ) from error


def _way_out(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "Use a smaller batch or image, or another precision."
    return "`--debug` shows where it was raised."


def _warm_up(
    collectors: Sequence[SampleCollector], limits: Limits, clock: Clock
) -> tuple[float, bool]:
    """Call in rounds until times are steady; plan the turns. Seconds taken, and whether steady.

    Two windows are compared: the last third of the warm-up and the third before it. They grow
    with it, so a noisy machine gets longer ones, and the slow start falls out of both. Where none
    is asked for, those get one call whose turn may hold several.
    """
    start = clock.wall_ns()
    if limits.warmup_s == 0:
        for collector in collectors:
            if not collector.fills_turn():
                collector.plan_turns(collector.run_once())
        return (clock.wall_ns() - start) / 1e9, False
    rounds: list[list[float]] = []
    check_at, steady, over = 0, False, False
    while not (steady or over):
        rounds.append([collector.run_once() for collector in collectors])
        elapsed_s = (clock.wall_ns() - start) / 1e9
        over = elapsed_s >= limits.warmup_cap_s
        if over or (elapsed_s >= limits.warmup_s and len(rounds) >= check_at):
            steady = _is_steady([sum(times) for times in rounds])
            check_at = int(len(rounds) * _WARMUP_GROWTH) + 1
    _, last = thirds(np.array(rounds))  # (rounds, networks)
    for collector, call_ms in zip(collectors, np.median(last, axis=0), strict=True):
        collector.plan_turns(float(call_ms))
    return elapsed_s, steady


def _is_steady(times_ms: Sequence[float]) -> bool:
    n = len(times_ms) // 3
    if n < 2:
        return False
    before, last = np.median(times_ms[-2 * n : -n]), np.median(times_ms[-n:])
    return bool(abs(last / before - 1) <= STEADY)


def _take_rounds(
    collectors: Sequence[SampleCollector],
    limits: Limits,
    clock: Clock,
    watcher: Watcher,
    on_round: OnRound | None,
    reference: int,
) -> tuple[str, list[range]]:
    """Take rounds until the stop rule says so; why it stopped, and the rounds under load."""
    loaded: list[range] = []
    start = looked = clock.wall_ns()
    cap_s, least_s = limits.seconds * len(collectors), limits.min_s * len(collectors)
    rounds, looked_at, check_at = 0, 0, 0
    active = list(collectors)
    while True:
        for collector in active if rounds % 2 == 0 else reversed(active):
            if collector.samples.error is None:
                collector.take_turn()
        rounds += 1
        now = clock.wall_ns()
        elapsed_s = (now - start) / 1e9
        if on_round:
            on_round(rounds, max(rounds, int(rounds * cap_s / max(elapsed_s, 1e-9))))
        over = elapsed_s >= cap_s or all(c.samples.error for c in collectors)
        enough = False
        if rounds >= check_at and rounds % 2 == 0 and elapsed_s >= least_s and not over:
            active = _drop_settled(active, collectors[reference], limits)
            enough = not active or _is_precise([c.samples for c in active], limits)
            check_at = int(rounds * _CHECK_GROWTH) + 1
        if over or enough or now - looked >= _LOOK_S * 1e9:
            loaded += [range(looked_at, rounds)] if watcher.saw_load() else []
            looked, looked_at = now, rounds
        if over or enough:
            return ("ci" if enough else "time cap"), loaded


def _drop_settled(
    active: Sequence[SampleCollector], reference: SampleCollector, limits: Limits
) -> list[SampleCollector]:
    """Those that still take turns; the reference as long as any other does, and until it settles.

    A drift is a difference of 2 % (`drifts`): where all samples lie within that, there is none.
    """
    if limits.close_samples is None:
        return list(active)
    settled = [_is_settled(c.samples, limits.close_samples) for c in active]
    left = [c for c, done in zip(active, settled, strict=True) if not done]
    if not left or reference in left:
        return left
    return [c for c in active if c is reference or c in left]


def _is_settled(samples: Samples, least: int) -> bool:
    n = len(samples.wall_ms)
    return n >= max(least, MIN_ROUNDS * samples.per_turn) and are_close(samples)


def _is_precise(everyone: Sequence[Samples], limits: Limits) -> bool:
    """Whether every interval is narrow enough: of the medians, and of the ratios to the first."""
    alive = [s for s in everyone if s.error is None]
    if any(len(s.wall_ms) < limits.samples for s in alive):
        return False
    for s in alive:
        precision = limits.precision_on(s.device)
        if any(half_width(times) > precision for times in (s.wall_ms, s.device_ms) if times):
            return False
    return len(alive) < 2 or _has_precise_ratios(alive, limits)


def _has_precise_ratios(alive: Sequence[Samples], limits: Limits) -> bool:
    first, *others = (round_medians(s.wall_ms, s.per_turn) for s in alive)
    if len(first) < MIN_ROUNDS:
        return False
    precision = limits.ratio_precision_on(alive[0].device)
    for other in others:
        low, high = ratio_interval(first, other, resamples=_CHECK_RESAMPLES)
        if (high - low) / 2 > precision:
            return False
    return True


def round_medians(samples_ms: Sequence[float], per_round: int) -> Floats:
    """The median of each round, (rounds,); what is left over of a round is not counted."""
    rounds = len(samples_ms) // per_round
    whole = np.asarray(samples_ms[: rounds * per_round], dtype=np.float64)
    return np.asarray(np.median(whole.reshape(rounds, per_round), axis=1))


@contextmanager
def _restore_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
