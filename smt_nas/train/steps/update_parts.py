"""What every form of an update is made of: batches, the loss, autocast, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from smt_nas.runtime.torch_device import DTYPES

Batch = tuple[Tensor, Tensor]
"""Images (B, C, H, W), and labels (B,) or targets (B, classes)."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of images (B, C, H, W), logits (B, classes) and targets (B,) or (B, classes)."""


class UpdateOutcome(NamedTuple):
    """What came of an update, still on its device: reading it waits for the device.

    Attributes:
        loss: mean over the update's batches of this process, ().
        is_updated: whether the update was made, (); 0 where its gradients were not finite.
    """

    loss: Tensor
    is_updated: Tensor


class ReadOutcome(NamedTuple):
    """An `UpdateOutcome` as plain values."""

    loss: float
    is_updated: bool


def read_outcomes(outcomes: Sequence[UpdateOutcome]) -> list[ReadOutcome]:
    """Wait for the device once, and read them all."""
    if not outcomes:
        return []
    losses = torch.stack([outcome.loss for outcome in outcomes]).tolist()
    updated = torch.stack([outcome.is_updated for outcome in outcomes]).tolist()
    return [
        ReadOutcome(loss, bool(is_updated))
        for loss, is_updated in zip(losses, updated, strict=True)
    ]


def autocast(precision: str, device: torch.device, cache: bool = True) -> torch.autocast:
    """The context that forwards run in; it does nothing in fp32 and tf32.

    Args:
        precision: of the recipe.
        device: where they run.
        cache: keep weights as they were cast until the context ends. What a CUDA graph captures
            must cast them itself: a kept copy is not computed again when the graph is replayed.
    """
    amp = precision.startswith("amp")
    dtype = DTYPES[precision] if amp else None  # type: ignore[index]
    return torch.autocast(device.type, dtype, enabled=amp, cache_enabled=cache)
