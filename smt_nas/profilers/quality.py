"""The judge: from samples and what the watcher saw to a `Measurement` with its status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from smt_nas.profilers.measurement import Measurement, Status
from smt_nas.profilers.sample_collector import SampleCollector
from smt_nas.profilers.stats import DRIFT_SAMPLES, drifts
from smt_nas.profilers.watch import WatchReport

MAX_FLAGGED = 0.05  # share of samples under load from which the whole measurement is
STARVED = 1.1  # a sample that took this much longer than its CPU time explains was made to wait
_WORST_FIRST: tuple[Status, ...] = ("throttled", "loaded", "drifting", "unknown")


@dataclass(frozen=True)
class RunContext:
    """What all networks of a run share.

    Attributes:
        started: when, in UTC.
        warmed: whether a warm-up was asked for.
        warmup_s: seconds it took.
        steady: whether it ended steady.
        stopped_by: why the rounds ended.
        loaded: rounds while others used the machine.
        seen: by the watcher.
    """

    started: str
    warmed: bool
    warmup_s: float
    steady: bool
    stopped_by: str
    loaded: tuple[range, ...]
    seen: WatchReport


def assess_quality(subject: SampleCollector, story: RunContext) -> Measurement:
    """Put together what one network gave; it has at least one sample."""
    flagged = _flagged(subject, story.loaded)
    concerns = [*story.seen.concerns, *_concerns(subject, story, len(flagged))]
    words = {status for status, _ in concerns}
    watched = dict(story.seen.values)
    if subject.threads:
        watched["threads"] = subject.threads
    if subject.device_ms and watched.get("sm_mhz"):  # comparable where clocks were not alike
        watched["sm_kilocycles"] = float(np.median(subject.device_ms)) * watched["sm_mhz"]
    return Measurement(
        name=subject.call.name,
        device=subject.call.device,
        conditions=subject.call.conditions,
        wall_ms=tuple(subject.wall_ms),
        device_ms=tuple(subject.device_ms) if subject.device_ms else None,
        first_call_ms=subject.first_call_ms,
        compile_ms=subject.call.compile_ms,
        warmup_s=story.warmup_s,
        steady=story.steady,
        stopped_by=subject.error or story.stopped_by,
        flagged=flagged,
        status=next((status for status in _WORST_FIRST if status in words), "ok"),
        reasons=tuple(reason for _, reason in concerns),
        watched=watched,
        per_round=subject.per_turn,
        started=story.started,
    )


def _concerns(
    subject: SampleCollector, story: RunContext, flagged: int
) -> Iterator[tuple[Status, str]]:
    """What the samples themselves speak of."""
    if subject.error:
        yield "unknown", f"ended by {subject.error}"
    if not story.steady and story.warmed:
        yield "drifting", f"not steady after {story.warmup_s:.2g} s of warm-up"
    if not story.warmed and len(subject.wall_ms) < DRIFT_SAMPLES:
        yield "unknown", "no warm-up, and too few samples to see a drift"
    if any(drifts(samples) for samples in (subject.wall_ms, subject.device_ms) if samples):
        yield "drifting", "the last third of the samples is unlike the first"
    if flagged > MAX_FLAGGED * len(subject.wall_ms):
        share = flagged / len(subject.wall_ms)
        yield "loaded", f"{share:.0%} of the samples were taken while others ran"


def _flagged(subject: SampleCollector, loaded: Sequence[range]) -> tuple[int, ...]:
    """Indices of samples taken in rounds under load, or that waited for a CPU."""
    n, per_turn = len(subject.wall_ms), subject.per_turn
    found = {i for rounds in loaded for i in range(rounds.start * per_turn, rounds.stop * per_turn)}
    if subject.cpu_ms:
        found |= set(_starved(subject.wall_ms, subject.cpu_ms, subject.threads or 1))
    return tuple(sorted(i for i in found if i < n))


def _starved(wall_ms: Sequence[float], cpu_ms: Sequence[float], threads: int) -> list[int]:
    """Samples whose CPU time falls short of their wall time.

    One thread is busy all the time. Several are not, so their own best decile says how many were
    (a run that is under load throughout is seen by the watcher).
    """
    wall, cpu = np.asarray(wall_ms), np.asarray(cpu_ms)
    busy = 1.0 if threads == 1 else min(float(threads), float(np.quantile(cpu / wall, 0.9)))
    return [int(i) for i in np.flatnonzero(wall * busy > STARVED * cpu)]
