"""Networks as columns of numbers: what the cost formulas read, from genes or architectures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.space import Genes, SearchSpace

Ints = NDArray[np.int64]  # (n,)
ImageSize = int | tuple[int, int]


@dataclass(frozen=True)
class StageColumns:
    """One stage of n networks; each field is (n,).

    Attributes:
        dim: channels C.
        hidden: FFN channels H.
        expand: expand ratio e.
        n_kernels: SAM heads h.
        kernel_area: sum of k^2 over the SAM heads.
        heads: attention heads.
        sam: number of SAM blocks.
        msa: number of MSA blocks.
        size: height and width in tokens, the same for all n.
    """

    dim: Ints
    hidden: Ints
    expand: Ints
    n_kernels: Ints
    kernel_area: Ints
    heads: Ints
    sam: Ints
    msa: Ints
    size: tuple[int, int]

    @property
    def tokens(self) -> int:
        """N = height x width."""
        return self.size[0] * self.size[1]


@dataclass(frozen=True)
class Networks:
    """n networks of one input size.

    Attributes:
        stem_kernel: (n,).
        stem_size: height and width after the first stem convolution.
        stages: four `StageColumns`.
    """

    image_size: tuple[int, int]
    in_channels: int
    num_classes: int
    layer_scale: bool
    stem_kernel: Ints
    stem_size: tuple[int, int]
    stages: tuple[StageColumns, ...]

    @property
    def image_elements(self) -> int:
        """Elements of one image."""
        return self.image_size[0] * self.image_size[1] * self.in_channels

    def held(self, stage: int) -> Ints:
        """Elements alive all through a stage, (n,): the image, the map of the stage before."""
        if stage == 0:
            return np.full_like(self.stages[0].dim, self.image_elements)
        before = self.stages[stage - 1]
        return before.tokens * before.dim + self.image_elements


def token_sizes(image_size: tuple[int, int], stem_stride: int) -> list[tuple[int, int]]:
    """Spatial sizes after the first stem convolution and in the four stages.

    An odd-kernel convolution of stride s padded by k//2 gives ceil(x / s); the stem's 2x2
    convolution of stride 2 is not padded and gives floor(x / 2).
    """
    first = stem_stride // 2
    rows = []
    for pixels in image_size:
        sizes = [-(-pixels // first)]
        sizes.append(sizes[0] // 2)
        for _ in range(3):
            sizes.append(-(-sizes[-1] // 2))
        rows.append(sizes)
    return list(zip(rows[0], rows[1], strict=True))


def as_pair(image_size: ImageSize) -> tuple[int, int]:
    """Height and width in pixels."""
    return (image_size, image_size) if isinstance(image_size, int) else image_size


def from_genes(space: SearchSpace, genes: Genes, image_size: ImageSize | None = None) -> Networks:
    """Read (n, G) canonical genes."""
    config = space.config
    size = as_pair(image_size or config.image_size)
    stem_size, *stage_sizes = token_sizes(size, config.stem.stride)

    def take(column: int, value: Callable[[Any], float] = int) -> NDArray[Any]:
        table = np.array([value(option) for option in space.genes[column].options])
        return np.asarray(table[genes[:, column]])

    stages = []
    for i, tokens in enumerate(stage_sizes):
        column = {f: space.column(i, f) for f in type(config.stages[i]).model_fields}
        dim = take(column["dim"])
        sam, msa = space.blocks(genes, i)
        stages.append(
            StageColumns(
                dim=dim,
                hidden=(dim * take(column["mlp_ratio"], float)).astype(np.int64),
                expand=take(column["expand_ratio"]),
                n_kernels=take(column["kernels"], len),
                kernel_area=take(column["kernels"], lambda ks: sum(k * k for k in ks)),
                heads=take(column["heads"]),
                sam=sam,
                msa=msa,
                size=tokens,
            )
        )
    return Networks(
        image_size=size,
        in_channels=config.in_channels,
        num_classes=config.num_classes,
        layer_scale=config.layer_scale is not None,
        stem_kernel=take(0),
        stem_size=stem_size,
        stages=tuple(stages),
    )


def from_arch(arch: Architecture, image_size: ImageSize | None = None) -> Networks:
    """Read one architecture (n = 1)."""
    size = as_pair(image_size or arch.image_size)
    stem_size, *stage_sizes = token_sizes(size, arch.stem.stride)
    stages = []
    for stage, tokens in zip(arch.stages, stage_sizes, strict=True):
        stages.append(
            StageColumns(
                dim=_one(stage.dim),
                hidden=_one(stage.hidden),
                expand=_one(stage.expand_ratio),
                n_kernels=_one(len(stage.kernels)),
                kernel_area=_one(sum(k * k for k in stage.kernels)),
                heads=_one(stage.heads),
                sam=_one(stage.mixers.count("sam")),
                msa=_one(stage.mixers.count("msa")),
                size=tokens,
            )
        )
    return Networks(
        image_size=size,
        in_channels=arch.in_channels,
        num_classes=arch.num_classes,
        layer_scale=arch.layer_scale is not None,
        stem_kernel=_one(arch.stem.kernel),
        stem_size=stem_size,
        stages=tuple(stages),
    )


def _one(value: int) -> Ints:
    """A column of one network."""
    return np.array([value], dtype=np.int64)
