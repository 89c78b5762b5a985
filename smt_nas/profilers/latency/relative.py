"""A network's time as a share of a reference's, measured in turns with it.

On a busy machine times of one minute are not those of the next, but what slows one network slows
the one beside it: the ratio of two that took turns stays. Times are compared round by round. Of a
call of one thread that others interrupted, its CPU time counts, as in a calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smt_nas.profilers.latency.measurement import Measurement
from smt_nas.profilers.latency.sampling import round_medians
from smt_nas.profilers.latency.stats import Floats, replace_interrupted


@dataclass(frozen=True)
class RelativeTime:
    """What two networks that took turns say of each other.

    Attributes:
        ms: the network's median.
        reference_ms: the reference's.
        ratio: median over the rounds of one over the other.
        spread: interquartile range of that ratio.
    """

    ms: float
    reference_ms: float
    ratio: float
    spread: float


def compare_with_reference(network: Measurement, reference: Measurement) -> RelativeTime:
    """Compare two measurements of one `interleave`."""
    own, other = _time_rounds(network), _time_rounds(reference)
    n = min(len(own), len(other))  # one that failed midway has fewer
    ratios = own[:n] / other[:n]
    q1, ratio, q3 = (float(q) for q in np.percentile(ratios, (25, 50, 75)))
    return RelativeTime(float(np.median(own)), float(np.median(other)), ratio, q3 - q1)


def _time_rounds(m: Measurement) -> Floats:
    """The median of each round, (rounds,)."""
    times = np.asarray(m.wall_ms)
    if m.cpu_ms is not None and m.conditions.threads == 1:
        times, _ = replace_interrupted(times, np.asarray(m.cpu_ms))
    return round_medians(times.tolist(), m.per_round)
