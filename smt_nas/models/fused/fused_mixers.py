"""SAM and MSA for inference: the same functions in fewer operators and fewer copies.

Both take normalised tokens `(B, H, W, C)`, without scale and shift of the norm before them, and
what the branch is added to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.costs.parts import Size
from smt_nas.models.fused.folding import (
    Affine,
    affine_of,
    build_depthwise,
    build_linear,
    fold_input_bias,
    fold_layer_norm,
    scale_outputs,
    split_outputs,
)
from smt_nas.models.fused.layers import ResidualLinear
from smt_nas.models.fused.mixed_convolution import SingleHead, build_mixed
from smt_nas.models.mixers import MSA, SAM, nchw, nhwc


class FusedSAM(nn.Module):
    """`proj(modulate(mixed(s)) * v)`, where `mixed` is MHMC, SAA and GELU.

    s and v are projected apart: MHMC then reads a map of its own, where a part of a joint one would
    be copied first.

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
        self.mixed = build_mixed(mixer, size)
        modulate = affine_of(mixer.modulate)
        if isinstance(self.mixed, SingleHead):
            modulate = self.mixed.order_inputs(modulate)
        self.modulate = build_linear(modulate, dtype)
        proj = build_linear(scale_outputs(affine_of(mixer.proj), scale), dtype)
        self.proj = ResidualLinear(proj)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """Two `(B, H, W, C)` to the same."""
        y: Tensor = self.proj(self.modulate(self.mixed(self.s(x))) * self.v(x), residual)
        return y


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
