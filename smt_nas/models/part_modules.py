"""A `Part` as a module of its own: what is traced and timed is the code that a network runs.

A chain of such modules computes what the whole network computes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from smt_nas.costs.ops import Op
from smt_nas.costs.parts import Part, PartKind
from smt_nas.models.blocks import BLOCK_EPS, EMBEDS, FFN, MIXERS, DropPath, build_scale
from smt_nas.models.trace import trace

_SCALE = 1e-4  # of a layer scale; time does not depend on it


class Branch(nn.Module):
    """One residual branch of a `Block`: `x + drop(scale(inner(norm(x))))`."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(part.dim, eps=BLOCK_EPS)
        self.inner = FFN(part) if part.kind == "ffn" else MIXERS[part.kind](part)
        self.scale = build_scale(part.dim, _SCALE if part.layer_scale else None)
        self.drop_path = DropPath(0.0)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, H, W, C)` to the same."""
        y: Tensor = x + self.drop_path(self.scale(self.inner(self.norm(x))))
        return y


class Head(nn.Module):
    """Mean over the positions and the linear classifier."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.head = nn.Linear(part.dim, part.classes)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, H, W, C)` to `(B, classes)`."""
        logits: Tensor = self.head(x.mean(dim=(1, 2)))
        return logits


def build_part(part: Part) -> nn.Module:
    """Build a part with fresh weights, in eval mode.

    Under `torch.device("meta")` nothing is allocated.
    """
    return _MODULES[part.kind](part).eval()


@functools.cache
def trace_part(part: Part, batch: int = 1, channels_last: bool = False) -> Sequence[Op]:
    """The operators of a part; traced once."""
    with torch.device("meta"):
        module = build_part(part)
    return tuple(trace(module, input_shape(part), batch, channels_last))


def input_shape(part: Part) -> tuple[int, ...]:
    """Shape of what a part takes, without the batch: an image (C, H, W), else a map (H, W, C)."""
    if part.kind == "stem":
        return (part.dim_in, *part.size)
    return (*part.size, part.dim_in or part.dim)


_MODULES: dict[PartKind, Callable[[Part], nn.Module]] = {
    **EMBEDS,
    **{kind: Branch for kind in (*MIXERS, "ffn")},
    "norm": lambda part: nn.LayerNorm(part.dim, eps=BLOCK_EPS),
    "head": Head,
}
