"""One step of a supernet: in-place distillation of a sandwich of networks, on the same images.

The big network learns from the labels, the others from what the big one said, detached (Yu et al.
2020, BigNAS, arXiv 2003.11142). The gradients of all are summed: each stands in the windows of its
network. A tensor that none of them takes has no gradient at all, so that AdamW leaves it alone:
with a gradient of zero it would move on by its momentum, as the channels do that only wider
networks take, in steps without one of these.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.arch import Architecture
from smt_nas.models.supernet import WeightStore
from smt_nas.models.training_ops import use_fast_gradients
from smt_nas.train.learner import (
    create_ema,
    create_loss,
    create_mixup,
    create_optimizer,
    create_scheduler,
)
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import Recipe
from smt_nas.train.steps.fused_optimizer import (
    FUSED,
    align_gradients,
    fuse_optimizer,
    plain_state_dict,
)
from smt_nas.train.steps.update_parts import Batch, Loss, autocast

JUMP = 10.0
"""Norms of gradients above so many times their running median are left out."""
REMEMBERED = 101
"""Norms that the running median is of."""
_FEWEST = 20  # norms from which there is a median to compare with
# torch's fused SGD fails where a tensor has its first gradient later than others
_FUSED = tuple(name for name in FUSED if name not in ("sgd", "momentum"))


class StepReport(NamedTuple):
    """What came of a step.

    Attributes:
        loss_big: cross entropy of the big network, over all processes.
        kl: mean divergence of the others from it.
        norm: of the summed gradient before clipping.
        is_updated: False where the step was left out.
        lr: learning rate.
    """

    loss_big: float
    kl: float
    norm: float
    is_updated: bool
    lr: float


@dataclass(frozen=True)
class SandwichLearner:
    """Holds the store and what moves it; `train_step` changes them.

    Made by `build_sandwich_learner`.

    Attributes:
        store: the weights.
        group: the processes.
        recipe: with the rates of this training.
        ema: timm's ModelEmaV3 of the store; None for none.
        norms: of the last steps that were made, the newest last.
    """

    store: WeightStore
    group: ProcessGroup
    recipe: Recipe
    optimizer: torch.optim.Optimizer
    scheduler: Any  # of timm
    ema: Any | None
    mixup: Any | None
    loss: Loss
    fused: bool
    norms: list[float]

    @property
    def eval_store(self) -> WeightStore:
        """The store whose networks are rated: the average where one is kept."""
        store: WeightStore = self.store if self.ema is None else self.ema.module
        return store

    def train_step(
        self,
        step: int,
        networks: Sequence[Architecture],
        batches: Sequence[Batch],
        rate_factor: float = 1.0,
    ) -> StepReport:
        """Make step `step`, counted from 0.

        Args:
            step: decides the learning rate.
            networks: the big one first.
            batches: of this process.
            rate_factor: of the learning rate.
        """
        lr = self._set_rate(step, rate_factor)
        self.store.train()
        losses = torch.zeros(2, device=self.group.device)
        with use_fast_gradients(True):
            for images, labels in batches:
                losses += self._backward(networks, *self._to_device(images, labels), len(batches))
        self._average_gradients()
        loss_big, kl = self._average_losses(losses)
        clip = self.recipe.optimizer.clip_norm
        norm = float(
            nn.utils.clip_grad_norm_(self.store.parameters(), math.inf if clip is None else clip)
        )
        is_updated = self._is_sound(loss_big, kl, norm)
        if is_updated:
            self._apply(step, norm)
        self.optimizer.zero_grad(set_to_none=True)
        return StepReport(loss_big, kl, norm, is_updated, lr)

    def state_dict(self) -> dict[str, Any]:
        """What beside the weights a step depends on."""
        return {"optimizer": plain_state_dict(self.optimizer), "norms": list(self.norms)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.norms[:] = state["norms"]
        if self.fused:
            fuse_optimizer(self.optimizer)

    def _set_rate(self, step: int, factor: float) -> float:
        self.scheduler.step_update(step)
        for params in self.optimizer.param_groups:
            params["lr"] *= factor
        return max(float(params["lr"]) for params in self.optimizer.param_groups)

    def _to_device(self, images: Tensor, labels: Tensor) -> Batch:
        images = images.to(self.group.device, non_blocking=True)
        targets = labels.to(self.group.device, non_blocking=True)
        if self.mixup is not None:
            images, targets = self.mixup(images, targets)
        return images, targets

    def _backward(
        self, networks: Sequence[Architecture], images: Tensor, targets: Tensor, batches: int
    ) -> Tensor:
        """Add the gradients of all networks. Returns loss of the big one and mean KL, detached."""
        big, *others = networks
        soft: Tensor | None = None
        sums = torch.zeros(2, device=images.device)
        for number, arch in enumerate([big, *others]):
            with autocast(self.recipe.precision, images.device):
                logits = self.store(arch, images)
            logits = logits.float()
            if soft is None:
                loss = self.loss(images, logits, targets)
                soft = logits.detach().log_softmax(dim=1)
            else:
                own = logits.log_softmax(dim=1)
                loss = F.kl_div(own, soft, reduction="batchmean", log_target=True)
            (loss / batches).backward()  # type: ignore[no-untyped-call]
            share = batches * (len(others) if number else 1)
            sums[min(number, 1)] += loss.detach() / share
        return sums

    def _average_gradients(self) -> None:
        """Over the processes: one message; the same tensors have gradients everywhere."""
        if self.group.size == 1:
            return
        grads = [p.grad for p in self.store.parameters() if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        flat /= self.group.size
        for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):  # type: ignore[no-untyped-call]
            grad.copy_(mean.view_as(grad))

    def _average_losses(self, losses: Tensor) -> tuple[float, float]:
        loss_big, kl = (v / self.group.size for v in self.group.all_reduce(*losses.tolist()))
        return loss_big, kl

    def _is_sound(self, loss_big: float, kl: float, norm: float) -> bool:
        """Whether losses and norm are finite, and the norm is not far above those before it."""
        if not all(map(math.isfinite, (loss_big, kl, norm))):
            return False
        return len(self.norms) < _FEWEST or norm <= JUMP * statistics.median(self.norms)

    def _apply(self, step: int, norm: float) -> None:
        if self.fused:
            align_gradients(self.optimizer)
        self.optimizer.step()
        self.norms.append(norm)
        del self.norms[:-REMEMBERED]
        if self.ema is not None:
            self.ema.update(self.store, step + 1)


def build_sandwich_learner(
    store: WeightStore, recipe: Recipe, group: ProcessGroup, steps: int
) -> SandwichLearner:
    """Put a store on its device with all that trains it for so many steps.

    Args:
        store: on the CPU, with its first weights.
        recipe: its epochs count only as the whole that the warm-up is a part of.
        group: the processes.
        steps: of the whole training.
    """
    images = recipe.batch_size * recipe.accumulation * group.size
    store.to(group.device)
    optimizer = create_optimizer(store, recipe, recipe.optimizer.scale_rates(images).lr)
    fused = recipe.optimizer.name in _FUSED
    if fused:
        fuse_optimizer(optimizer)
    warmup = steps * recipe.warmup_epochs / recipe.epochs
    by_step = recipe.model_copy(update={"epochs": steps, "warmup_epochs": warmup})
    return SandwichLearner(
        store=store,
        group=group,
        recipe=recipe,
        optimizer=optimizer,
        scheduler=create_scheduler(optimizer, by_step, images, 1),
        ema=create_ema(store, recipe),
        mixup=create_mixup(recipe.augment, store.spec.num_classes),
        loss=create_loss(recipe, None),
        fused=fused,
        norms=[],
    )
