"""Gradient checkpointing that leaves BatchNorm statistics right.

The blocks run twice in a training step then. The second run must not count its batch again in
the running statistics, else a checkpointed training would not equal a plain one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def checkpoint_block(block: nn.Module, x: Tensor) -> Tensor:
    """Run `block(x)`, keep only its input, and run it again in the backward pass."""
    if torch.compiler.is_compiling():  # a compiled graph updates its buffers once anyway
        y: Tensor = checkpoint(block, x, use_reentrant=False)
        return y
    y = checkpoint(
        block,
        x,
        use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), _frozen_statistics(block)),
    )
    return y


@contextlib.contextmanager
def _frozen_statistics(block: nn.Module) -> Iterator[None]:
    """Keep running statistics as they are, while the batch is still normed by its own."""
    norms = [m for m in block.modules() if isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm)]
    kept = [(m, m.momentum, m.num_batches_tracked) for m in norms]
    for norm in norms:
        norm.momentum = 0.0
        norm.num_batches_tracked = None
    try:
        yield
    finally:
        for norm, momentum, count in kept:
            norm.momentum = momentum
            norm.num_batches_tracked = count
