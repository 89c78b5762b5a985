"""`TrainingSet`: the networks of a bench, each once, with what they were trained to."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators.predictors import features
from smt_nas.nasbench.table import Bench

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FOLDS = 10
_LARGEST = 0.75  # quantile of MACs above which a network is one of the largest


@dataclass(frozen=True)
class TrainingSet:
    """The networks of a bench, each once.

    Attributes:
        name: of the bench, for messages.
        archs: n networks.
        top1: validation top-1 in points, mean over seeds, less what the seed does to all, (n,).
        groups: networks with the same number are alike but for a detail, (n,).
        features: (n, F).
        macs, params: each (n,).
        seeds: trainings of each, (n,).
        noise: standard deviation of one training about its network's expected top-1, in points;
            0 where too few networks have two seeds to tell.
    """

    name: str
    archs: tuple[Architecture, ...]
    top1: Floats
    groups: NDArray[np.int64]
    features: Floats
    macs: Floats
    params: Floats
    seeds: NDArray[np.int64]
    noise: float

    @classmethod
    def of(cls, bench: Bench) -> TrainingSet:
        """The networks of a bench."""
        first = [rows[0] for rows in bench.networks.values()]
        archs = tuple(row.arch for row in first)
        network_costs = [costs.of(arch) for arch in archs]
        names = [_group_name(row.group, row.arch.key) for row in first]
        return cls(
            name=f"bench {bench.name}",
            archs=archs,
            top1=np.array([100 * bench.top1(key) for key in bench.networks]),
            groups=np.unique(names, return_inverse=True)[1],
            features=features.of_archs(archs),
            macs=np.array([float(c.macs) for c in network_costs]),
            params=np.array([float(c.params) for c in network_costs]),
            seeds=np.array([len(rows) for rows in bench.networks.values()]),
            noise=estimate_seed_noise(bench),
        )

    def without(self, out: Bools) -> TrainingSet:
        """The same less the networks of a mask (n,)."""
        name = f"{self.name} less {int(out.sum())} networks held out"
        return replace(self.take(np.flatnonzero(~out)), name=name)

    def take(self, at: NDArray[np.int64]) -> TrainingSet:
        """Networks by their numbers (m,), which may come more than once."""
        return replace(
            self,
            archs=tuple(self.archs[i] for i in at),
            top1=self.top1[at],
            groups=self.groups[at],
            features=self.features[at],
            macs=self.macs[at],
            params=self.params[at],
            seeds=self.seeds[at],
        )

    @property
    def label_std(self) -> Floats:
        """Standard deviation of each top-1 about the expected one, by chance, in points, (n,).

        0 where the noise is not known.
        """
        return self.noise / np.sqrt(self.seeds)

    @property
    def large(self) -> Bools:
        """The largest quarter, (n,)."""
        return np.asarray(self.macs > np.quantile(self.macs, _LARGEST))


def split_folds(groups: NDArray[np.int64], seed: int) -> list[Bools]:
    """Ten parts, or one a group where they are fewer, that leave no group divided: masks (n,).

    Raises:
        ConfigError: all networks are of one group.
    """
    of = np.unique(groups, return_inverse=True)[1]
    n = int(of.max()) + 1
    if n < 2:
        raise ConfigError(
            f"bench: must have networks of two groups or more to hold one out (got {n}). Build a "
            "larger one with `smt-nas bench build --n`."
        )
    fold = np.random.default_rng([seed, 1]).permutation(n) % FOLDS
    return [fold[of] == f for f in range(min(n, FOLDS))]


def estimate_seed_noise(bench: Bench) -> float:
    """Standard deviation among the seeds of a network, in points, beside what they do to all.

    0 where the networks with two seeds are too few to tell it from what seeds do to all.
    """
    squares, free, effects = 0.0, 0, set[int]()
    for rows in bench.networks.values():
        points = [100 * (r.figures["val_top1"] - bench.seed_effects[r.seed]) for r in rows]
        squares += float(np.var(points)) * len(points)
        free += len(points) - 1
        effects |= {r.seed for r in rows} if len(rows) > 1 else set()
    free -= max(0, len(effects) - 1)  # which were estimated from the same networks
    return float(np.sqrt(squares / free)) if free > 0 else 0.0


def _group_name(group: str, key: str) -> str:
    """The base of an ablation; any other network is alone."""
    axis, _, rest = group.partition(":")
    return f"base {rest.partition(':')[0]}" if axis in ("heads", "mixers") else key
