"""The law beside which a family of networks lies, and what is left over in a family left out.

Published families differ in level, by recipe and topology, and a little in steepness; what they
share is how top-1 rises with MACs, parameters and activations. A `ScalingLaw` is that shared rise:
the odds of a right answer are a product of resources, each of which saturates:

    logit(top-1) = level + steepness * sum of a_i * log(x_i / (x_i + knee_i))

with a_i > 0 fitted within families. It rises in each cost, levels off, and stays below 100 %.
`benchmarks/capacity.py` sets it beside others, and beside itself with knees that are fitted.

Data: `reference/imagenet_top1.csv`; its README says where from, and which networks are hybrids.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from numpy.typing import NDArray

from smt_nas.files import shipped

Floats = NDArray[np.float64]
Score = Callable[[Floats], Floats]  # costs (..., 3) -> (...,), on a law's scale

KNOWN_MEMBERS = 4  # networks of a family whose top-1 is known; of SMT, four are published
KNEES = np.array([3.0, 10.0, 10.0])  # round; doubled they add 0.08 points of error, halved 0.02
_CSV = shipped("reference") / "imagenet_top1.csv"
_COSTS = ("gmacs", "params_m", "mactivations")


@dataclass(frozen=True)
class PublishedNetworks:
    """Published networks, trained on ImageNet-1K alone.

    Attributes:
        family: of one paper and recipe, (n,) str.
        hybrid: blocks that mix convolution with attention or modulation, as SMT's do, (n,) bool.
        costs: GMACs, M parameters, M activations, (n, 3).
        top1: in percent, (n,).
    """

    family: NDArray[np.str_]
    hybrid: NDArray[np.bool_]
    costs: Floats
    top1: Floats

    @classmethod
    def load(cls) -> Self:
        """Read the shipped table."""
        with _CSV.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return cls(
            np.array([row["family"] for row in rows]),
            np.array([row["hybrid"] == "1" for row in rows]),
            np.array([[float(row[name]) for name in _COSTS] for row in rows]),
            np.array([float(row["top1"]) for row in rows]),
        )

    def select(self, keep: NDArray[np.bool_]) -> Self:
        """The rows where `keep` (n,) holds."""
        return type(self)(*(getattr(self, f.name)[keep] for f in fields(self)))


@dataclass(frozen=True)
class ScalingLaw:
    """How top-1 rises with cost, whatever the family: a score, beside which a family is a line.

    Attributes:
        prior: evidence that a family is as steep as the law, in squares of the law's scale; it
            counts against the spread of the family's known scores.
    """

    prior: float = 0.05

    def fit(self, rows: PublishedNetworks) -> Score:
        """Fit the score to the families of some rows."""
        slopes = fit_within_families(shortfall(rows.costs), self.scale(rows.top1), rows.family)
        assert (slopes > 0).all(), "a law that falls with cost misleads a search"
        return lambda costs: np.asarray((shortfall(costs) * slopes).sum(axis=-1))

    def scale(self, top1: Floats) -> Floats:
        """Top-1 in percent on the scale of the score: log odds."""
        return np.asarray(np.log(top1 / (100 - top1)))

    def percent(self, scaled: Floats) -> Floats:
        """Inverse of `scale`, which does not overflow."""
        return np.asarray(50 + 50 * np.tanh(scaled / 2))

    def line(self, score: Floats, top1: Floats) -> FamilyLine:
        """A family's line through known networks: their score and top-1, each (..., m).

        The steepness is a ridge estimate drawn to 1, and never negative: what rises by the law
        rises in every family.
        """
        y = self.scale(top1)
        centre, level = score.mean(axis=-1), y.mean(axis=-1)
        x, y = score - centre[..., None], y - level[..., None]
        steepness = (self.prior + (x * y).sum(axis=-1)) / (self.prior + (x * x).sum(axis=-1))
        return FamilyLine(centre, level, np.maximum(steepness, 0.0))


LAW = ScalingLaw()
"""What `capacity` predicts by."""


@dataclass(frozen=True)
class FamilyLine:
    """A family beside a law, on the law's scale; each field is (...,)."""

    centre: Floats
    level: Floats
    steepness: Floats

    def at(self, score: Floats) -> Floats:
        """Where the family lies at a score."""
        return np.asarray(self.level + self.steepness * (score - self.centre))


def shortfall(costs: Floats) -> Floats:
    """How far three costs (..., 3) are from plenty: log(x / (x + knee)), 0 at infinity."""
    return np.asarray(-np.log1p(KNEES / costs))


def center_by_family(values: Floats, family: NDArray[np.str_]) -> Floats:
    """Values (n, k) less their family's mean: what levels of families leave."""
    _, index = np.unique(family, return_inverse=True)
    member = np.eye(index.max() + 1)[index]  # (n, families)
    return np.asarray(values - member @ (member.T @ values / member.sum(axis=0)[:, None]))


def fit_within_families(x: Floats, y: Floats, family: NDArray[np.str_]) -> Floats:
    """Least squares of y (n,) on x (n, k), each family with a level of its own; (k,)."""
    x, y = center_by_family(x, family), center_by_family(y[:, None], family)[:, 0]
    return np.asarray(np.linalg.lstsq(x, y, rcond=None)[0])


@dataclass(frozen=True)
class UsualCosts:
    """What a family's networks have of parameters and activations at their MACs.

    Attributes:
        slope: of each of the two logarithms on that of MACs, within families, (2,).
        level: of the family, (2,).
        above: what is usual above that, in log units, (2,): 90 % of how far members of published
            families lie above their family's line, and all of this family's own.
    """

    slope: Floats
    level: Floats
    above: Floats

    @classmethod
    def of(cls, rows: PublishedNetworks, known: Floats) -> Self:
        """Learn it from families of rows; `known` (m, 3) are costs of the family's networks."""
        logs, own = np.log(rows.costs), np.log(known)
        columns = [fit_within_families(logs[:, :1], logs[:, i], rows.family)[0] for i in (1, 2)]
        slope = np.array(columns)
        rest = logs[:, 1:] - logs[:, :1] * slope
        _, index = np.unique(rows.family, return_inverse=True)
        means = np.array([rest[index == i].mean(axis=0) for i in range(index.max() + 1)])
        several = np.bincount(index)[index] > 1  # one alone lies on its line
        above = np.quantile((rest - means[index])[several], 0.9, axis=0)
        left = own[:, 1:] - own[:, :1] * slope
        level = left.mean(axis=0)
        return cls(slope, level, np.maximum(above, (left - level).max(axis=0)))

    def excess(self, costs: Floats) -> Floats:
        """Log units by which parameters and activations of costs (..., 3) exceed it, (..., 2)."""
        logs = np.log(costs)
        expected = self.level + logs[..., :1] * self.slope
        return np.asarray(np.maximum(logs[..., 1:] - expected - self.above, 0.0))

    def cap(self, costs: Floats) -> Floats:
        """Costs (..., 3) without what exceeds it."""
        rest = costs[..., 1:] * np.exp(-self.excess(costs))
        return np.concatenate([costs[..., :1], rest], axis=-1)


def extrapolation(costs: Floats, known: Floats) -> Floats:
    """How far costs (..., 3) lie outside the range of known ones (..., m, 3): log units, (...,).

    Of the cost that lies furthest out; 0 inside, 1 at e times the largest or 1/e of the smallest.
    """
    logs, seen = np.log(costs), np.log(known)
    beyond = np.maximum(logs - seen.max(axis=-2), seen.min(axis=-2) - logs)
    return np.asarray(np.maximum(beyond, 0.0).max(axis=-1))


@dataclass(frozen=True)
class LeftOutErrors:
    """Truth minus prediction for members of families which the law was not fitted to; each (m,).

    Attributes:
        family: that was left out.
        points: in percentage points.
        scaled: on the law's scale.
        extrapolation: how far the member lies outside the range of the known ones, in log units.
        weight: sums to 1 over the predictions of one network.
    """

    family: NDArray[np.str_]
    points: Floats
    scaled: Floats
    extrapolation: Floats
    weight: Floats

    def select(self, keep: NDArray[np.bool_]) -> Self:
        """The predictions where `keep` (m,) holds."""
        return type(self)(*(getattr(self, f.name)[keep] for f in fields(self)))

    @property
    def mean(self) -> float:
        """Mean absolute error in percentage points."""
        return float(np.average(np.abs(self.points), weights=self.weight))

    def half_width(self, share: float) -> float:
        """Half of an interval inside the known range, on the law's scale.

        It grows by the factor `1 + extrapolation`, and holds a `share` of the members.
        """
        ratio = np.abs(self.scaled) / (1 + self.extrapolation)
        order = np.argsort(ratio)
        cumulated = np.cumsum(self.weight[order]) / self.weight.sum()
        return float(np.interp(share, cumulated, ratio[order]))

    def coverage(self, half_width: float) -> float:
        """The share of members that an interval of this half width holds."""
        inside = np.abs(self.scaled) <= half_width * (1 + self.extrapolation)
        return float(np.average(inside, weights=self.weight))


def leave_out_families(
    rows: PublishedNetworks, law: ScalingLaw = LAW
) -> Iterator[tuple[NDArray[np.bool_], Score]]:
    """Each family, as the rows it has, (n,), and the score fitted to the hybrids of the others."""
    for family in np.unique(rows.family):
        own = rows.family == family
        yield own, law.fit(rows.select(rows.hybrid & ~own))


def leave_family_out(rows: PublishedNetworks, law: ScalingLaw = LAW) -> LeftOutErrors:
    """Predict each member of a left-out family from any `KNOWN_MEMBERS` of the others.

    Families of up to `KNOWN_MEMBERS` members have nothing left to predict.
    """
    errors = []
    for mask, score in leave_out_families(rows, law):
        own = rows.select(mask)
        n, scores = len(own.top1), score(own.costs)
        for i in range(n if n > KNOWN_MEMBERS else 0):
            others = [j for j in range(n) if j != i]
            known = np.array(list(itertools.combinations(others, KNOWN_MEMBERS)))  # (q, KNOWN)
            predicted = law.line(scores[known], own.top1[known]).at(scores[i])
            errors.append(
                LeftOutErrors(
                    np.full(len(known), own.family[i]),
                    own.top1[i] - law.percent(predicted),
                    law.scale(own.top1[i]) - predicted,
                    extrapolation(own.costs[i], own.costs[known]),
                    np.full(len(known), 1 / len(known)),
                )
            )
    columns = ([getattr(e, f.name) for e in errors] for f in fields(LeftOutErrors))
    return LeftOutErrors(*map(np.concatenate, columns))
