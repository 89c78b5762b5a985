"""The network under training and what moves it: one update at a time.

An update is `accumulation` steps over a batch each, in every process; then the gradients are
averaged, clipped, and applied once. An update whose gradients are not finite is left out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from smt_nas.models import SMT
from smt_nas.runtime.torch_device import DTYPES
from smt_nas.train.process_group import World
from smt_nas.train.recipe import Recipe

Batch = tuple[Tensor, Tensor]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of images (B, C, H, W), logits (B, classes) and targets (B,) or (B, classes)."""


@dataclass(frozen=True)
class Learner:
    """Holds modules and optimizer; `update` changes them. Made by `assemble`.

    Attributes:
        model: the network itself, whose weights are saved.
        runner: the network as it is called: over all processes, compiled.
        world: the processes.
        recipe: with the learning rates of this training's updates.
        channels_last: memory format of images.
    """

    model: SMT
    runner: nn.Module
    world: World
    recipe: Recipe
    channels_last: bool
    optimizer: torch.optim.Optimizer
    scheduler: Any  # of timm
    scaler: torch.amp.GradScaler
    ema: Any | None  # timm's ModelEmaV3
    mix: Any | None  # timm's Mixup
    loss: Loss

    @property
    def evaluated(self) -> nn.Module:
        """The module whose accuracy counts: the average of the weights where one is kept."""
        averaged: nn.Module = self.model if self.ema is None else self.ema.module
        return averaged

    @property
    def lr(self) -> float:
        """The learning rate of the last update; with layer decay that of the head."""
        return max(float(group["lr"]) for group in self.optimizer.param_groups)

    def update(self, number: int, batches: Sequence[Batch]) -> tuple[float, bool]:
        """Make update `number`, counted from 0 over the whole training.

        Returns: the mean loss of this process, and whether the update was made.
        """
        self.scheduler.step_update(number)
        self.model.train()
        kept = [b.clone() for b in self._statistics()]
        losses = [self._step(*b, i == len(batches) - 1) for i, b in enumerate(batches)]
        made = self._apply()
        if not made:
            for buffer, before in zip(self._statistics(), kept, strict=True):
                buffer.copy_(before)
        elif self.ema is not None:
            self.ema.update(self.model, number + 1)
        return float(torch.stack(losses).mean()), made

    def state(self) -> dict[str, Any]:
        """What beside the weights an update depends on; the rates depend on its number alone."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a state that `state` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])

    def _step(self, images: Tensor, labels: Tensor, last: bool) -> Tensor:
        """Forward and backward over one batch. Returns the loss, detached."""
        device, accumulation = self.world.device, self.recipe.accumulation
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        images = images.to(device, non_blocking=True, memory_format=layout)
        targets = labels.to(device, non_blocking=True)
        if self.mix is not None:
            images, targets = self.mix(images, targets)
        with self._shared(last):
            with autocast(self.recipe.precision, device):
                loss = self.loss(images, self.runner(images), targets)
            self.scaler.scale(loss / accumulation).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _shared(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Average gradients over the processes once an update, with its last batch."""
        wrapped = getattr(self.runner, "_orig_mod", self.runner)  # under torch.compile
        if last or not isinstance(wrapped, DistributedDataParallel):
            return contextlib.nullcontext()
        return wrapped.no_sync()

    def _apply(self) -> bool:
        """Clip and apply the gradients, and drop them. Returns False where they are not finite."""
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.optimizer.clip_norm
        norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), float("inf") if limit is None else limit
        )
        finite = bool(torch.isfinite(norm))
        if finite:
            self.scaler.step(self.optimizer)
        self.scaler.update()  # knows from `unscale_` whether to lower the scale
        self.optimizer.zero_grad(set_to_none=True)
        return finite

    def _statistics(self) -> list[Tensor]:
        """Buffers that a forward changes: of batch norms."""
        return list(self.model.buffers())


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context that forwards run in; it does nothing in fp32 and tf32."""
    amp = precision.startswith("amp")
    dtype = DTYPES[precision] if amp else None  # type: ignore[index]
    return torch.autocast(device.type, dtype, enabled=amp)
