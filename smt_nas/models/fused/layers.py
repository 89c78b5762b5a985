"""Layers with what directly follows them: what a library can do in one pass is one module here.

`packing` replaces them, and plain ones, by those of oneDNN.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["relu", "gelu"]
_IN_PLACE = {"relu": torch.ops.aten.relu_, "gelu": torch.ops.aten.gelu_}


class ActivatedConv(nn.Module):
    """`activation(conv(x))`; in place, so that a map is held once, not twice."""

    def __init__(self, conv: nn.Conv2d, activation: Activation) -> None:
        super().__init__()
        self.conv = conv
        self.activation: Activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to `(B, C', H', W')`."""
        y: Tensor = _IN_PLACE[self.activation](self.conv(x))
        return y

    def extra_repr(self) -> str:
        """Show the activation."""
        return self.activation


class ResidualLinear(nn.Module):
    """`residual + linear(x)`, the end of a residual branch."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """`(B, H, W, C)` and what the branch is added to `(B, H, W, C')`."""
        y: Tensor = residual + self.linear(x)
        return y
