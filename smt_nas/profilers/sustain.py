"""Calls back to back for some seconds: what throughput and energy are measured over."""

from __future__ import annotations

from dataclasses import dataclass

from smt_nas.profilers.call import Call
from smt_nas.profilers.clock import Clock

_LAP_NS = 100e6  # a GPU's queue runs ahead by this much at most; waiting for it costs microseconds
_GROWTH = 8  # of a lap's calls to the next one's, at most


@dataclass(frozen=True)
class Sustained:
    """What was done: calls, all of them ended, and the seconds they took."""

    calls: int
    seconds: float


def sustain(call: Call, seconds: float, clock: Clock) -> Sustained:
    """Call back to back until the time is over.

    Args:
        call: the network made ready, which has run before.
        seconds: fewest; at least one call is made.
        clock: what times it.
    """
    stream = clock.stream(call.device)
    start = now = clock.wall_ns()
    calls, lap = 0, 1
    while calls == 0 or now - start < seconds * 1e9:
        for _ in range(lap):
            call()
        calls += lap
        if stream:
            stream.wait()
        before, now = now, clock.wall_ns()
        if stream:
            lap = max(1, int(min(_GROWTH * lap, lap * _LAP_NS / max(now - before, 1))))
    return Sustained(calls, (now - start) / 1e9)
