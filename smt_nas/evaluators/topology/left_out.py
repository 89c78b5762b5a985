"""`LeftOutErrors`: how far off predictions of families left out are, what their intervals hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from smt_nas.evaluators.base import NORMAL_80
from smt_nas.evaluators.scaling_law import KNOWN_MEMBERS
from smt_nas.evaluators.topology.shapes import Floats


@dataclass(frozen=True)
class FamilyDifference:
    """Error of one model less another's, in points.

    Attributes:
        mean: over families.
        low, high: 95 % interval, by bootstrap over lines of design with their families
            (percentiles).
        families: how many.
    """

    mean: float
    low: float
    high: float
    families: int


@dataclass(frozen=True)
class TargetCount:
    """How many networks are predicted, of how many families, and how many of these are hybrids."""

    networks: int
    families: int
    hybrids: int
    hybrid_families: int


@dataclass(frozen=True)
class LeftOutErrors:
    """Predictions of networks of families left out; each field is (m,).

    Attributes:
        family: that was left out.
        line: of design, that was left out with it.
        hybrid: it mixes convolution and attention, as SMT does.
        known: how many others of the family were known: KNOWN_MEMBERS or none.
        points: truth minus prediction, in percentage points.
        deviations: the same in standard deviations of the prediction; NaN where it has none.
        weight: sums to 1 over the predictions of one network.
    """

    family: NDArray[np.str_]
    line: NDArray[np.str_]
    hybrid: NDArray[np.bool_]
    known: NDArray[np.int64]
    points: Floats
    deviations: Floats
    weight: Floats

    def mean_error(self, known: int, hybrids: bool) -> float | None:
        """Mean absolute error in points, with so many known; None where there is no network."""
        keep = self._select(known, hybrids)
        return self._average(np.abs(self.points), keep)

    def coverage(
        self, known: int, hybrids: bool, factor: float = 1.0, half_width: float = NORMAL_80
    ) -> float | None:
        """Share of the networks that an interval holds, if it is so many times as wide.

        None where there is no network, or no interval.

        Args:
            known: how many members were.
            hybrids: of these alone.
            factor: by which it is widened.
            half_width: in standard deviations; of an 80 % interval by default.
        """
        keep = self._select(known, hybrids) & np.isfinite(self.deviations)
        return self._average(np.abs(self.deviations) <= factor * half_width, keep)

    def calibrate(self, share: float) -> float:
        """The factor by which 80 % intervals hold this share of hybrids, with members known."""
        return self._calibrate(share, self._select(KNOWN_MEMBERS, True))

    def cross_coverage(self, share: float) -> float | None:
        """Share of hybrids held, with members known, by the factor of the other lines.

        None where fewer than two lines have such hybrids.
        """
        of_interest = self._select(KNOWN_MEMBERS, True)
        lines = np.unique(self.line[of_interest])
        if len(lines) < 2:
            return None
        inside = np.zeros(len(self.points), dtype=bool)
        for line in lines:
            own = self.line == line
            factor = self._calibrate(share, of_interest & ~own)
            inside[own] = np.abs(self.deviations[own]) <= factor * NORMAL_80
        return self._average(inside, of_interest)

    def _calibrate(self, share: float, keep: NDArray[np.bool_]) -> float:
        ratio, weight = np.abs(self.deviations[keep]) / NORMAL_80, self.weight[keep]
        order = np.argsort(ratio)
        return float(np.interp(share, np.cumsum(weight[order]) / weight.sum(), ratio[order]))

    def _average(self, values: Floats | NDArray[np.bool_], keep: NDArray[np.bool_]) -> float | None:
        if not keep.any():
            return None
        return float(np.average(values[keep], weights=self.weight[keep]))

    def count(self, known: int) -> TargetCount:
        """How many there are to predict with so many known."""
        counts = []
        for hybrids in (False, True):
            keep = self._select(known, hybrids)
            counts += [round(self.weight[keep].sum()), len(np.unique(self.family[keep]))]
        return TargetCount(*counts)

    def family_errors(self, known: int) -> dict[str, float]:
        """Mean absolute error in points of each family, with so many known."""
        keep = self._select(known, False)
        family, error, weight = self.family[keep], np.abs(self.points[keep]), self.weight[keep]
        return {
            str(f): float(np.average(error[family == f], weights=weight[family == f]))
            for f in np.unique(family)
        }

    def compare(
        self, other: Self, seed: int = 0, resamples: int = 10_000
    ) -> FamilyDifference | None:
        """Errors less those of another model, with members known; None without such families."""
        ours, theirs = (e.family_errors(KNOWN_MEMBERS) for e in (self, other))
        if not ours:
            return None
        differences = np.array([ours[f] - theirs[f] for f in ours])
        of = dict(zip(self.family.tolist(), self.line.tolist(), strict=True))
        line = np.unique([of[f] for f in ours], return_inverse=True)[1]
        sums, counts = np.bincount(line, weights=differences), np.bincount(line)
        rng = np.random.default_rng(seed)
        drawn = rng.integers(len(counts), size=(resamples, len(counts)))
        means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        return FamilyDifference(
            float(differences.mean()), float(low), float(high), len(differences)
        )

    def _select(self, known: int, hybrids: bool) -> NDArray[np.bool_]:
        return np.asarray((self.known == known) & (self.hybrid if hybrids else True))
