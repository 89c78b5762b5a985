"""Operators for training on a CPU: the same products, arranged so that the backward pass is fast.

oneDNN takes the gradient of a depthwise weight about as slowly as if it were dense, and each of the
small convolutions of MHMC costs a launch and a copy. So here all heads are one convolution, whose
gradients are forward convolutions too, and SAA is one matrix product. Measured on one thread of an
EPYC with AVX-512, forward and backward at batch 64, torch 2.13: MHMC with kernels 3, 5, 7, 9 alone
takes 0.3 to 0.8 times as long (16 to 128 channels, maps of 16 to 2 pixels a side).

They run within `use_fast_gradients` alone: gradients are the same but for rounding, and who wants
the bits of torch's own operators, as a training that began with them does, gets these. They run
nowhere on a GPU, in inference, autocast, tracing and compiling.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.grad import conv2d_weight

_LARGE = 5  # kernels from which the gradient of the weight is a forward convolution
_TINY = 2  # pixels a side up to which it is, whatever the kernel
_MERGED = 9  # largest kernel of heads that are merged: the others are padded with zeros to it
_DENSE = 16  # groups up to which a block-diagonal product is faster than a grouped convolution

_IS_FAST: ContextVar[bool] = ContextVar("is_fast", default=False)


@contextmanager
def use_fast_gradients(is_fast: bool) -> Iterator[None]:
    """While it lasts, in this thread, training on a CPU uses these operators, or torch's own."""
    token = _IS_FAST.set(is_fast)
    try:
        yield
    finally:
        _IS_FAST.reset(token)


def is_training_on_cpu(x: Tensor) -> bool:
    """Whether gradients in full precision are about to be taken on the CPU, by plain torch."""
    return (
        x.device.type == "cpu"
        and torch.is_grad_enabled()
        and x.dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    )


def can_replace(layers: Iterable[nn.Module], x: Tensor) -> bool:
    """Whether these convolutions of x are computed here: in training, unwrapped and unwatched.

    They stay torch's own layers, as op counters and quantizers know layers by their exact type, and
    who has hooked one (e.g. torch's pruning, whose hook makes the weight) must see it called.
    """
    return (
        is_training_on_cpu(x)
        and _IS_FAST.get()
        and all(
            isinstance(layer, nn.Conv2d)
            and layer.training
            and not (layer._forward_pre_hooks or layer._forward_hooks)
            and not (layer._backward_pre_hooks or layer._backward_hooks)
            for layer in layers
        )
    )


def make_depthwise(channels: int, kernel: int) -> nn.Conv2d:
    """A depthwise convolution that keeps the resolution; `apply_depthwise` computes it."""
    return nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)


def apply_depthwise(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve x (B, C, H, W), of `make_depthwise`, with fast gradients on a CPU."""
    if can_replace([conv], x):
        return convolve_depthwise(x, conv.weight, conv.bias)
    y: Tensor = conv(x)
    return y


def convolve_depthwise(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Convolve x (B, C, H, W) with odd kernels (C, 1, k, k), padded by k // 2; bias (C,)."""
    y: Tensor = _Depthwise.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution whose gradients are forward convolutions where that is faster."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        padding, groups = weight.shape[-1] // 2, len(weight)
        grad = grad.contiguous(memory_format=torch.channels_last)
        to_x = to_weight = None
        if need_x:
            to_x = F.conv2d(grad, weight.flip(-1, -2), padding=padding, groups=groups)
        if need_weight and (weight.shape[-1] >= _LARGE or max(x.shape[2:]) <= _TINY):
            to_weight = _correlate(x, grad, weight.shape[-1])
        elif need_weight:
            shape = weight.shape
            to_weight = conv2d_weight(x, shape, grad, 1, padding, 1, groups)  # type: ignore[no-untyped-call]
        return to_x, to_weight, grad.sum((0, 2, 3)) if need_bias else None


def _correlate(x: Tensor, grad: Tensor, kernel: int) -> Tensor:
    """Gradient of the weight (C, 1, k, k) from x and the gradients of the outputs (B, C, H, W).

    Each map of x is convolved with its own map of gradients: the maps of all samples are the
    channels of one depthwise convolution (1, BC, H, W), whose outputs (k, k) are summed over B.
    """
    b, c, h, w = x.shape
    maps = x.permute(2, 3, 0, 1).reshape(1, h, w, b * c).permute(0, 3, 1, 2)
    kernels = grad.reshape(b * c, 1, h, w)
    padding = kernel // 2
    y = F.conv2d(maps, kernels, padding=padding, groups=b * c)  # (1, BC, k, k)
    return y.view(b, c, kernel, kernel).sum(0).unsqueeze(1)


def can_merge(heads: Sequence[nn.Conv2d]) -> bool:
    """Whether depthwise convolutions are faster as one with the largest kernel."""
    return max(head.kernel_size[0] for head in heads) <= _MERGED


def convolve_heads(s: Tensor, heads: Sequence[nn.Conv2d]) -> Tensor:
    """Depthwise convolutions of equal shares of the channels of s (B, C, H, W), as one."""
    largest = max(head.kernel_size[0] for head in heads)
    weight = torch.cat([F.pad(h.weight, [(largest - h.kernel_size[0]) // 2] * 4) for h in heads])
    biases = [head.bias for head in heads if head.bias is not None]
    return convolve_depthwise(s, weight, torch.cat(biases) if biases else None)


def aggregate_heads(y: Tensor, conv: nn.Conv2d) -> Tensor:
    """SAA of the heads' channels, head by head: y (B, H, W, C) to (B, H, W, eC).

    Args:
        y: outputs of MHMC.
        conv: group c joins channel c of every head; weight (eC, 1, h, 1).
    """
    weight, groups = conv.weight, conv.groups
    wide, heads = len(weight), weight.shape[2]
    if groups > _DENSE:
        b, h, w, _ = y.shape
        stacked = y.reshape(b, h * w, heads, groups).permute(0, 3, 2, 1)  # (B, C/h, h, HW)
        joined: Tensor = conv(stacked)  # (B, eC, 1, HW)
        return joined.reshape(b, wide, h, w).permute(0, 2, 3, 1)
    outputs = torch.arange(wide)[:, None] // (wide // groups)
    own = (outputs == torch.arange(groups)).to(weight.dtype)  # (eC, C/h)
    matrix = (weight.view(wide, heads, 1) * own[:, None]).view(wide, heads * groups)
    return F.linear(y, matrix, conv.bias)
