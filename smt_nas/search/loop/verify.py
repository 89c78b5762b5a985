"""Verification: each network of a front is built, counted by others, run, and timed if it can be.

Networks are timed in turns with a reference, and count as shares of its time: so those that were
timed while others used the machine can be compared with the rest (`StudyNotes.read_verification`).
The presets go through the same code in the same run. What was found is kept in the study's notes,
so a verification that was cut off goes on where it stopped. Only targets that are here are timed:
what is predicted for another device stays a prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from smt_nas.errors import MeasurementError
from smt_nas.runtime.engines.engine import Engine
from smt_nas.runtime.interrupts import InterruptWatch
from smt_nas.search.loop.listener import SearchListener
from smt_nas.search.problem.objectives import LatencyTarget
from smt_nas.search.results.outcome import collect_baselines, select_candidates
from smt_nas.search.results.results import Result
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.study_notes import StudyNotes, Timing, TimingFailure
from smt_nas.search.storage.trial import Trial

if TYPE_CHECKING:
    from smt_nas.profilers.count_check import CountCheck
    from smt_nas.profilers.latency.measurement import Measurement

GROUP = 6  # networks timed together, beside the reference: the more, the later its turn comes
REFERENCE = "smt_t"
SAMPLES = 9  # of each network, the fewest that show a drift
CLOSE_SAMPLES = 6  # of one that is steady: the fewest with an interval, and see `are_close`
PRECISION = 0.5  # any: more samples would tell members apart better, but the search has to end
SECONDS = 3.0  # cap of each network: a quiet machine takes a tenth, a busy one must get its samples


def verify_front(
    study: Study,
    trials: Sequence[Trial],
    listener: SearchListener,
    workers: Engine,
    interrupts: InterruptWatch,
) -> None:
    """Verify the front of trials; a network that fails makes room for those it dominated."""
    problem = study.problem
    verified: list[str] | None = None
    while True:
        interrupts.check()
        notes = study.read_notes()
        members = select_candidates(problem, trials, notes)
        keys = [r.arch.key for r in members]
        if keys == verified:
            return
        verified = keys
        verify_networks(study, members, collect_baselines(problem, notes), listener, workers)


def verify_networks(
    study: Study,
    members: Sequence[Result],
    baselines: Sequence[Result],
    listener: SearchListener,
    workers: Engine,
) -> None:
    """Verify every network that is not verified yet; `StudyNotes.read_verification` tells.

    A network fails where it cannot be built or run, its logits are not finite, or torch counts
    other MACs than the formula.
    """
    networks = [*baselines, *members]  # the largest first, so that no worker ends late
    notes, targets = study.read_notes(), study.problem.local_targets
    _count_networks(notes, networks, listener, workers)
    reference = next(r for r in baselines if r.name == REFERENCE)
    todo = [(target, r) for target in targets for r in networks if _needs_timing(notes, target, r)]
    listener.step("time", 0, len(todo))
    done = 0
    for target in targets:
        for group in _deal_groups([r for t, r in todo if t == target]):
            _time_group(notes, group, reference, target)
            done += len(group)
            listener.step("time", done, len(todo))


def _needs_timing(notes: StudyNotes, target: LatencyTarget, r: Result) -> bool:
    verification = notes.read_verification(r.arch.key, [target])
    assert verification is not None
    return verification.failure is None and not verification.is_complete([target])


def _count_networks(
    notes: StudyNotes, networks: Sequence[Result], listener: SearchListener, workers: Engine
) -> None:
    from smt_nas.profilers.count_check import check_counts

    todo = [r for r in networks if notes.read_verification(r.arch.key) is None]
    listener.step("count", 0, len(todo))
    checks = workers.map(check_counts, [r.arch for r in todo], _make_failed_count)
    for done, (r, check) in enumerate(zip(todo, checks, strict=True), 1):
        notes.write_op_counts(r.arch.key, check.macs, check.reason)
        listener.step("count", done, len(todo))


def _make_failed_count(reason: str) -> CountCheck:
    from smt_nas.profilers.count_check import CountCheck

    return CountCheck({}, reason)


def _deal_groups(results: Sequence[Result]) -> Iterator[Sequence[Result]]:
    """Deal networks out, so that no group holds all the large ones."""
    count = -(-len(results) // GROUP)
    return (results[i::count] for i in range(count))


def _time_group(
    notes: StudyNotes, group: Sequence[Result], reference: Result, target: LatencyTarget
) -> None:
    """Time a group in turns with the reference; where that fails, find out who cannot be timed."""
    try:
        timings = measure_group(group, reference, target)
    except MeasurementError as error:
        if len(group) == 1:
            failure = TimingFailure(reason=str(error))
            notes.write_timing(group[0].arch.key, target, failure)
            return
        for r in group:
            _time_group(notes, [r], reference, target)
        return
    for r, timing in zip(group, timings, strict=True):
        notes.write_timing(r.arch.key, target, timing)


def measure_group(
    group: Sequence[Result], reference: Result, target: LatencyTarget
) -> list[Timing]:
    """Measure a group in turns with the reference; each as a share of its time too.

    Raises:
        MeasurementError: a network cannot be run on the target.
    """
    from smt_nas.profilers.board import check_board
    from smt_nas.profilers.latency.prepare import prepare
    from smt_nas.profilers.latency.sampling import Limits, interleave
    from smt_nas.profilers.network_loader import network_of
    from smt_nas.runtime.torch_device import open_device

    others = [r for r in group if r.arch.key != reference.arch.key]
    middle = len(others) // 2  # so that no network's turn is far from the reference's
    turns = (*others[:middle], reference, *others[middle:])
    archs = {r.arch.key: r.arch for r in turns}
    assert target.place.here is not None
    if target.place.sheet is not None:
        check_board(target.place.sheet, open_device(target.place.here))
    calls = []
    try:
        for key, arch in archs.items():
            calls.append(prepare(network_of(arch, key), target.conditions, target.place.here))
        limits = Limits(SECONDS, SAMPLES, CLOSE_SAMPLES, 0, PRECISION, warmup_s=0)
        at = list(archs).index(reference.arch.key)
        measurements = dict(zip(archs, interleave(calls, limits, reference=at), strict=True))
    finally:
        for call in calls:
            call.close()
    base = measurements[reference.arch.key]
    return [_make_timing(measurements[r.arch.key], base) for r in group]


def _make_timing(measurement: Measurement, reference: Measurement) -> Timing:
    """A network's time, and as a share of the reference's beside it."""
    from smt_nas.profilers.latency.relative import compare_with_reference

    relative = compare_with_reference(measurement, reference)
    return Timing(
        latency_ms=relative.ms,
        spread_ms=relative.spread * relative.reference_ms,
        samples=measurement.wall.n,
        status=measurement.status,
        versus=relative.ratio,
        reference_ms=relative.reference_ms,
    )
