"""Which networks a step of a supernet trains: a big one, two in between, a small one.

Which network is "the largest" is not defined here, as kernels and the order of mixers have no order
among themselves. So the big one has the largest option of every ordered gene and draws the others;
the small one likewise. Within a range of MACs, where these are too large or too small, the big one
is among the largest of those drawn. The two in between are drawn evenly over bands of MACs and over
shares of attention, as uniform genes give mostly networks of the middle.

The sandwich rule is that of BigNAS (Yu et al. 2020, arXiv 2003.11142).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.costs.bounds import bounds
from smt_nas.costs.estimate import estimate
from smt_nas.errors import ConfigError
from smt_nas.models.supernet import SupernetSpec
from smt_nas.space import Genes, SearchSpace
from smt_nas.train.processes.randomness import NETWORKS

ORDERED = ("dim", "depth", "mlp_ratio", "expand_ratio")
"""Fields of a stage whose options are larger and smaller networks."""
BANDS = 6
"""Of MACs, of equal ratio."""
_SHARES = 3  # of attention: up to a third of the blocks, two thirds, all
_CANDIDATES = 64  # of which one is chosen
_NEAR = 0.85  # of the MACs of the largest: who is about as large
_ATTEMPTS = 12  # to draw networks within the range, each of twice as many
BIG, SMALL = 0, 3
"""Slots of the anchors; the others are in between."""
SLOTS = 4


@dataclass(frozen=True)
class Sandwich:
    """Draws the networks of each step.

    Attributes:
        space: whose networks.
        spec: of the store; its head is the data's.
        seed: of the training.
        drop_path: of the big network; None for the space's.
        macs: least and most of the networks; None for all of the space.
    """

    space: SearchSpace
    spec: SupernetSpec
    seed: int
    drop_path: float | None = None
    macs: tuple[float, float] | None = None

    def draw(self, step: int, attempt: int = 0) -> list[Architecture]:
        """The networks of a step, the big one first: a function of seed, step and attempt.

        Args:
            step: counted from 0.
            attempt: 0; after a roll-back the steps are made with other networks.

        Raises:
            ConfigError: the range of MACs holds too few networks to find one.
        """
        return [self._draw_slot(step, slot, attempt) for slot in range(SLOTS)]

    def _draw_slot(self, step: int, slot: int, attempt: int) -> Architecture:
        key = [self.seed, NETWORKS, step, slot, *([attempt] if attempt else [])]
        rng = np.random.default_rng(key)
        if slot not in (BIG, SMALL):
            genes = self._choose_evenly(rng)
        elif self.macs is None:
            genes = self._move_to_end(self.space.sample(rng, 1), slot == BIG)
        else:
            genes = self._choose_near_end(rng, slot == BIG)
        (arch,) = self.space.decode(genes)
        own = self.spec.adapt(arch)
        if slot != BIG:
            return own
        rate = arch.drop_path if self.drop_path is None else self.drop_path
        return own.model_copy(update={"drop_path": rate})

    def _move_to_end(self, genes: Genes, is_big: bool) -> Genes:
        """With the largest or the smallest option of every ordered gene, (n, G)."""
        moved = genes.copy()
        moved[:, self._ordered] = self._largest if is_big else self._smallest
        return self.space.canonical(moved)

    def _choose_near_end(self, rng: np.random.Generator, is_big: bool) -> Genes:
        """One of those of the range that are about as large, or as small, as any drawn."""

        def draw(n: int) -> Genes:
            genes = self.space.sample(rng, n)
            ends = self._move_to_end(genes, is_big)
            share = np.linspace(0, 1, n)[:, None]
            return self.space.canonical(np.where(rng.random(genes.shape) < share, ends, genes))

        genes = self._draw_in_range(draw)
        size = estimate(self.space, genes).macs.astype(np.float64)
        size = size if is_big else 1 / size
        near: Genes = genes[size >= _NEAR * size.max()]
        return near[[rng.integers(len(near))]]

    def _choose_evenly(self, rng: np.random.Generator) -> Genes:
        """One of those drawn; each band of MACs that occurs is as likely, then each share."""
        genes = self._draw_in_range(lambda n: self.space.sample(rng, n))
        for find in (self._find_bands, self._find_shares):
            strata = find(genes)
            genes = genes[strata == rng.choice(np.unique(strata))]
        return genes[[rng.integers(len(genes))]]

    def _draw_in_range(self, draw: Callable[[int], Genes]) -> Genes:
        """Those of the range among networks that are drawn; again where there is none."""
        if self.macs is None:
            return draw(_CANDIDATES)
        low, high = self.macs
        for attempt in range(_ATTEMPTS):
            genes = draw(_CANDIDATES << attempt)
            macs = estimate(self.space, genes).macs
            genes = genes[(macs >= low) & (macs <= high)]
            if len(genes):
                return genes
        drawn = _CANDIDATES * ((1 << _ATTEMPTS) - 1)
        raise ConfigError(
            f"space {self.space.name}: networks of {low / 1e6:g} to {high / 1e6:g} MMACs must not "
            f"be so rare (got none of {drawn:,} drawn). Widen the range."
        )

    def _find_bands(self, genes: Genes) -> NDArray[np.int64]:
        macs = estimate(self.space, genes).macs
        return np.asarray(np.searchsorted(self._edges, macs))

    def _find_shares(self, genes: Genes) -> NDArray[np.int64]:
        sam, msa = np.sum([self.space.blocks(genes, stage) for stage in range(4)], axis=0)
        return np.asarray(np.minimum(_SHARES * msa // (sam + msa), _SHARES - 1))

    @cached_property
    def _edges(self) -> NDArray[np.float64]:
        """Between the bands, ascending."""
        macs = bounds(self.space)["macs"]
        low, high = (macs.low, macs.high) if self.macs is None else self.macs
        return np.geomspace(max(low, macs.low), min(high, macs.high), BANDS + 1)[1:-1]

    @cached_property
    def _ordered(self) -> list[int]:
        """Columns of the ordered genes."""
        return [i for i, g in enumerate(self.space.genes) if g.name.split(".")[-1] in ORDERED]

    @cached_property
    def _largest(self) -> list[int]:
        return [int(np.argmax(self.space.genes[i].options)) for i in self._ordered]

    @cached_property
    def _smallest(self) -> list[int]:
        return [int(np.argmin(self.space.genes[i].options)) for i in self._ordered]
