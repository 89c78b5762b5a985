"""Knee points of a front: where a little more of one thing costs much of the other.

The front is looked at as a curve of the first objective over the MACs (or the second objective).
The point that lies farthest on the good side of the line between both ends is the knee (Das 1999,
doi:10.1007/BF01195985); the next ones are the knees of the parts between (as Ramer, and Douglas and
Peucker, thin out a line), the most prominent first. So a few of them tell the curve's shape.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import moocore
import numpy as np

from smt_nas.metrics import METRICS
from smt_nas.search.problem.objectives import Floats, TargetMetric
from smt_nas.search.problem.problem import Problem
from smt_nas.search.results.results import Result


def choose_knees(problem: Problem, front: Sequence[Result], n: int) -> list[Result]:
    """At most n members of a front, its most prominent knee first.

    What measurement showed to break a budget is taken only where nothing else is there.
    """
    members = [r for r in front if not r.violations] or list(front)
    if not members:
        return []
    first, *others = problem.objectives
    if first.name == "macs" and not others:
        return members[:n]
    macs = TargetMetric(METRICS["macs"], "macs")
    second = others[0] if first.name == "macs" else macs
    points = np.array([[_minimise(r, first), _minimise(r, second)] for r in members])
    return [members[i] for i in order_knees(points)[:n]]


def order_knees(points: Floats) -> list[int]:
    """Indices of points (n, 2), both to be minimised: knees first, then ends, then the dominated.

    Of two ends the one that is best in the first of both comes first.
    """
    keep = np.flatnonzero(moocore.is_nondominated(points, keep_weakly=False))
    curve = keep[np.argsort(points[keep, 0], kind="stable")]
    span = np.ptp(points[curve], axis=0)
    scaled = (points[curve] - points[curve].min(axis=0)) / np.where(span > 0, span, 1.0)
    chosen = [0, len(curve) - 1]
    order = list[int]()
    while len(order) < len(curve) - 2:
        at = sorted(chosen)
        gaps = [(a, b) for a, b in itertools.pairwise(at) if b - a > 1]
        best = max((_find_farthest(scaled, a, b) for a, b in gaps), key=lambda pair: pair[0])
        order.append(best[1])
        chosen.append(best[1])
    ends = dict.fromkeys(i for i in (0, len(curve) - 1) if i not in order)
    first = [int(curve[i]) for i in (*order, *ends)]
    return [*first, *(i for i in range(len(points)) if i not in set(first))]


def _find_farthest(scaled: Floats, a: int, b: int) -> tuple[float, int]:
    """How far the farthest point between two lies on the good side of their line, and which."""
    (x0, y0), (x1, y1) = scaled[a], scaled[b]
    x, y = scaled[a + 1 : b].T
    distance = ((x1 - x0) * (y0 - y) - (x0 - x) * (y1 - y0)) / np.hypot(x1 - x0, y1 - y0)
    at = int(distance.argmax())
    return float(distance[at]), a + 1 + at


def _minimise(r: Result, q: TargetMetric) -> float:
    """The figure that a member is compared by, less being better."""
    figure = r.evaluation.compared if q.is_evaluated and r.evaluation is not None else None
    value = r.values[q.name] if figure is None else figure
    return -value if q.direction == "max" else value
