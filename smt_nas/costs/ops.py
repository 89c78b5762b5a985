"""`Op`: one operator of a network as a device sees it. What the roofline reads.

Made by `smt_nas.models.trace`; plain numbers, no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "linear",  # a matrix product with weights
    "matmul",  # a (batched) product of two activations
    "attention",  # fused scaled dot-product attention
    "conv",  # a dense convolution
    "depthwise",  # one input channel a group
    "grouped",  # any other grouped convolution
    "norm",  # LayerNorm, GroupNorm: over the channels
    "batchnorm",  # inference: a scale and a shift per channel
    "softmax",
    "elementwise",  # activations, residual sums, products
    "reduce",  # means, sums, maxima, pooling
    "copy",  # contiguous, cat, stack, roll, gather
    "resize",  # interpolation: one thread a pixel, over all channels and images
    "cast",  # to the precision autocast asks for; no work where nothing is cast
]


@dataclass(frozen=True)
class Op:
    """One operator that launches work.

    Attributes:
        path: the module that runs it, e.g. `stages.2.blocks.0.mixer.proj`; `""` is the network.
        name: torch's, e.g. `convolution`.
        kind: what sort of work it is.
        macs: multiply-accumulates.
        read: elements of activations it reads.
        written: elements it writes.
        weights: elements of parameters and buffers it reads.
        m, n, k: of the (implicit) matrix product, one group; 0 where it is none. m counts output
            positions of the whole batch. Of a resize, m pixels for each of n maps; of a layer norm,
            m rows of n elements.
        groups: products of that shape: batch x heads of a batched product, groups of a convolution.
        kernel: height times width of a convolution's kernel; 0 elsewhere.
        sources: of each activation it reads: how many operators back it was written (0: given from
            outside) and how many elements of it are read. They add up to `read`.
        wide: under autocast it writes fp32.
        channels_last: a convolution whose input lies in channels-last memory.
        strided: a convolution of a slice of channels-last memory: cuDNN's take it as channels-last,
            and torch gathers it into memory of its own first.
    """

    path: str
    name: str
    kind: Kind
    macs: int
    read: int
    written: int
    weights: int = 0
    m: int = 0
    n: int = 0
    k: int = 0
    groups: int = 1
    kernel: int = 0
    sources: tuple[tuple[int, int], ...] = ()
    wide: bool = False
    channels_last: bool = False
    strided: bool = False
