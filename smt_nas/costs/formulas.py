"""Closed forms of the parts of an SMT, vectorised over n networks.

MACs: convolutions, linears and both attention matmuls, 1 multiply-accumulate = 1. N tokens,
C channels, H = FFN width, h SAM heads of kernel k_i, e = expand ratio (SMT, sec. 3.1-3.3; checked
against the published code for T/S/B/L at 224 and 384 px).

`peak` counts the elements of all tensors alive at once inside a part: the input of the step, its
output, and what a later step still needs. Copies inside a library's kernels are not known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields

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
        peak: largest number of elements alive at once while the part runs.
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


def ffn(s: StageColumns) -> Part:
    """Linear C-H, u + depthwise 3x3(u), GELU, linear H-C."""
    n, c, h = s.tokens, s.dim, s.hidden
    params = (c * h + h) + 10 * h + (h * c + c)
    macs = 2 * n * c * h + 9 * n * h
    # input x stays for the residual; widest moment: x, u, dwconv(u), their sum
    return _part(params, macs, n * (2 * h + c), n * (c + 3 * h))


def sam_mixer(s: StageColumns) -> Part:
    """Scale-aware modulation (SMT, eq. 1-5): MHMC, SAA, times the value, linear."""
    n, c, e, h = s.tokens, s.dim, s.expand, s.n_kernels
    heads = (c // h) * s.kernel_area + c
    aggregate = (e * c * h + e * c) + 2 * e * c + (e * c * c + c)
    params = 3 * (c * c + c) + heads + aggregate
    macs = 3 * n * c * c + n * (c // h) * s.kernel_area + n * e * c * h + n * e * c * c
    # x and s|v stay; widest: the heads and their regrouping, or GELU's input and output
    peak = n * c * np.maximum(5, 3 + 2 * e)
    return _part(params, macs, n * c * (5 + e), peak)


def msa_mixer(s: StageColumns) -> Part:
    """Global attention over all tokens plus a depthwise 3x3 on the values, linear."""
    n, c = s.tokens, s.dim
    params = 4 * (c * c + c) + 10 * c
    attention = 2 * n * n * c
    macs = 4 * n * c * c + 9 * n * c + attention
    activations = n * c * 6 + s.heads * n * n
    # x and q|k|v stay; attention and the convolution add one map each, then their sum
    return _part(params, macs, activations, 7 * n * c, attention)


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
    image = net.image_size[0] * net.image_size[1] * net.in_channels
    peak = np.maximum(image + 2 * first * c, first * c + n * c)
    return _part(params, macs, (first + n) * c, peak)


def downsample(before: StageColumns, s: StageColumns) -> Part:
    """Conv 3x3 of stride 2 - LayerNorm."""
    c0, c, n = before.dim, s.dim, s.tokens
    peak = np.maximum(before.tokens * c0 + n * c, 2 * n * c)
    return _part(9 * c0 * c + c + 2 * c, n * 9 * c0 * c, n * c, peak)


def stage_norm(s: StageColumns) -> Part:
    """The LayerNorm that ends a stage."""
    zero = np.zeros_like(s.dim)
    return _part(2 * s.dim, zero, zero, 2 * s.tokens * s.dim)


def head(net: Networks) -> Part:
    """Mean over tokens, linear."""
    c, classes = net.stages[3].dim, net.num_classes
    one = np.full_like(c, classes)
    return _part(c * classes + classes, c * classes, one, net.stages[3].tokens * c + c + classes)
