"""How the hypervolume of a search grew, trial by trial.

Objectives are scaled by the best and the worst of all feasible trials, so the figures of one curve
compare with each other, and with no other curve. The reference point lies a tenth beyond the worst:
the ends of the front count too (where to put it: Ishibuchi et al. 2018, doi:10.1162/evco_a_00226).
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

from smt_nas.search.problem.objectives import Floats
from smt_nas.search.problem.problem import Problem
from smt_nas.search.storage.trial import Trial

_REFERENCE = 1.1  # in each objective; its best is 0 and its worst 1
_EACH = 2_000  # points up to which each has a figure of its own
_TIMES = 100  # that it is computed for more


def measure_points(problem: Problem, trials: Sequence[Trial]) -> Floats:
    """Objectives of trials, each to be minimised, (n, M); infinite where one failed.

    So is what violates a constraint, as the front takes neither.
    """
    if not trials:
        return np.empty((0, len(problem.objectives)))
    genes = np.array([t.genes for t in trials])
    judge = problem.without_region
    values = judge.evaluate_formulas(genes)
    nan = float("nan")
    for q in problem.predicted_metrics:
        values[q.name] = np.array([t.predictions.get(q.name, (nan,))[0] for t in trials])
    metric = problem.evaluated_metric
    if metric is not None:
        figures = [t.evaluation.compared for t in trials]
        values[metric.name] = np.array([nan if f is None else f for f in figures])
    points = problem.objective_matrix(values)
    good = _find_good(points) & (judge.total_violation(values) == 0)
    good &= [t.evaluation.failure is None for t in trials]
    good[good] = problem.lie_in_region(genes[good])
    return np.where(good[:, None], points, np.inf)


def trace_hypervolume(points: Floats) -> Floats:
    """Hypervolume of the first 1, 2, ... n of points (n, M), as a share of the whole box; (n,).

    It never falls. 0 before the first point that is finite. Of more than 2,000 points it is
    computed 100 times, and between two of these it is that of the former.
    """
    good = _find_good(points)
    curve = np.zeros(len(points))
    if not good.any():
        return curve
    scaled, size = _scale(points, points[good]), points.shape[1]
    trace = _trace_each if len(points) <= _EACH else _trace_some
    return np.asarray(trace(scaled, good) / _REFERENCE**size)


def _trace_each(scaled: Floats, good: NDArray[np.bool_]) -> Floats:
    curve, size = np.zeros(len(scaled)), scaled.shape[1]
    front, volume = np.empty((0, size)), 0.0
    for i, point in enumerate(scaled):
        if good[i] and not (front <= point).all(axis=1).any():
            front = np.vstack([front[~(point <= front).all(axis=1)], point])
            volume = _measure_volume(front)
        curve[i] = volume
    return curve


def _trace_some(scaled: Floats, good: NDArray[np.bool_]) -> Floats:
    curve, front, before = np.zeros(len(scaled)), np.empty((0, scaled.shape[1])), 0
    for end in np.linspace(0, len(scaled), _TIMES + 1).round().astype(int)[1:]:
        new = scaled[before:end][good[before:end]]
        front = np.vstack([front, new])
        front = front[moocore.is_nondominated(front)]
        curve[end - 1 :] = _measure_volume(front) if len(front) else 0.0
        before = end
    return curve


def _measure_volume(front: Floats) -> float:
    return float(moocore.hypervolume(front, ref=np.full(front.shape[1], _REFERENCE)))


def measure_growth(points: Floats, before: int) -> float:
    """By which share the hypervolume grew since the first `before` of points (n, M).

    Infinite where there was none.
    """
    good = _find_good(points)
    if not good[:before].any():
        return float("inf")
    scaled = _scale(points, points[good])
    old, new = (
        _measure_volume(p[g]) for p, g in ((scaled[:before], good[:before]), (scaled, good))
    )
    return new / old - 1


def compare_hypervolumes(sets: Sequence[Floats]) -> list[float]:
    """Hypervolume of each of some sets of points (n, M), as a share of the box around all.

    The box is from the best to the worst that is finite in any of them, a tenth beyond the worst
    included; 0 of a set without a finite point.
    """
    everything = np.concatenate(sets)
    among = everything[_find_good(everything)]
    volumes = []
    for points in sets:
        good = points[_find_good(points)]
        volume = _measure_volume(_scale(good, among)) if len(good) else 0.0
        volumes.append(volume / _REFERENCE ** points.shape[1])
    return volumes


def _find_good(points: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(points).all(axis=1))


def _scale(points: Floats, among: Floats) -> Floats:
    """Points (n, M) where the best of some is 0 and their worst 1, in each objective."""
    best, worst = among.min(axis=0), among.max(axis=0)
    return np.asarray((points - best) / np.where(worst > best, worst - best, 1.0))
