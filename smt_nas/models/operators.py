"""What torch's operators are to a device: their kind, and the product inside."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from smt_nas.costs.ops import Kind

PRODUCTS = frozenset(("addmm", "mm", "bmm", "baddbmm", "addmv", "mv"))
KINDS: dict[Kind, str] = {
    "norm": "native_layer_norm native_group_norm _fused_rms_norm",
    "batchnorm": "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training "
    "cudnn_batch_norm",
    "softmax": "_softmax _log_softmax",
    "reduce": "mean sum amax amin max min argmax argmin var var_mean std std_mean prod cumsum any "
    "all linalg_vector_norm norm logsumexp topk sort avg_pool2d max_pool2d_with_indices "
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_max_pool2d avg_pool1d avg_pool3d",
    "resize": "upsample_bilinear2d upsample_bicubic2d _upsample_bilinear2d_aa upsample_nearest2d",
    "copy": "clone copy_ cat stack roll index index_select gather constant_pad_nd reflection_pad2d "
    "replication_pad2d repeat im2col col2im pixel_shuffle pixel_unshuffle channel_shuffle flip "
    "embedding index_put index_put_ scatter unfold_copy _to_copy repeat_interleave",
}
KIND_OF: dict[str, Kind] = {name: kind for kind, names in KINDS.items() for name in names.split()}


class Shape(NamedTuple):
    """Multiply-accumulates and the matrix product of an operator, as in `Op`."""

    macs: int = 0
    m: int = 0
    n: int = 0
    k: int = 0
    groups: int = 1
    kernel: int = 0


def kind_of(name: str, func: Any, args: Any, is_weight: Callable[[Tensor], bool]) -> Kind:
    """Kind of an operator, by its name and by what it multiplies."""
    if name == "convolution":
        inputs, groups = args[0].shape[1], args[8]
        return "conv" if groups == 1 else "depthwise" if groups == inputs else "grouped"
    if name in PRODUCTS:
        left, right = args[-2:] if name in ("mm", "bmm", "mv") else args[1:3]
        return "linear" if is_weight(left) or is_weight(right) else "matmul"
    if name == "_to_copy" and args[0].is_floating_point():
        return "cast"
    return KIND_OF.get(name, "elementwise")


def shape_of(name: str, args: Any, out: Any) -> Shape:
    """The (implicit) matrix product of an operator; empty where it is none."""
    if name == "convolution":
        return _convolution(args, out)
    if KIND_OF.get(name) == "resize":
        return Shape(0, math.prod(out.shape[2:]), math.prod(out.shape[:2]))
    if name == "native_layer_norm":
        width = math.prod(args[1])
        return Shape(0, args[0].numel() // width, width)
    if name not in PRODUCTS:
        return Shape()
    left, right = args[:2] if name in ("mm", "bmm", "mv") else args[1:3]
    groups = left.shape[0] if left.ndim == 3 else 1
    m, k = left.shape[-2:]
    n = right.shape[-1] if right.ndim > 1 else 1
    return Shape(groups * m * k * n, m, n, k, groups)


def _convolution(args: Any, out: Tensor) -> Shape:
    x, weight, groups, transposed = args[0], args[1], args[8], args[6]
    kernel, positions = math.prod(weight.shape[2:]), math.prod(out.shape[2:])
    m = x.shape[0] * (math.prod(x.shape[2:]) if transposed else positions)
    if transposed:
        k, n = weight.shape[0] // groups, weight.shape[1] * kernel
    else:
        k, n = weight.shape[1] * kernel, weight.shape[0] // groups
    return Shape(groups * m * n * k, m, n, k, groups, kernel)
