"""Rounds: networks take turns, forwards and backwards (A, B, B, A), until enough is known.

One network alone is measured by the same code. What is slow for a moment is slow for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from smt_nas.profilers.clock import Clock, SystemClock
from smt_nas.profilers.measurement import Measurement
from smt_nas.profilers.quality import RunContext, assess_quality
from smt_nas.profilers.runnable import Runnable
from smt_nas.profilers.sample_collector import SampleCollector
from smt_nas.profilers.stats import Floats, half_width, ratio_interval, thirds
from smt_nas.profilers.watch import Watcher, watcher_of

GPU_PRECISION, CPU_PRECISION = 0.005, 0.01
MARGINS = {"cpu": 0.03, "cuda": 0.01}
"""Differences of latency below these are none, for networks measured in turns. On a GPU twice the
precision of a median. On a CPU 3 %: where tensors come to lie moves a network by about as much."""
_RATIO_SHARE = 0.4
"""Of the margin, half the interval of a ratio before a verdict: networks that are alike then differ
by chance by less than the other 0.6, three standard errors, in 99.7 % of runs."""


@dataclass(frozen=True)
class Limits:
    """When to stop measuring one network; n networks measured together get n times the seconds.

    Attributes:
        seconds: time cap of the samples, without the warm-up.
        samples: fewest, unless the time cap comes first.
        min_s: fewest seconds of samples, unless the time cap comes first.
        precision: stop when half the 95 % interval of the median is at most this share of it, and
            that of the ratio to the first network, where there are several; None for 0.5 % on a
            GPU and 1 % on a CPU, and for ratios 0.4 % and 1.2 %.
        warmup_s: fewest seconds of warm-up, however many networks share it; 0 for one call each.
        warmup_cap_s: most seconds of it, where it does not get steady.
    """

    seconds: float = 10.0
    samples: int = 30
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


MIN_ROUNDS = 6  # fewer give no 95 % interval: the range of five holds the median in 94 % of cases
STEADY = 0.01  # warm when the last third of the warm-up is within this of the third before
_CHECK_GROWTH = 1.2  # rounds between checks of the stop rule, so that they cost a share of the run
_WARMUP_GROWTH = 1.05  # the same of the warm-up
_CHECK_RESAMPLES = 300
_LOOK_S = 0.5  # between questions to the watcher

OnRound = Callable[[int, int], None]


def run(
    calls: Sequence[Runnable],
    limits: Limits,
    clock: Clock,
    watcher: Watcher,
    on_round: OnRound | None = None,
) -> list[Measurement]:
    """Measure calls in rounds.

    Args:
        calls: networks made ready, all on one device.
        limits: when to stop.
        clock: what times them.
        watcher: watches the machine meanwhile.
        on_round: told after each round: rounds done, rounds that the time cap leaves room for.

    Raises:
        MeasurementError: a call failed before it gave a sample.
    """
    subjects = [SampleCollector(call, clock) for call in calls]
    started = clock.date()
    with _threads_restored():
        for subject in subjects:
            subject.first()
        warmup_s, steady = _warm_up(subjects, limits, clock)
        watcher.start()
        try:
            stopped_by, loaded = _sample(subjects, limits, clock, watcher, on_round)
        finally:
            seen = watcher.stop()
    story = RunContext(
        started, limits.warmup_s > 0, warmup_s, steady, stopped_by, tuple(loaded), seen
    )
    return [assess_quality(subject, story) for subject in subjects]


def _warm_up(
    subjects: Sequence[SampleCollector], limits: Limits, clock: Clock
) -> tuple[float, bool]:
    """Call in rounds until times are steady; plan the turns. Seconds taken, and whether steady.

    Two windows are compared: the last third of the warm-up and the third before it. They grow
    with it, so a noisy machine gets longer ones, and the slow start falls out of both.
    """
    start = clock.wall_ns()
    rounds: list[list[float]] = []
    check_at, steady, over = 0, False, False
    while not (steady or over):
        rounds.append([subject.once() for subject in subjects])
        elapsed_s = (clock.wall_ns() - start) / 1e9
        over = elapsed_s >= limits.warmup_cap_s or limits.warmup_s == 0
        if over or (elapsed_s >= limits.warmup_s and len(rounds) >= check_at):
            steady = _is_steady([sum(times) for times in rounds])
            check_at = int(len(rounds) * _WARMUP_GROWTH) + 1
    _, last = thirds(np.array(rounds))  # (rounds, subjects)
    for subject, call_ms in zip(subjects, np.median(last, axis=0), strict=True):
        subject.plan(float(call_ms))
    return elapsed_s, steady


def _is_steady(times_ms: Sequence[float]) -> bool:
    n = len(times_ms) // 3
    if n < 2:
        return False
    before, last = np.median(times_ms[-2 * n : -n]), np.median(times_ms[-n:])
    return bool(abs(last / before - 1) <= STEADY)


def _sample(
    subjects: Sequence[SampleCollector],
    limits: Limits,
    clock: Clock,
    watcher: Watcher,
    on_round: OnRound | None,
) -> tuple[str, list[range]]:
    """Take rounds until the stop rule says so; why it stopped, and the rounds under load."""
    loaded: list[range] = []
    start = looked = clock.wall_ns()
    cap_s, least_s = limits.seconds * len(subjects), limits.min_s * len(subjects)
    done, looked_at, check_at = 0, 0, 0
    while True:
        for subject in subjects if done % 2 == 0 else reversed(subjects):
            if subject.error is None:
                subject.turn()
        done += 1
        now = clock.wall_ns()
        elapsed_s = (now - start) / 1e9
        if on_round:
            on_round(done, max(done, int(done * cap_s / max(elapsed_s, 1e-9))))
        over = elapsed_s >= cap_s or all(s.error for s in subjects)
        enough = False
        if done >= check_at and done % 2 == 0 and elapsed_s >= least_s and not over:
            enough = _enough(subjects, limits)
            check_at = int(done * _CHECK_GROWTH) + 1
        if over or enough or now - looked >= _LOOK_S * 1e9:
            loaded += [range(looked_at, done)] if watcher.loaded() else []
            looked, looked_at = now, done
        if over or enough:
            return ("ci" if enough else "time cap"), loaded


def _enough(subjects: Sequence[SampleCollector], limits: Limits) -> bool:
    """Whether every interval is narrow enough: of the medians, and of the ratios to the first."""
    alive = [s for s in subjects if s.error is None]
    if any(len(s.wall_ms) < limits.samples for s in alive):
        return False
    for s in alive:
        precision = limits.precision_on(s.call.device)
        if any(half_width(x) > precision for x in (s.wall_ms, s.device_ms) if x):
            return False
    return len(alive) < 2 or _ratios_are_narrow(alive, limits)


def _ratios_are_narrow(subjects: Sequence[SampleCollector], limits: Limits) -> bool:
    first, *others = (by_round(s.wall_ms, s.per_turn) for s in subjects)
    if len(first) < MIN_ROUNDS:
        return False
    precision = limits.ratio_precision_on(subjects[0].call.device)
    for other in others:
        low, high = ratio_interval(first, other, resamples=_CHECK_RESAMPLES)
        if (high - low) / 2 > precision:
            return False
    return True


def by_round(samples_ms: Sequence[float], per_round: int) -> Floats:
    """The median of each round, (rounds,); what is left over of a round is not counted."""
    rounds = len(samples_ms) // per_round
    whole = np.asarray(samples_ms[: rounds * per_round], dtype=np.float64)
    return np.asarray(np.median(whole.reshape(rounds, per_round), axis=1))


@contextmanager
def _threads_restored() -> Iterator[None]:
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


__all__ = ["Limits", "measure"]


def measure(
    call: Runnable,
    limits: Limits = Limits(),
    *,
    clock: Clock | None = None,
    watcher: Watcher | None = None,
) -> Measurement:
    """Measure the latency of one network.

    The first call stands apart; then it warms up until its times are steady, then samples are
    taken until half the 95 % interval of the median is within the precision asked for, or the
    time cap. On a GPU each sample is two figures from two passes: time between CUDA events with
    calls queued back to back, and host time from submit to synchronise, one call after the other.

    Args:
        call: the network made ready; the caller closes it.
        limits: when to stop.
        clock: the system's, or one that a test moves.
        watcher: watches the machine meanwhile; the one of the call's device where None.

    Returns:
        All samples and what is known about them. A call that fails midway ends it, and is named
        in `stopped_by`.

    Raises:
        MeasurementError: the call failed before it gave a sample.
    """
    watcher = watcher or watcher_of(call.device)
    return run([call], limits, clock or SystemClock(), watcher)[0]
