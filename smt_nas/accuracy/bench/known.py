"""`Known`: the networks of a bench, each once, with what they were trained to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.accuracy import features
from smt_nas.accuracy.bench.table import Bench, Row
from smt_nas.arch import Architecture

Floats = NDArray[np.float64]

FOLDS = 10
_LARGEST = 0.75  # quantile of MACs above which a network is one of the largest


@dataclass(frozen=True)
class Known:
    """The networks of a bench, each once.

    Attributes:
        archs: n networks.
        top1: validation top-1 in points, mean over seeds, less what the seed does to all, (n,).
        noise: standard deviation of one training about its network's expected top-1, in points;
            0 where no network has two seeds.
        groups: networks with the same number are alike but for a detail, (n,).
    """

    archs: tuple[Architecture, ...]
    top1: Floats
    noise: float
    groups: NDArray[np.int64]

    @classmethod
    def of(cls, bench: Bench) -> Known:
        """The networks of a bench."""
        each = list(bench.networks.values())
        effect = seed_effects(each)
        top1 = [
            100 * np.mean([row.figures["val_top1"] - effect[row.seed] for row in rows])
            for rows in each
        ]
        names = [_group(rows[0].group, rows[0].arch.key) for rows in each]
        groups = np.unique(names, return_inverse=True)[1]
        return cls(
            tuple(rows[0].arch for rows in each), np.array(top1), seed_noise(each, effect), groups
        )

    @cached_property
    def features(self) -> Floats:
        """(n, F)."""
        return features.of_archs(self.archs)

    @cached_property
    def macs(self) -> Floats:
        """(n,)."""
        return np.array([float(costs.of(arch).macs) for arch in self.archs])

    @cached_property
    def params(self) -> Floats:
        """(n,)."""
        return np.array([float(costs.of(arch).params) for arch in self.archs])

    @property
    def large(self) -> NDArray[np.bool_]:
        """The largest quarter, (n,)."""
        return np.asarray(self.macs > np.quantile(self.macs, _LARGEST))


def folds(groups: NDArray[np.int64], seed: int) -> list[NDArray[np.bool_]]:
    """Ten parts that leave no group divided, as masks (n,)."""
    rng = np.random.default_rng([seed, 1])
    of_group = rng.permutation(groups.max() + 1) % FOLDS
    return [of_group[groups] == fold for fold in range(FOLDS)]


def seed_effects(networks: Sequence[Sequence[Row]]) -> dict[int, float]:
    """What a seed does to the validation top-1 of all networks alike, against the first seed.

    All trainings of a seed see the images in the same order, which is better or worse for all. It
    must not tell a network trained with three seeds from one trained with the first alone.
    """
    differences: dict[int, list[float]] = {}
    for rows in networks:
        first = rows[0].figures["val_top1"]
        for row in rows[1:]:
            differences.setdefault(row.seed, []).append(row.figures["val_top1"] - first)
    seeds = {row.seed for rows in networks for row in rows}
    found = {seed: float(np.mean(differences.get(seed, [0.0]))) for seed in seeds}
    found[min(seeds)] = 0.0
    return found


def seed_noise(networks: Sequence[Sequence[Row]], effect: Mapping[int, float]) -> float:
    """Standard deviation among the seeds of a network, in points, beside what they do to all."""
    squares, free = 0.0, 0
    for rows in networks:
        points = [100 * (row.figures["val_top1"] - effect[row.seed]) for row in rows]
        squares += float(np.var(points)) * len(points)
        free += len(points) - 1
    return float(np.sqrt(squares / free)) if free else 0.0


def _group(group: str, key: str) -> str:
    """The base of an ablation; any other network is alone."""
    axis, _, rest = group.partition(":")
    return f"base {rest.partition(':')[0]}" if axis in ("heads", "mixers") else key
