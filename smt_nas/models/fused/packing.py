"""A fused network in eager on an x86 CPU, with weights as oneDNN multiplies by them.

Plain eager hands a product its weights as they are stored: MKL and oneDNN arrange them in every
forward, and bias, activation and residual sum are passes of their own. Here weights are arranged
once, and what follows a product is done while its result is in registers. The operators are those
that torch.compile writes for a frozen network (torch/_inductor/fx_passes/mkldnn_fusion.py). They
are no public interface: where a build of torch lacks them, a network stays as it is.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from smt_nas.models.fused.layers import ActivatedConv, ResidualLinear

_OPERATORS = (
    "_reorder_linear_weight",
    "_reorder_convolution_weight",
    "_linear_pointwise",
    "_convolution_pointwise",
)
_ERF = "none"  # oneDNN's word for the GELU that is not approximated by tanh


def is_packable(tensor: Tensor) -> bool:
    """Whether weights like this one can be packed here: of fp32 on an x86 CPU with AVX2 or more."""
    return (
        tensor.device.type == "cpu"
        and tensor.dtype == torch.float32
        and torch._C._has_mkldnn
        and torch.backends.cpu.get_cpu_capability().startswith("AVX")
        and all(hasattr(torch.ops.mkldnn, name) for name in _OPERATORS)
    )


def pack_layers(module: nn.Module) -> nn.Module:
    """A copy whose linear layers and convolutions hold packed weights, which take no gradient.

    The copy runs; it is neither exported, compiled, saved nor moved.
    """
    packed = _pack_layer(module)
    if packed is not None:
        return packed
    # children are packed one by one, so that only one layer's weights are held twice
    result = copy.copy(module)
    result._modules = {
        name: None if child is None else pack_layers(child)
        for name, child in module._modules.items()
    }
    return result


def _pack_layer(module: nn.Module) -> nn.Module | None:
    if isinstance(module, nn.Linear):
        return PackedLinear(module)
    if isinstance(module, ResidualLinear):
        return PackedResidualLinear(module.linear)
    if isinstance(module, nn.Conv2d):
        return PackedConv(module, "none")
    if isinstance(module, ActivatedConv):
        return PackedConv(module.conv, module.activation)
    return None


class PackedLinear(nn.Module):
    """`linear(x)`."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight: Any = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self.bias = linear.bias.detach()

    def forward(self, x: Tensor) -> Tensor:
        """`(..., C)` to `(..., C')`."""
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return y


class PackedResidualLinear(PackedLinear):
    """`residual + linear(x)`."""

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:  # type: ignore[override]
        """`(..., C)` and what is added `(..., C')`."""
        linear = torch.ops.mkldnn._linear_pointwise.binary
        y: Tensor = linear(x, residual, self.weight, self.bias, "add")
        return y


class PackedConv(nn.Module):
    """`activation(conv(x))`; `none` for no activation."""

    def __init__(self, conv: nn.Conv2d, activation: str) -> None:
        super().__init__()
        self.bias = None if conv.bias is None else conv.bias.detach()
        self.shape = [list(conv.padding), list(conv.stride), list(conv.dilation), conv.groups]
        reorder = torch.ops.mkldnn._reorder_convolution_weight
        self.weight: Any = reorder(conv.weight.detach(), *self.shape, None)
        self.after = [activation, [], _ERF if activation == "gelu" else ""]

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` in channels-last memory to `(B, C', H', W')`."""
        convolve = torch.ops.mkldnn._convolution_pointwise
        y: Tensor = convolve(x, self.weight, self.bias, *self.shape, *self.after)
        return y
