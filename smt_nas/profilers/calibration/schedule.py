"""What a calibration measures next: it follows from what it has measured, so a killed one goes on.

Two kinds of visits take turns under each set of conditions. A *chain* holds one part of the space
in each place that a network has, so that a part is timed where it runs: after its neighbours, with
their data in the caches and its weights out of them. The parts that were seen least come first, so
a schedule that is cut short has seen a spread subset of them. A *network* is one of those that the
additivity is fitted or checked on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex
from smt_nas.space import Genes, SearchSpace

NETWORKS = 20  # that the additivity is fitted on, and as many others that check it
_DRAWN = 4000  # networks that those are chosen from
_RARE = 4  # one visit of so many is a network's while some parts were never seen
_CANDIDATES = 512  # chains that the next one is chosen from


@dataclass(frozen=True)
class Plan:
    """What a calibration is to measure.

    Attributes:
        index: the space's P parts.
        conditions: in turn.
        networks: (2k, G): even rows fit the additivity, odd rows check it.
        reference: (1, G): a cheap network that is timed beside everything else.
        visits: how often each part and each network is to be measured.
        seed: of the schedule.
    """

    index: PartIndex
    conditions: tuple[Conditions, ...]
    networks: Genes
    reference: Genes
    visits: int
    seed: int

    @classmethod
    def of(
        cls, space: SearchSpace, conditions: tuple[Conditions, ...], visits: int, seed: int
    ) -> Plan:
        """Choose the networks: evenly over the logarithm of the MACs of what a space has."""
        drawn = np.unique(space.sample(np.random.default_rng([seed, 0]), _DRAWN), axis=0)
        macs = costs.estimate(space, drawn).macs
        order = np.argsort(macs, kind="stable")
        chosen = _choose_evenly(np.log(macs[order]), 2 * NETWORKS)
        index = PartIndex.of(space)
        return cls(index, conditions, drawn[order[chosen]], drawn[order[:1]], visits, seed)


def _choose_evenly(values: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """An even number of distinct positions whose sorted values lie evenly between the ends."""
    targets = np.linspace(values[0], values[-1], n)
    chosen: list[int] = []
    for target in targets:
        free = np.setdiff1d(np.arange(len(values)), chosen)
        if len(free):
            chosen.append(int(free[np.abs(values[free] - target).argmin()]))
    chosen.sort()
    return np.array(chosen[: len(chosen) // 2 * 2], dtype=np.int64)


@dataclass(frozen=True)
class Visit:
    """What to measure: a chain by its places' parts (T,), or a network by its row."""

    conditions: int
    chain: tuple[int, ...] = ()
    network: int | None = None


@dataclass
class Schedule:
    """How often everything was measured, and what comes next.

    Attributes:
        plan: what is to be measured.
        parts: (C, P) visits of each part under each set of conditions.
        networks: (C, 2k) visits of each network.
        visits: (C,) visits of either kind.
    """

    plan: Plan
    parts: NDArray[np.int64] = field(init=False)
    networks: NDArray[np.int64] = field(init=False)
    visits: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        n = len(self.plan.conditions)
        self.parts = np.zeros((n, len(self.plan.index.parts)), dtype=np.int64)
        self.networks = np.zeros((n, len(self.plan.networks)), dtype=np.int64)
        self.visits = np.zeros(n, dtype=np.int64)

    @property
    def share(self) -> float:
        """How much of the plan is done, 0 to 1."""
        shares = [
            self._share_done(counts[c]) for counts in (self.parts, self.networks) for c in self._all
        ]
        return float(np.mean(shares))

    def next(self) -> Visit | None:
        """The next visit; None: all is done."""
        open_ = [c for c in self._all if min(self._progress(c)) < 1]
        if not open_:
            return None
        c = min(open_, key=lambda c: int(self.visits[c]))
        rng = np.random.default_rng([self.plan.seed, 1 + c, int(self.visits[c])])
        if self._network_is_due(c):
            least = np.flatnonzero(self.networks[c] == self.networks[c].min())
            return Visit(c, network=int(rng.choice(least)))
        return Visit(c, chain=self._choose_chain(c, rng))

    def count(self, visit: Visit) -> None:
        """Note that a visit was made."""
        self.visits[visit.conditions] += 1
        if visit.network is None:
            self.parts[visit.conditions, list(set(visit.chain))] += 1
        else:
            self.networks[visit.conditions, visit.network] += 1

    @property
    def _all(self) -> range:
        return range(len(self.plan.conditions))

    def _network_is_due(self, c: int) -> bool:
        """Chains go before until all parts were seen; then both come to their end together."""
        parts, networks = self._progress(c)
        if (self.parts[c] == 0).any():
            return networks < parts and self.visits[c] % _RARE == 0
        return networks < parts

    def _progress(self, c: int) -> tuple[float, float]:
        """Shares of the parts' and of the networks' visits that are done."""
        networks = self._share_done(self.networks[c]) if self.networks.size else 1.0
        return self._share_done(self.parts[c]), networks

    def _share_done(self, counts: NDArray[np.int64]) -> float:
        return float(np.minimum(counts, self.plan.visits).mean() / self.plan.visits)

    def _choose_chain(self, c: int, rng: np.random.Generator) -> tuple[int, ...]:
        """Of random chains, the one whose parts were seen least."""
        space = self.plan.index.space
        genes = rng.integers(0, space.cardinality, (_CANDIDATES, len(space.genes)))
        places = self.plan.index.index(genes)  # (candidates, T)
        gains = np.exp2(-self.parts[c].astype(np.float64))[places].sum(axis=1)
        return tuple(places[int(gains.argmax())].tolist())
