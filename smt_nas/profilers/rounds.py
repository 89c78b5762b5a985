"""Rounds: networks take turns, forwards and backwards (A, B, B, A), until enough is known.

One network alone is measured by the same code. What is slow for a moment is slow for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from smt_nas.profilers.call import Call
from smt_nas.profilers.clock import Clock
from smt_nas.profilers.judge import Story, finding
from smt_nas.profilers.limits import Limits
from smt_nas.profilers.measurement import Measurement
from smt_nas.profilers.stats import Floats, half_width, ratio_interval, thirds
from smt_nas.profilers.subject import Subject
from smt_nas.profilers.watch import Watcher

MIN_ROUNDS = 6  # fewer give no 95 % interval: the range of five holds the median in 94 % of cases
STEADY = 0.01  # warm when the last third of the warm-up is within this of the third before
_CHECK_GROWTH = 1.2  # rounds between checks of the stop rule, so that they cost a share of the run
_WARMUP_GROWTH = 1.05  # the same of the warm-up
_CHECK_RESAMPLES = 300
_LOOK_S = 0.5  # between questions to the watcher

OnRound = Callable[[int, int], None]


def run(
    calls: Sequence[Call],
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
    subjects = [Subject(call, clock) for call in calls]
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
    story = Story(started, limits.warmup_s > 0, warmup_s, steady, stopped_by, tuple(loaded), seen)
    return [finding(subject, story) for subject in subjects]


def _warm_up(subjects: Sequence[Subject], limits: Limits, clock: Clock) -> tuple[float, bool]:
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
    subjects: Sequence[Subject],
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


def _enough(subjects: Sequence[Subject], limits: Limits) -> bool:
    """Whether every interval is narrow enough: of the medians, and of the ratios to the first."""
    alive = [s for s in subjects if s.error is None]
    if any(len(s.wall_ms) < limits.samples for s in alive):
        return False
    for s in alive:
        precision = limits.precision_on(s.call.device)
        if any(half_width(x) > precision for x in (s.wall_ms, s.device_ms) if x):
            return False
    return len(alive) < 2 or _ratios_are_narrow(alive, limits)


def _ratios_are_narrow(subjects: Sequence[Subject], limits: Limits) -> bool:
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
