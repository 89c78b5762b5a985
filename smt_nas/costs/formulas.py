"""Closed forms of the parts of an SMT.

MACs: convolutions, linears and both attention matmuls, 1 multiply-accumulate = 1. n tokens,
c channels, h FFN channels or SAM heads of kernel k_i, e expand ratio (SMT, sec. 3.1-3.3; checked
against the published code for T/S/B/L at 224 and 384 px).

`peak` follows `smt_nas.models` step by step: every tensor that an eager forward without gradients
holds at once, those included which only a caller's frame still refers to. It starts from the input
of the part; what else is alive meanwhile, the image and what came into the stage, is added where
parts are joined. Attention runs as the one fused kernel of the CPU; what a library's kernel
allocates for itself and frees is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from smt_nas.costs.parts import Part, PartKind, Size, halved, stem_sizes


class Complexity(NamedTuple):
    """What a part costs.

    Attributes:
        params: learned numbers.
        macs: multiply-accumulates for one image.
        attention_macs: those of the two attention matmuls, also contained in `macs`.
        activations: elements written by convolutions, linears and the two attention matmuls.
        peak: largest number of elements alive at once while the part runs (see above).
    """

    params: int
    macs: int
    attention_macs: int
    activations: int
    peak: int


@lru_cache(maxsize=65_536)
def complexity(part: Part) -> Complexity:
    """What a part costs, exactly."""
    return FORMULAS[part.kind](part)


def input_elements(part: Part) -> int:
    """Elements of what a part takes."""
    return _area(part.size) * (part.dim_in or part.dim)


def _area(size: Size) -> int:
    return size[0] * size[1]


def _stem(p: Part) -> Complexity:
    """Conv k x k - BN - ReLU - conv 2x2 - LayerNorm."""
    c, k2 = p.dim, p.kernels[0] ** 2
    first, n = (_area(size) for size in stem_sizes(p.size, p.stride))
    params = p.dim_in * k2 * c + 2 * c + (4 * c * c + c) + 2 * c
    macs = first * p.dim_in * k2 * c + n * 4 * c * c
    # a channels-last copy of the image (one channel needs none), BN's input and output
    copy = input_elements(p) if p.dim_in > 1 else 0
    return Complexity(params, macs, 0, (first + n) * c, copy + 2 * first * c)


def _down(p: Part) -> Complexity:
    """Conv 3x3 of stride 2 - LayerNorm."""
    c0, c, n = p.dim_in, p.dim, _area(halved(p.size))
    params = 9 * c0 * c + c + 2 * c
    return Complexity(params, n * 9 * c0 * c, 0, n * c, _layer_norm_peak(n, c))


def _sam(p: Part) -> Complexity:
    """Scale-aware modulation (SMT, eq. 1-5): MHMC, SAA, times the value, linear."""
    n, c, e, h = _area(p.size), p.dim, p.expand, len(p.kernels)
    area = sum(k * k for k in p.kernels)
    heads = (c // h) * area + c
    aggregate = (e * c * h + e * c) + 2 * e * c + (e * c * c + c)
    params = _branch_params(p) + 3 * (c * c + c) + heads + aggregate
    macs = 3 * n * c * c + n * (c // h) * area + n * e * c * h + n * e * c * c
    # the block's input, its norm, s|v and the heads stay (5 maps); widest: the stacked heads with
    # GELU's input and output, or GELU's output with the modulator, its product and the output
    peak = n * c * (5 + max(1 + 2 * e, 3 + e))
    return Complexity(params, macs, 0, n * c * (5 + e), peak)


def _msa(p: Part) -> Complexity:
    """Global attention over all tokens plus a depthwise 3x3 on the values, linear."""
    n, c = _area(p.size), p.dim
    params = _branch_params(p) + 4 * (c * c + c) + 10 * c
    attention = 2 * n * n * c
    macs = 4 * n * c * c + 9 * n * c + attention
    activations = n * c * 6 + p.heads * n * n
    # the block's input, its norm and q|k|v stay (5 maps); widest: attention, the convolution, their
    # sum and the output
    return Complexity(params, macs, attention, activations, 9 * n * c)


def _ffn(p: Part) -> Complexity:
    """Linear c-h, u + depthwise k x k(u), GELU, linear h-c."""
    n, c, h, k2 = _area(p.size), p.dim, p.hidden, p.ffn_kernel**2
    params = _branch_params(p) + (c * h + h) + (k2 + 1) * h + (h * c + c)
    macs = 2 * n * c * h + k2 * n * h
    # the block's input, the sum of the first residual and its norm stay; widest: u, dwconv(u) and
    # their sum, or u, the hidden map and the output
    peak = n * (3 * c + 2 * h + max(c, h))
    return Complexity(params, macs, 0, n * (2 * h + c), peak)


def _norm(p: Part) -> Complexity:
    """The LayerNorm that ends a stage."""
    return Complexity(2 * p.dim, 0, 0, 0, _layer_norm_peak(_area(p.size), p.dim))


def _head(p: Part) -> Complexity:
    """Mean over tokens, linear; the last map is alive."""
    c, classes = p.dim, p.classes
    peak = input_elements(p) + c + classes
    return Complexity(c * classes + classes, c * classes, 0, classes, peak)


def _branch_params(p: Part) -> int:
    """Of a residual branch beside what it is for: its LayerNorm and its layer scale."""
    return (3 if p.layer_scale else 2) * p.dim


def _layer_norm_peak(tokens: int, channels: int) -> int:
    """Elements of its input and output, and of each token's mean and deviation."""
    return 2 * tokens * (channels + 1)


FORMULAS: dict[PartKind, Callable[[Part], Complexity]] = {
    "stem": _stem,
    "down": _down,
    "sam": _sam,
    "msa": _msa,
    "ffn": _ffn,
    "norm": _norm,
    "head": _head,
}
