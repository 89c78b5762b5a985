"""Successive halving for a trade-off: which networks go on, where accuracy and MACs both count.

Every network is trained to the first rung, about one in `eta` of them to the next, and so on
(Jamieson and Talwalkar 2016). Here a rung is sorted into fronts of networks that none dominates,
and a front that does not fit is thinned out where it is crowded (Deb et al. 2002, sec. III).

Optuna's pruners are of no use for that: they refuse a study of several objectives, and they decide
on a trial as it comes, by those that happen to be there, so the number of workers would matter.
"""

from __future__ import annotations

from collections.abc import Sequence

import moocore
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def rungs(epochs: int, eta: int) -> tuple[int, ...]:
    """Epochs after which networks are compared, ascending; `epochs` is the last.

    9 epochs at eta 3 make 1, 3, 9; what cannot be divided is rounded down: 10 make 1, 3, 10.
    """
    ends = []
    while epochs:
        ends.append(epochs)
        epochs //= eta
    return tuple(reversed(ends))


def count_kept(n: int, eta: int) -> int:
    """How many of n go on: one in eta, rounded up, so that one always does."""
    return -(-n // eta)


def count_epochs(n: int, ends: Sequence[int], eta: int, start: int = 0) -> int:
    """Epochs that n networks are trained for in rungs, from an epoch on, where none fails."""
    total = 0
    for end in ends:
        total += n * (end - start)
        start, n = end, count_kept(n, eta)
    return total


def rank(top1: Sequence[float], macs: Sequence[float]) -> list[int]:
    """Indices of networks, the first to go on first.

    Front by front. Within a front the most accurate comes first, then the one of fewest MACs, then
    those that leave the widest gaps; of equal ones the earlier.

    Args:
        top1: accuracy of each, more is better; (n,).
        macs: of each, less is better; (n,).
    """
    if not len(top1):
        return []
    points = np.column_stack([-np.asarray(top1, float), np.asarray(macs, float)])  # (n, 2)
    fronts = moocore.pareto_rank(points)
    order = []
    for front in range(int(fronts.max()) + 1):
        members = np.flatnonzero(fronts == front)
        best_first = members[np.lexsort(points[members].T[::-1])]
        order += [int(best_first[i]) for i in _spread(points[best_first])]
    return order


def dominators(i: int, top1: Sequence[float], macs: Sequence[float]) -> list[int]:
    """Indices of the networks at least as good as the i-th in both, and better in one."""
    return [
        j
        for j in range(len(top1))
        if top1[j] >= top1[i] and macs[j] <= macs[i] and (top1[j], macs[j]) != (top1[i], macs[i])
    ]


def _spread(points: Floats) -> list[int]:
    """Indices of a front's points (n, 2): the ends, then the order in which they fill it evenly.

    The most crowded is taken out and the distances are made anew, down to the first (Kukkonen and
    Deb 2006); that order is turned round.
    """
    from pymoo.operators.survival.rank_and_crowding.metrics import calc_crowding_distance

    left, out = list(range(len(points))), []
    while left:
        distances = calc_crowding_distance(points[left])
        out.append(left.pop(len(left) - 1 - int(np.argmin(distances[::-1]))))
    return out[::-1]
