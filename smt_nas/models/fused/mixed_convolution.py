"""MHMC and SAA for inference: `gelu(bn(aggregate(mhmc(s))))` in three forms, of which one is built.

Each takes s `(B, H, W, C)` and returns `(B, H, W, eC)`. The batch norm is part of the aggregation,
and so are the biases of the depthwise convolutions before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from smt_nas.costs.parts import Size
from smt_nas.models.fused.folding import (
    Affine,
    affine_of,
    build_constant,
    build_conv,
    build_depthwise,
    fold_batch_norm,
    merge_kernels,
)
from smt_nas.models.fused.layers import ActivatedConv
from smt_nas.models.mixers import SAM, nchw, nhwc

_WORTH = 1_500_000
"""Products that take as long as one more convolution of a few channels: its launch, a copy of its
channels out of the map and one into it."""


def is_merged(kernels: Sequence[int], dim: int, size: Size) -> bool:
    """Whether MHMC runs as one depthwise convolution with the largest kernel.

    The small kernels are then padded with zeros, which are multiplied all the same: 81 products a
    channel and position for 3, 5, 7, 9 instead of 41. That costs more than it saves on large maps
    (SMT-T at 224 px: stage 1, 8 million products more), less on small ones (stages 2 and 3, 4 and
    2 million). Measured on one thread of an EPYC with AVX-512, a whole SAM at batch 1 and 8, merged
    over apart: where this rule merges 0.81 to 1.02; where it does not 0.79 (packed, batch 1) to
    1.56 (packed, batch 8).

    Args:
        kernels: of the heads.
        dim: channels of all heads.
        size: height and width of the map.
    """
    more = max(kernels) ** 2 - sum(k * k for k in kernels) / len(kernels)
    return more * dim * size[0] * size[1] <= _WORTH * len(kernels)


class MergedHeads(nn.Module):
    """One convolution for all heads; the aggregation steps over them, so that nothing is copied."""

    def __init__(self, mixer: SAM, dtype: torch.dtype) -> None:
        super().__init__()
        (weight, bias), groups = _fold_aggregate(mixer)
        heads = merge_kernels([affine_of(conv) for conv in mixer.heads])
        self.conv = build_depthwise(heads, dtype, bias=False)
        self.groups = groups  # C/h
        aligned = weight.transpose(2, 3), bias  # (eC, 1, 1, h)
        aggregate = build_conv(aligned, dtype, groups, stride=(1, len(mixer.heads)))
        self.aggregate = ActivatedConv(aggregate, "gelu")

    def forward(self, s: Tensor) -> Tensor:
        """`(B, H, W, C)` to `(B, H, W, eC)`."""
        y = nhwc(self.conv(nchw(s))).reshape(s.shape[0], 1, -1, self.groups)  # (B, 1, HWh, C/h)
        return nhwc(self.aggregate(nchw(y))).reshape(*s.shape[:3], -1)


class SeparateHeads(nn.Module):
    """A convolution a head, stacked as the plain network does."""

    def __init__(self, mixer: SAM, dtype: torch.dtype) -> None:
        super().__init__()
        folded, groups = _fold_aggregate(mixer)
        self.heads = nn.ModuleList(
            build_depthwise(affine_of(conv), dtype, bias=False) for conv in mixer.heads
        )
        self.aggregate = ActivatedConv(build_conv(folded, dtype, groups), "gelu")

    def forward(self, s: Tensor) -> Tensor:
        """`(B, H, W, C)` to `(B, H, W, eC)`."""
        parts = s.chunk(len(self.heads), dim=-1)  # h times (B, H, W, C/h)
        scales = [
            nhwc(conv(nchw(part))).flatten(1, 2)  # (B, HW, C/h)
            for conv, part in zip(self.heads, parts, strict=True)
        ]
        y = self.aggregate(nchw(torch.stack(scales, dim=1)))  # (B, eC, 1, HW)
        return nhwc(y).reshape(*s.shape[:3], -1)


class SingleHead(nn.Module):
    """One kernel: its aggregation is a scale and a shift per channel, e of them.

    So no convolution of C groups is needed for it. The channels are in another order: all of the
    first output of each group, then all of the second.
    """

    def __init__(self, mixer: SAM, dtype: torch.dtype) -> None:
        super().__init__()
        (weight, bias), groups = _fold_aggregate(mixer)
        self.conv = build_depthwise(affine_of(mixer.heads[0]), dtype, bias=False)
        self.scale, self.shift = (
            build_constant(values.reshape(groups, -1).T.contiguous(), dtype)  # (e, C)
            for values in (weight, bias)
        )

    def forward(self, s: Tensor) -> Tensor:
        """`(B, H, W, C)` to `(B, H, W, eC)`."""
        y = nhwc(self.conv(nchw(s))).unsqueeze(3)  # (B, H, W, 1, C)
        y = torch.addcmul(self.shift, y, self.scale)
        out: Tensor = torch.ops.aten.gelu_(y).flatten(3)
        return out

    def order_inputs(self, affine: Affine) -> Affine:
        """The layer behind it, whose inputs follow the order of the channels."""
        weight, bias = affine  # (C, eC)
        by_group = weight.reshape(len(weight), self.scale.shape[1], -1)  # (C, C, e)
        return by_group.transpose(1, 2).reshape(weight.shape), bias


def build_mixed(mixer: SAM, size: Size) -> MergedHeads | SeparateHeads | SingleHead:
    """The form that is fastest for these kernels on a map of this height and width."""
    dtype = mixer.proj.weight.dtype
    kernels = [affine_of(conv)[0].shape[-1] for conv in mixer.heads]
    if len(kernels) == 1:
        return SingleHead(mixer, dtype)
    kind = MergedHeads if is_merged(kernels, mixer.proj.in_features, size) else SeparateHeads
    return kind(mixer, dtype)


def _fold_aggregate(mixer: SAM) -> tuple[Affine, int]:
    """SAA with the batch norm and the biases of MHMC, and its groups C/h. Weight: (eC, 1, h, 1)."""
    weight, bias = fold_batch_norm(affine_of(mixer.aggregate), mixer.bn)
    shifts = torch.stack([affine_of(conv)[1] for conv in mixer.heads], dim=1)  # (C/h, h)
    groups, heads = shifts.shape
    by_group = weight.reshape(groups, -1, heads)  # (C/h, eh, h)
    return (weight, bias + (by_group * shifts[:, None]).sum(dim=-1).flatten()), groups
