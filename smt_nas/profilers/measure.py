"""`measure`: the latency of one network on this machine."""

from __future__ import annotations

from smt_nas.profilers.call import Call
from smt_nas.profilers.clock import Clock, SystemClock
from smt_nas.profilers.limits import Limits
from smt_nas.profilers.measurement import Measurement
from smt_nas.profilers.rounds import run
from smt_nas.profilers.watch import Watcher, watcher_of

__all__ = ["Limits", "measure"]


def measure(
    call: Call,
    limits: Limits = Limits(),  # noqa: B008 - frozen
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
