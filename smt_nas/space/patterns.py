"""Block orders of a stage, tabulated, so that genes can be judged without decoding them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import ONLY_IN, Mixer, arrange_mixers
from smt_nas.space.space_config import StageOptions

Genes = NDArray[np.int64]  # (n, G), or one column (n,)
Order = tuple[Mixer, ...]
ORDER = ("depth", "attention_ratio", "stacking")
"""Fields of a stage that choose its blocks and their order."""


@dataclass(frozen=True)
class Patterns:
    """Tables over the (depth, attention_ratio, stacking) genes of a stage.

    `share` and `stacking` hold the first genes that give the same order; `sam` and `msa` count
    its blocks; `first[depth]` maps an order to those genes.
    """

    share: Genes
    stacking: Genes
    sam: Genes
    msa: Genes
    first: tuple[dict[Order, tuple[int, int]], ...]

    @classmethod
    def of(cls, options: StageOptions) -> Patterns:
        """Tabulate the options of a stage."""
        shape = (len(options.depth), len(options.attention_ratio), len(options.stacking))
        share, stacking, sam, msa = np.zeros((4, *shape), dtype=np.int64)
        first: list[dict[Order, tuple[int, int]]] = [{} for _ in options.depth]
        for d, a, s in np.ndindex(shape):
            order = arrange_mixers(
                options.depth[d], options.attention_ratio[a], options.stacking[s]
            )
            share[d, a, s], stacking[d, a, s] = first[d].setdefault(order, (a, s))
            sam[d, a, s], msa[d, a, s] = order.count("sam"), order.count("msa")
        return cls(share, stacking, sam, msa, tuple(first))

    def with_mixer(self, mixer: Mixer) -> dict[str, int]:
        """The first genes whose order has blocks of that kind, by field; empty where none has."""
        for depth, orders in enumerate(self.first):
            for order, (share, stacking) in orders.items():
                if mixer in order:
                    return {"depth": depth, "attention_ratio": share, "stacking": stacking}
        return {}

    def count(self, options: StageOptions) -> int:
        """Distinct stages: every block order, times the genes that have an effect on it."""
        free = {f: len(getattr(options, f)) for f in StageOptions.model_fields if f not in ORDER}
        return sum(
            prod(n for field, n in free.items() if ONLY_IN.get(field, order[0]) in order)
            for orders in self.first
            for order in orders
        )
