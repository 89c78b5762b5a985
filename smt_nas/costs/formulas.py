"""Closed forms of the parts of an SMT, vectorised over n networks.

MACs: convolutions, linears and both attention matmuls, 1 multiply-accumulate = 1. N tokens,
C channels, H = FFN width, h SAM heads of kernel k_i, e = expand ratio (SMT, sec. 3.1-3.3; checked
against the published code for T/S/B/L at 224 and 384 px).

`peak` follows `smt_nas.models` step by step: every tensor that an eager forward without gradients
holds at once, those included which only a caller's frame still refers to. It starts from the input
of the part; what else is alive meanwhile is added by `holding`. Attention runs as the one fused
kernel of the CPU; what a library's kernel allocates for itself and frees is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

import numpy as np

from smt_nas.costs.networks import Ints, Networks, StageColumns


@dataclass(frozen=True)
class Part:
    """Costs of one part of n networks, each (n,).

    Attributes:
        params: learned numbers.
        macs: multiply-accumulates for one image.
        attention_macs: those of the two attention matmuls, also contained in `macs`.
        activations: elements written by convolutions, linears and the two attention matmuls.
        peak: largest number of elements alive at once while the part runs (see above).
    """

    params: Ints
    macs: Ints
    attention_macs: Ints
    activations: Ints
    peak: Ints


def _part(
    params: Ints, macs: Ints, activations: Ints, peak: Ints, attention: Ints | int = 0
) -> Part:
    return Part(params, macs, np.broadcast_to(np.asarray(attention), macs.shape), activations, peak)


def total(parts: Iterable[Part]) -> Part:
    """Parts one after the other: costs add up, the peak is the largest."""
    parts = list(parts)
    added = {
        f.name: np.sum([getattr(p, f.name) for p in parts], axis=0)
        for f in fields(Part)
        if f.name != "peak"
    }
    return Part(**added, peak=np.max([p.peak for p in parts], axis=0))


def times(part: Part, count: Ints) -> Part:
    """A part `count` times over, (n,); nothing at all where the count is 0."""
    return Part(
        part.params * count,
        part.macs * count,
        part.attention_macs * count,
        part.activations * count,
        part.peak * (count > 0),
    )


def holding(part: Part, held: Ints) -> Part:
    """The part while (n,) other elements stay alive."""
    return replace(part, peak=part.peak + held)


def ffn(s: StageColumns) -> Part:
    """Linear C-H, u + depthwise 3x3(u), GELU, linear H-C."""
    n, c, h = s.tokens, s.dim, s.hidden
    params = (c * h + h) + 10 * h + (h * c + c)
    macs = 2 * n * c * h + 9 * n * h
    # the block's input, the sum of the first residual and its norm stay; widest: u, dwconv(u) and
    # their sum, or u, the hidden map and the output
    peak = n * (3 * c + 2 * h + np.maximum(c, h))
    return _part(params, macs, n * (2 * h + c), peak)


def sam_mixer(s: StageColumns) -> Part:
    """Scale-aware modulation (SMT, eq. 1-5): MHMC, SAA, times the value, linear."""
    n, c, e, h = s.tokens, s.dim, s.expand, s.n_kernels
    heads = (c // h) * s.kernel_area + c
    aggregate = (e * c * h + e * c) + 2 * e * c + (e * c * c + c)
    params = 3 * (c * c + c) + heads + aggregate
    macs = 3 * n * c * c + n * (c // h) * s.kernel_area + n * e * c * h + n * e * c * c
    # the block's input, its norm, s|v and the heads stay (5 maps); widest: the stacked heads with
    # GELU's input and output, or GELU's output with the modulator, its product and the output
    peak = n * c * (5 + np.maximum(1 + 2 * e, 3 + e))
    return _part(params, macs, n * c * (5 + e), peak)


def msa_mixer(s: StageColumns) -> Part:
    """Global attention over all tokens plus a depthwise 3x3 on the values, linear."""
    n, c = s.tokens, s.dim
    params = 4 * (c * c + c) + 10 * c
    attention = 2 * n * n * c
    macs = 4 * n * c * c + 9 * n * c + attention
    activations = n * c * 6 + s.heads * n * n
    # the block's input, its norm and q|k|v stay (5 maps); widest: attention, the convolution, their
    # sum and the output
    return _part(params, macs, activations, 9 * n * c, attention)


def block(s: StageColumns, mixer: Part, layer_scale: bool) -> Part:
    """LayerNorm - mixer - LayerNorm - FFN, both residual."""
    both = total((mixer, ffn(s)))
    norms = 4 * s.dim + (2 * s.dim if layer_scale else 0)
    return Part(both.params + norms, both.macs, both.attention_macs, both.activations, both.peak)


def stem(net: Networks) -> Part:
    """Conv k x k - BN - ReLU - conv 2x2 - LayerNorm."""
    s, k2 = net.stages[0], net.stem_kernel**2
    first = net.stem_size[0] * net.stem_size[1]
    c, n = s.dim, s.tokens
    params = net.in_channels * k2 * c + 2 * c + (4 * c * c + c) + 2 * c
    macs = first * net.in_channels * k2 * c + n * 4 * c * c
    # a channels-last copy of the image (one channel needs none), BN's input and output
    copy = net.image_elements if net.in_channels > 1 else 0
    return _part(params, macs, (first + n) * c, copy + 2 * first * c)


def downsample(before: StageColumns, s: StageColumns) -> Part:
    """Conv 3x3 of stride 2 - LayerNorm."""
    c0, c, n = before.dim, s.dim, s.tokens
    return _part(9 * c0 * c + c + 2 * c, n * 9 * c0 * c, n * c, _layer_norm(s))


def stage_norm(s: StageColumns) -> Part:
    """The LayerNorm that ends a stage."""
    zero = np.zeros_like(s.dim)
    return _part(2 * s.dim, zero, zero, _layer_norm(s))


def _layer_norm(s: StageColumns) -> Ints:
    """Elements of its input and output, and of each token's mean and deviation."""
    return 2 * s.tokens * (s.dim + 1)


def embed(net: Networks, stage: int) -> Part:
    """What brings a stage to its resolution: the stem, or downsampling."""
    return downsample(net.stages[stage - 1], net.stages[stage]) if stage else stem(net)


def body(net: Networks, stage: int) -> Part:
    """All blocks of a stage and the norm that ends it."""
    s = net.stages[stage]
    return total(
        (
            times(block(s, sam_mixer(s), net.layer_scale), s.sam),
            times(block(s, msa_mixer(s), net.layer_scale), s.msa),
            stage_norm(s),
        )
    )


def head(net: Networks) -> Part:
    """Mean over tokens, linear; the image and the last map are alive."""
    c, classes = net.stages[3].dim, net.num_classes
    peak = net.image_elements + net.stages[3].tokens * c + c + classes
    return _part(c * classes + classes, c * classes, np.full_like(c, classes), peak)
