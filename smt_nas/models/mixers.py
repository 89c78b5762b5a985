"""The two token mixers: scale-aware modulation (SAM) and multi-head self-attention (MSA).

Both are built from a `Part` and map `(B, H, W, C)` to the same. Activations stay in that layout,
which is channels-last memory: a convolution sees it through a permuted view, so no copy is made to
change layouts.
Lin et al., "Scale-Aware Modulation Meet Transformer", ICCV 2023 (arXiv 2307.08579), section 3.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.costs.parts import Part
from smt_nas.models.training_ops import (
    aggregate_heads,
    apply_depthwise,
    can_merge,
    can_replace,
    convolve_heads,
    make_depthwise,
)


def nchw(x: Tensor) -> Tensor:
    """View `(B, H, W, C)` as `(B, C, H, W)`, in channels-last memory."""
    return x.permute(0, 3, 1, 2)


def nhwc(x: Tensor) -> Tensor:
    """View `(B, C, H, W)` as `(B, H, W, C)`."""
    return x.permute(0, 2, 3, 1)


class SAM(nn.Module):
    """Scale-aware modulation: `proj(modulator(x) * value(x))` (SMT, sec. 3.2).

    The modulator is multi-head mixed convolution (MHMC: one depthwise kernel size a head)
    followed by scale-aware aggregation (SAA): group c joins channel c of every head.
    """

    def __init__(self, part: Part) -> None:
        super().__init__()
        dim, heads, wide = part.dim, len(part.kernels), part.dim * part.expand
        self.sv = nn.Linear(dim, 2 * dim)  # context s, then value v
        self.heads = nn.ModuleList(make_depthwise(dim // heads, k) for k in part.kernels)
        # SAA's grouped 1x1 convolution, C/h groups of h heads -> expand * h channels, written as
        # a depthwise one whose kernel spans the axis of heads: (B, C/h, h, HW) -> (B, eC, 1, HW).
        # The same products and the same weights in the same order, but the heads need only be
        # stacked, not interleaved, and it runs as a depthwise kernel (3 to 4 times as fast).
        self.aggregate = nn.Conv2d(dim // heads, wide, (heads, 1), groups=dim // heads)
        self.bn = nn.BatchNorm2d(wide)
        self.modulate = nn.Linear(wide, dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix by modulation. `(B, H, W, C)` to the same."""
        s, v = self.sv(x).split(x.shape[-1], dim=-1)  # (B, H, W, C) each
        if can_replace([*self.heads, self.aggregate], s):
            y = F.gelu(self.bn(self._convolve_merged(s)))  # (B, eC, H, W)
        else:
            parts = s.chunk(len(self.heads), dim=-1)  # h times (B, H, W, C/h)
            scales = [
                nhwc(conv(nchw(part))).flatten(1, 2)  # (B, HW, C/h)
                for conv, part in zip(self.heads, parts, strict=True)
            ]
            y = nchw(torch.stack(scales, dim=1))  # (B, C/h, h, HW)
            y = F.gelu(self.bn(self.aggregate(y)))  # (B, eC, 1, HW)
        m = self.modulate(nhwc(y)).reshape(x.shape)  # the modulator
        out: Tensor = self.proj(m * v)
        return out

    def _convolve_merged(self, s: Tensor) -> Tensor:
        """MHMC and SAA for training on a CPU. `(B, H, W, C)` to `(B, eC, H, W)`."""
        heads: list[Any] = list(self.heads)  # convolutions, says `can_replace`
        if can_merge(heads):
            y = nhwc(convolve_heads(nchw(s), heads))
        else:
            parts = s.chunk(len(heads), dim=-1)
            scales = [nhwc(apply_depthwise(h, nchw(p))) for h, p in zip(heads, parts, strict=True)]
            y = torch.cat(scales, dim=-1)
        return nchw(aggregate_heads(y, self.aggregate))


class MSA(nn.Module):
    """Global multi-head self-attention, plus a depthwise 3x3 convolution of the values."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.head_dim = part.dim // part.heads
        self.qkv = nn.Linear(part.dim, 3 * part.dim)
        self.local = make_depthwise(part.dim, 3)
        self.proj = nn.Linear(part.dim, part.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix by attention over all positions. `(B, H, W, C)` to the same."""
        b, h, w, c = x.shape
        qkv = self.qkv(x)  # (B, H, W, 3C)
        q, k, v = qkv.reshape(b, h * w, 3, -1, self.head_dim).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v)  # (B, heads, HW, d)
        y = y.transpose(1, 2).reshape(b, h, w, c)
        local = nhwc(apply_depthwise(self.local, nchw(qkv[..., 2 * c :])))
        out: Tensor = self.proj(y + local)
        return out
