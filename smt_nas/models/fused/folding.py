"""What can be computed once, from the weights alone, so that no forward computes it again.

All of it is exact in real numbers. It is done in double precision and rounded once, so that a
fused network differs from the plain one by the order of fp32 sums, not by the folding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Affine = tuple[Tensor, Tensor]
"""Weight, with outputs first, and bias (outputs,), both float64."""


def affine_of(layer: nn.Module) -> Affine:
    """Weight and bias of a linear layer or convolution; a bias of zeros where it has none."""
    assert isinstance(layer, nn.Linear | nn.Conv2d)
    weight = layer.weight.detach().double()
    if layer.bias is None:
        return weight, weight.new_zeros(len(weight))
    return weight, layer.bias.detach().double()


def scale_outputs(affine: Affine, scale: Tensor) -> Affine:
    """`scale * layer(x)` as one layer. scale: (outputs,)."""
    weight, bias = affine
    return weight * scale.double().reshape(-1, *[1] * (weight.dim() - 1)), bias * scale.double()


def split_outputs(affine: Affine, parts: int) -> list[Affine]:
    """The layers that a joint one is, each with as many outputs."""
    weight, bias = affine
    return list(zip(weight.chunk(parts), bias.chunk(parts), strict=True))


def fold_batch_norm(affine: Affine, norm: nn.BatchNorm2d) -> Affine:
    """`norm(layer(x))` as one layer, with the statistics of inference."""
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight.detach().double() / (norm.running_var.double() + norm.eps).sqrt()
    weight, bias = scale_outputs(affine, scale)
    return weight, bias + norm.bias.detach().double() - norm.running_mean.double() * scale


def fold_layer_norm(norm: nn.LayerNorm, affine: Affine) -> Affine:
    """`linear(norm(x))` as `linear'(normalised x)`: scale and shift of a norm before it."""
    weight, bias = affine
    scale, shift = norm.weight.detach().double(), norm.bias.detach().double()
    return weight * scale, bias + weight @ shift


def fold_input_bias(shift: Tensor, affine: Affine) -> Affine:
    """`linear(x + shift)` as one linear. shift: (inputs,)."""
    weight, bias = affine
    return weight, bias + weight @ shift


def add_identity(affine: Affine) -> Affine:
    """`u + dwconv(u)` as one depthwise convolution: 1 more in the middle of every kernel."""
    weight, bias = affine
    middle = weight.shape[-1] // 2
    return weight + F.pad(weight.new_ones(1, 1, 1, 1), [middle] * 4), bias


def merge_kernels(heads: Sequence[Affine]) -> Affine:
    """Depthwise convolutions of neighbouring channels as one, with the largest kernel."""
    largest = max(weight.shape[-1] for weight, _ in heads)
    padded = [F.pad(w, [(largest - w.shape[-1]) // 2] * 4) for w, _ in heads]
    return torch.cat(padded), torch.cat([bias for _, bias in heads])


def build_linear(affine: Affine, dtype: torch.dtype) -> nn.Linear:
    """A linear layer for inference."""
    weight, bias = affine
    layer = nn.Linear(weight.shape[1], len(weight), device="meta")
    layer.weight, layer.bias = build_constant(weight, dtype), build_constant(bias, dtype)
    return layer


def build_conv(
    affine: Affine,
    dtype: torch.dtype,
    groups: int = 1,
    stride: int | tuple[int, int] = 1,
    padding: int = 0,
    bias: bool = True,
) -> nn.Conv2d:
    """A convolution for inference; without `bias`, that of `affine` must stand elsewhere."""
    weight, shift = affine
    outputs, inputs, *kernel = weight.shape
    layer = nn.Conv2d(
        *(inputs * groups, outputs, (kernel[0], kernel[1])),
        stride=stride,
        padding=padding,
        groups=groups,
        bias=bias,
        device="meta",
    )
    layer.weight = build_constant(weight, dtype)
    layer.bias = build_constant(shift, dtype) if bias else None
    return layer


def build_depthwise(affine: Affine, dtype: torch.dtype, bias: bool = True) -> nn.Conv2d:
    """A depthwise convolution for inference that keeps the resolution."""
    channels, kernel = len(affine[0]), affine[0].shape[-1]
    return build_conv(affine, dtype, channels, padding=kernel // 2, bias=bias)


def build_constant(values: Tensor, dtype: torch.dtype) -> nn.Parameter:
    """A parameter that takes no gradient."""
    return nn.Parameter(values.to(dtype), requires_grad=False)
