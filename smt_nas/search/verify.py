"""The proof: every network of a front is built, counted by others, run, and timed where it can be.

The presets go through the same code in the same run. What was proved is kept in the study, so a
proof that was cut off goes on where it stopped. Only targets that are here are timed: what is
predicted for another device stays a prediction.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from smt_nas.errors import MeasurementError
from smt_nas.runtime.engine import Engine
from smt_nas.runtime.progress import SearchListener
from smt_nas.search.objectives import BEFORE_DEVICES, LatencyTarget
from smt_nas.search.results import Result
from smt_nas.search.study import Study

if TYPE_CHECKING:
    from smt_nas.profilers.counters import CountCheck

GROUP = 12  # networks timed together, beside the reference: their weights are in memory together
REFERENCE = "smt_t"
SAMPLES = 9  # of each network, the fewest that show a drift
PRECISION = 0.5  # any: more samples would tell members apart better, but the search has to end
SECONDS = 1.5  # cap of each network
Notes = Mapping[str, Any]
"""What is kept beside the trials, by name: `Study.notes`."""


def verify_networks(
    study: Study,
    members: Sequence[Result],
    baselines: Sequence[Result],
    listener: SearchListener,
    workers: Engine,
) -> None:
    """Prove every network that is not proved yet; read the outcome with `proof`.

    A network fails its proof where it cannot be built or run, its logits are not finite, or torch
    counts other MACs than the formula.
    """
    everyone = [*baselines, *members]  # the largest first, so that no worker ends late
    _count(study, everyone, listener, workers)
    reference = next(r for r in baselines if r.name == REFERENCE)
    notes = study.notes()
    todo = [
        (target, r)
        for target in study.problem.local_targets
        for r in everyone
        if notes[_counted(r)]["reason"] is None and _timing(notes, target, r) is None
    ]
    listener.step("time", 0, len(todo))
    done = 0
    for target in study.problem.local_targets:
        for group in _groups([r for t, r in todo if t == target]):
            _time(study, group, reference, target)
            done += len(group)
            listener.step("time", done, len(todo))


def proof(notes: Notes, r: Result, targets: Sequence[LatencyTarget]) -> dict[str, Any] | None:
    """What was found: `witnesses` (MACs by counter), `reason`, and `timings` by target.

    A timing has `latency_ms`, `spread_ms`, `samples` and `status`; or `failed`, the reason.
    """
    found: dict[str, Any] | None = notes.get(_counted(r))
    if found is None:
        return None
    timings = {str(t): _timing(notes, t, r) for t in targets}
    return found | {"timings": {t: x for t, x in timings.items() if x is not None}}


def _counted(r: Result) -> str:
    return f"proof:{r.arch.key}"


def _timing(notes: Notes, target: LatencyTarget, r: Result) -> dict[str, Any] | None:
    found: dict[str, Any] | None = notes.get(_timed(target, r))
    return found


def _timed(target: LatencyTarget, r: Result) -> str:
    where = "" if target == BEFORE_DEVICES else f"@{target}"
    return f"latency:{r.arch.key}{where}"


def _count(
    study: Study, everyone: Sequence[Result], listener: SearchListener, workers: Engine
) -> None:
    from smt_nas.profilers.counters import check_counts

    notes = study.notes()
    todo = [r for r in everyone if _counted(r) not in notes]
    listener.step("count", 0, len(todo))
    checks = workers.map(check_counts, [r.arch for r in todo], _lost)
    for done, (r, check) in enumerate(zip(todo, checks, strict=True), 1):
        study.remember(_counted(r), {"witnesses": check.macs, "reason": check.reason})
        listener.step("count", done, len(todo))


def _lost(reason: str) -> CountCheck:
    from smt_nas.profilers.counters import CountCheck

    return CountCheck({}, reason)


def _groups(results: Sequence[Result]) -> Iterator[Sequence[Result]]:
    """Deal networks out, so that no group holds all the large ones."""
    count = -(-len(results) // GROUP)
    return (results[i::count] for i in range(count))


def _time(study: Study, group: Sequence[Result], reference: Result, target: LatencyTarget) -> None:
    """Time a group in turns with the reference; where that fails, find out who cannot be timed."""
    try:
        found = measure_group(group, reference, target)
    except MeasurementError as error:
        if len(group) == 1:
            study.remember(_timed(target, group[0]), {"failed": str(error)})
            return
        for r in group:
            _time(study, [r], reference, target)
        return
    for r, timing in zip(group, found, strict=True):
        study.remember(_timed(target, r), timing)


def measure_group(
    group: Sequence[Result], reference: Result, target: LatencyTarget
) -> list[dict[str, Any]]:
    """Measure a group in turns with the reference; each median as a share of its too.

    Raises:
        MeasurementError: a network cannot be run on the target.
    """
    from smt_nas.profilers.compare import interleave
    from smt_nas.profilers.network_loader import network_of
    from smt_nas.profilers.prepare import prepare
    from smt_nas.profilers.sampling import Limits

    archs = {r.arch.key: r.arch for r in (*group, reference)}
    assert target.place.here is not None
    calls = []
    try:
        for key, arch in archs.items():
            calls.append(prepare(network_of(arch, key), target.conditions, target.place.here))
        limits = Limits(SECONDS, SAMPLES, min_s=0, precision=PRECISION, warmup_s=0)
        found = dict(zip(archs, interleave(calls, limits), strict=True))
    finally:
        for call in calls:
            call.close()
    base = found[reference.arch.key].wall.median_ms
    return [
        {
            "latency_ms": m.wall.median_ms,
            "spread_ms": m.wall.iqr_ms,
            "samples": m.wall.n,
            "status": m.status,
            "versus": m.wall.median_ms / base,
        }
        for m in (found[r.arch.key] for r in group)
    ]
