"""SAM and MSA for inference: the same functions in fewer operators and fewer copies.

Both take normalised tokens `(B, H, W, C)`, without scale and shift of the norm before them, and
what the branch is added to.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.costs.parts import Size
from smt_nas.models.fused.folding import (
    Affine,
    affine_of,
    build_conv,
    build_depthwise,
    build_linear,
    fold_batch_norm,
    fold_input_bias,
    fold_layer_norm,
    merge_kernels,
    scale_outputs,
    split_outputs,
)
from smt_nas.models.fused.layers import ActivatedConv, ResidualLinear
from smt_nas.models.mixers import MSA, SAM, nchw, nhwc

_WORTH = 1_500_000
"""Products that take as long as one more convolution of a few channels: its launch, a copy of its
channels out of the map and one into it."""


def is_merged(kernels: Sequence[int], dim: int, size: Size) -> bool:
    """Whether MHMC runs as one depthwise convolution with the largest kernel.

    The small kernels are then padded with zeros, which are multiplied all the same: 81 products a
    channel and position for 3, 5, 7, 9 instead of 41. That costs more than it saves on large maps
    (SMT-T at 224 px: stage 1, 8 million products more), less on small ones (stages 2 and 3, 4 and
    2 million). Measured on one thread of an EPYC with AVX-512, a whole SAM at batch 1 and 8, merged
    over apart: where this rule merges 0.81 to 1.02, where it does not up to 1.16 in eager and 1.56
    packed.

    Args:
        kernels: of the heads.
        dim: channels of all heads.
        size: height and width of the map.
    """
    more = max(kernels) ** 2 - sum(k * k for k in kernels) / len(kernels)
    return more * dim * size[0] * size[1] <= _WORTH * len(kernels)


class FusedSAM(nn.Module):
    """`proj(modulate(gelu(aggregate(mhmc(s)))) * v)`.

    The batch norm is part of the aggregation, as are the biases of MHMC. s and v are projected
    apart: MHMC then reads a map of its own, where a part of a joint one would be copied first.

    Args:
        mixer: the plain one.
        norm: the layer norm before it.
        scale: the layer scale behind it `(C,)`.
        size: height and width of the maps it is for; it takes all.
    """

    def __init__(self, mixer: SAM, norm: nn.LayerNorm, scale: Tensor, size: Size) -> None:
        super().__init__()
        dtype = mixer.proj.weight.dtype
        context, value = split_outputs(fold_layer_norm(norm, affine_of(mixer.sv)), 2)
        self.s, self.v = build_linear(context, dtype), build_linear(value, dtype)
        heads = [affine_of(conv) for conv in mixer.heads]
        kernels = [weight.shape[-1] for weight, _ in heads]
        self.is_merged = is_merged(kernels, mixer.proj.in_features, size)
        heads = [merge_kernels(heads)] if self.is_merged else heads
        self.heads = nn.ModuleList(build_depthwise(head, dtype, bias=False) for head in heads)
        aggregate = _build_aggregate(mixer, self.is_merged, dtype)
        self.groups = aggregate.groups  # C/h
        self.aggregate = ActivatedConv(aggregate, "gelu")
        self.modulate = build_linear(affine_of(mixer.modulate), dtype)
        proj = build_linear(scale_outputs(affine_of(mixer.proj), scale), dtype)
        self.proj = ResidualLinear(proj)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Two `(B, H, W, C)` to the same."""
        s = self.s(x)
        y = self._convolve_whole(s) if self.is_merged else self._convolve_heads(s)
        y = nhwc(self.aggregate(y)).reshape(*x.shape[:3], -1)
        out: Tensor = self.proj(self.modulate(y) * self.v(x), residual)
        return out

    def _convolve_whole(self, s: Tensor) -> Tensor:
        """One convolution; the heads lie beside each other in each position `(B, C/h, 1, HWh)`.

        The aggregation steps over them, so that nothing is copied.
        """
        y = nhwc(self.heads[0](nchw(s)))
        return nchw(y.reshape(s.shape[0], 1, -1, self.groups))

    def _convolve_heads(self, s: Tensor) -> Tensor:
        """A convolution a head, stacked `(B, C/h, h, HW)`."""
        parts = s.chunk(len(self.heads), dim=-1)  # h times (B, H, W, C/h)
        scales = [
            nhwc(conv(nchw(part))).flatten(1, 2)  # (B, HW, C/h)
            for conv, part in zip(self.heads, parts, strict=True)
        ]
        return nchw(torch.stack(scales, dim=1))


def _build_aggregate(mixer: SAM, is_merged: bool, dtype: torch.dtype) -> nn.Conv2d:
    """SAA with the batch norm and the biases of MHMC: `h` heads of a group to its channels."""
    weight, bias = fold_batch_norm(affine_of(mixer.aggregate), mixer.bn)  # (eC, 1, h, 1)
    shifts = torch.stack([affine_of(conv)[1] for conv in mixer.heads], dim=1)  # (C/h, h)
    groups, heads = shifts.shape
    by_group = weight.reshape(groups, -1, heads)  # (C/h, eh, h)
    bias = bias + (by_group * shifts[:, None]).sum(dim=-1).flatten()
    if is_merged:
        return build_conv((weight.transpose(2, 3), bias), dtype, groups, stride=(1, heads))
    return build_conv((weight, bias), dtype, groups)


class FusedMSA(nn.Module):
    """`proj(attention(q, k, v) + local(v))`.

    The scale of attention is part of q, the bias of `local` of `proj`. v is projected apart: the
    convolution then reads a map of its own.

    Args:
        mixer: the plain one.
        norm: the layer norm before it.
        scale: the layer scale behind it `(C,)`.
    """

    def __init__(self, mixer: MSA, norm: nn.LayerNorm, scale: Tensor) -> None:
        super().__init__()
        dtype = mixer.proj.weight.dtype
        self.head_dim = mixer.head_dim
        q, k, v = split_outputs(fold_layer_norm(norm, affine_of(mixer.qkv)), 3)
        q = scale_outputs(q, torch.full_like(q[1], self.head_dim**-0.5))
        self.qk, self.v = build_linear(_join(q, k), dtype), build_linear(v, dtype)
        weight, shift = affine_of(mixer.local)
        self.local = build_depthwise((weight, shift), dtype, bias=False)
        proj = fold_input_bias(shift, affine_of(mixer.proj))
        self.proj = ResidualLinear(build_linear(scale_outputs(proj, scale), dtype))

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Two `(B, H, W, C)` to the same."""
        b, h, w, c = x.shape
        q, k = self.qk(x).reshape(b, h * w, 2, -1, self.head_dim).permute(2, 0, 3, 1, 4)
        values = self.v(x)
        v = values.reshape(b, h * w, -1, self.head_dim).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, k, v, scale=1.0)  # (B, heads, HW, d)
        y = y.transpose(1, 2).reshape(b, h, w, c)
        out: Tensor = self.proj(y + nhwc(self.local(nchw(values))), residual)
        return out


def _join(first: Affine, second: Affine) -> Affine:
    """Two layers with one input as one layer."""
    return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])
