"""Expected hypervolume improvement where one objective is uncertain and the others are known.

A network of known costs c adds the volume above it: the integral, over all costs that it meets, of
how far its figure lies below the best one there. So its expectation is an integral of the expected
improvement (Jones et al. 1998) over the levels of the front: a sum over 128 and more costs for two
objectives, over points drawn once (Sobol) for three and four. The general case:
https://arxiv.org/abs/1905.02370.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import moocore
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import qmc

from smt_nas.search.problem.objectives import Floats

_POINTS = 512  # of the integral over the costs of three and more objectives
_MARGIN = 0.1  # the reference lies so far beyond the worst of the front, as a share of its range


@dataclass
class ImprovementJudge:
    """Expects improvements over a front that grows as networks are chosen.

    Args:
        uncertain: column of the objective that is uncertain.
        points: (k, M) evaluated so far, to be minimised.
        expected: (f, M) of the front that is expected, which says how far the volume reaches.
    """

    uncertain: int
    points: Floats
    expected: Floats
    _cells: Floats = field(init=False, repr=False)  # (s, M - 1) costs, scaled
    _sizes: Floats = field(init=False, repr=False)  # (s,) what a cell counts
    _levels: Floats = field(init=False, repr=False)  # (s,) best figure among what meets a cell

    def __post_init__(self) -> None:
        span = np.concatenate([self.points, self.expected])
        self._low, high = self.expected.min(axis=0), self.expected.max(axis=0)
        self._range = np.where(high > self._low, high - self._low, np.ptp(span, axis=0))
        self._range = np.where(self._range > 0, self._range, 1.0)
        best = self.points[moocore.is_nondominated(self.points)]  # the others lower no level
        scaled = self._scale(best)
        self._cells, self._sizes = self._divide(scaled)
        self._levels = np.full(len(self._cells), 1 + _MARGIN)
        for point in scaled:
            self._lower(point)

    def judge(self, points: Floats, std: Floats) -> Floats:
        """Expected improvement (n,) of points (n, M), `uncertain` at its mean with `std` (n,)."""
        scaled = self._scale(points)
        figures, costs = scaled[:, self.uncertain], np.delete(scaled, self.uncertain, axis=1)
        doubt = np.maximum(std / self._range[self.uncertain], 1e-9)
        meets = self._find_met(costs)
        gap = (self._levels[None] - figures[:, None]) / doubt[:, None]
        density = np.exp(-0.5 * gap**2) / np.sqrt(2 * np.pi)
        gain = doubt[:, None] * (gap * ndtr(gap) + density)
        return np.asarray((gain * meets) @ self._sizes)

    def add(self, point: Floats) -> None:
        """Take a point (M,) for evaluated, its figure for what is expected."""
        self._lower(self._scale(point[None])[0])

    def _scale(self, points: Floats) -> Floats:
        return np.asarray((points - self._low) / self._range)

    def _divide(self, scaled: Floats) -> tuple[Floats, Floats]:
        """Cells of the costs: their lower corners, and sizes."""
        dimensions = scaled.shape[1] - 1
        if dimensions == 0:
            return np.zeros((1, 0)), np.ones(1)
        if dimensions > 1:
            drawn = qmc.Sobol(dimensions, seed=0).random(_POINTS) * (1 + _MARGIN)
            return drawn, np.full(_POINTS, (1 + _MARGIN) ** dimensions / _POINTS)
        costs = np.delete(scaled, self.uncertain, axis=1)[:, 0]
        more = np.linspace(0, 1 + _MARGIN, 129)[:-1]
        edges = np.unique(np.concatenate([costs, more]).clip(0, 1 + _MARGIN))
        sizes = np.diff(np.concatenate([edges, [1 + _MARGIN]]))
        return edges[:, None], sizes

    def _find_met(self, costs: Floats) -> NDArray[np.bool_]:
        """Which cells (n, s) rows of costs (n, M - 1) meet."""
        return np.asarray((costs[:, None] <= self._cells[None] + 1e-12).all(axis=2))

    def _lower(self, point: Floats) -> None:
        met = self._find_met(np.delete(point, self.uncertain)[None])[0]
        self._levels[met] = np.minimum(self._levels[met], point[self.uncertain])
