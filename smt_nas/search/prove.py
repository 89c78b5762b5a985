"""The proof: every network of a front is built, counted by others, run, and timed here.

The presets go through the same code in the same run. What was proved is kept in the study, so a
proof that was cut off goes on where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from smt_nas.search.front import Result
from smt_nas.search.listener import Listener
from smt_nas.search.study import Study
from smt_nas.search.workers import Workers

ROUNDS = 5
_GROUP = 12  # networks timed together: their weights are in memory at the same time
REFERENCE = "smt_t"


def prove(
    study: Study,
    members: Sequence[Result],
    baselines: Sequence[Result],
    listener: Listener,
    workers: Workers,
) -> None:
    """Prove every network that is not proved yet; read the outcome with `proof`.

    A network fails its proof where it cannot be built or run, its logits are not finite, or torch
    counts other MACs than the formula.
    """
    everyone = [*baselines, *members]  # the largest first, so that no worker ends late
    todo = [r for r in everyone if proof(study, r) is None]
    from smt_nas.profilers.witness import witnessed

    listener.step("count", 0, len(todo))
    found = workers.map(witnessed, [r.arch for r in todo], _lost)
    for done, (r, proof_) in enumerate(zip(todo, found, strict=True), 1):
        study.remember(f"proof:{r.arch.key}", proof_)
        listener.step("count", done, len(todo))
    reference = next(r for r in baselines if r.name == REFERENCE)
    untimed = [r for r in everyone if _untimed(study, r)]
    for done, group in _groups(untimed):
        listener.step("time", done, len(untimed))
        _time(study, group, reference)
    listener.step("time", len(untimed), len(untimed))


def proof(study: Study, r: Result) -> dict[str, Any] | None:
    """What was found: `witnesses` (MACs by counter), `reason`, `latency_ms`, `spread_ms`."""
    found: dict[str, Any] | None = study.recall(f"proof:{r.arch.key}")
    return None if found is None else found | (study.recall(f"latency:{r.arch.key}") or {})


def _lost(reason: str) -> dict[str, Any]:
    return {"witnesses": {}, "reason": reason}


def _untimed(study: Study, r: Result) -> bool:
    found = proof(study, r)
    return found is not None and found["reason"] is None and "latency_ms" not in found


def _groups(results: Sequence[Result]) -> Iterator[tuple[int, Sequence[Result]]]:
    for i in range(0, len(results), _GROUP):
        yield i, results[i : i + _GROUP]


def _time(study: Study, group: Sequence[Result], reference: Result) -> None:
    """Time a group interleaved with the reference; keep each median as a share of it too."""
    from smt_nas.profilers.timing import forward, interleaved

    archs = {r.arch.key: r.arch for r in (*group, reference)}
    timings = interleaved({key: forward(arch) for key, arch in archs.items()}, ROUNDS)
    base = timings[reference.arch.key].median_ms
    for r in group:
        t = timings[r.arch.key]
        assert math.isfinite(t.median_ms)
        found = {
            "latency_ms": t.median_ms,
            "spread_ms": t.iqr_ms,
            "samples": t.n,
            "versus": t.median_ms / base,
        }
        study.remember(f"latency:{r.arch.key}", found)
