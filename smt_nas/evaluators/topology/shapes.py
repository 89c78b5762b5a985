"""`Shapes`: depth, width, expansion and MACs of the four stages, of published networks and of SMTs.

Only what means the same for every network with four stages (strides 4, 8, 16, 32), and no absolute
width: so that a ResNet, a Swin and an SMT can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shapes:
    """The four stages of n networks; each field is (n, 4).

    Attributes:
        depth: blocks.
        width: channels.
        expansion: hidden channels of the blocks over their width.
        macs: of the blocks, in any unit.
    """

    depth: Floats
    width: Floats
    expansion: Floats
    macs: Floats

    @classmethod
    def of_genes(cls, space: SearchSpace, genes: Genes) -> Shapes:
        """Of (n, G) genes. Raises SpaceError where they do not belong to the space."""
        genes = space.canonical(genes)

        def read(field: str) -> Floats:
            stages = (space.values(genes, i, field, float) for i in range(4))
            return np.column_stack(list(stages)).astype(np.float64)

        width, depth = read("dim"), [space.blocks(genes, stage) for stage in range(4)]
        return cls(
            depth=np.column_stack([sam + msa for sam, msa in depth]).astype(np.float64),
            width=width,
            expansion=np.floor(width * read("mlp_ratio")) / width,
            macs=costs.stage_macs(space, genes).astype(np.float64),
        )

    @classmethod
    def of_archs(cls, archs: Sequence[Architecture]) -> Shapes:
        """Of n architectures."""
        rows = [[(s.depth, s.dim, int(s.dim * s.mlp_ratio)) for s in a.stages] for a in archs]
        depth, width, hidden = np.moveaxis(np.array(rows, dtype=np.float64), -1, 0)
        macs = np.array(
            [costs.add_up_stages(costs.by_part(arch)) for arch in archs], dtype=np.float64
        )
        return cls(depth, width, hidden / width, macs)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Shapes:
        """Some of the networks."""
        return Shapes(self.depth[keep], self.width[keep], self.expansion[keep], self.macs[keep])

    @property
    def depth_share(self) -> Floats:
        """Share of the blocks in each stage, (n, 4)."""
        return np.asarray(self.depth / self.depth.sum(axis=1, keepdims=True))

    @property
    def macs_share(self) -> Floats:
        """Share of the blocks' MACs in each stage, (n, 4)."""
        return np.asarray(self.macs / self.macs.sum(axis=1, keepdims=True))


_WITHOUT_THIRD = [0, 1, 3]  # shares sum to 1

FEATURES: dict[str, Callable[[Shapes], Floats]] = {
    "depth": lambda s: np.log2(s.depth.sum(axis=1, keepdims=True)),
    "blocks": lambda s: s.depth_share[:, _WITHOUT_THIRD],
    "macs": lambda s: s.macs_share[:, _WITHOUT_THIRD],
    "widths": lambda s: np.log2(s.width[:, 1:] / s.width[:, :-1]),
    "expansion": lambda s: (np.log2(s.expansion) * s.depth_share).sum(axis=1, keepdims=True),
}
"""Features of n networks, (n, k), by name: log2 of the number of blocks; shares of blocks and of
MACs in stages 1, 2 and 4; log2 growth of the width; mean log2 expansion of the blocks."""


def measure_features(names: Sequence[str], shapes: Shapes) -> Floats:
    """Columns of features, (n, K); no columns for no names."""
    columns = [FEATURES[name](shapes) for name in names]
    return np.hstack([np.empty((len(shapes.depth), 0)), *columns])


def square_distances(a: Floats, b: Floats) -> Floats:
    """Squared distance of each row of a (n, k) to each of b (m, k), (n, m)."""
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0))


def square_distances_by_row(a: Floats, b: Floats) -> Floats:
    """The same, of each row to the last bit what it is alone; (n, m)."""
    products = ((2 * a)[:, None, :] @ b.T)[:, 0, :]
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - products
    return np.asarray(np.maximum(squares, 0.0))
