"""The network under training and all that moves it, of timm and torch: one update at a time.

An update is `accumulation` steps over a batch each, in every process; then the gradients are
averaged, clipped, and applied once. An update whose gradients are not finite is left out.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from smt_nas.errors import ConfigError, TrainingError, did_you_mean
from smt_nas.models import SMT
from smt_nas.runtime.progress import NullProgress, TrainingListener
from smt_nas.runtime.torch_device import refusal
from smt_nas.runtime.torchvision_ops import import_timm
from smt_nas.train.distill import DistillLoss
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import Augment, Recipe
from smt_nas.train.steps.fast_form import (
    can_fuse,
    create_graph_step,
    describe_plain_step,
    find_graph_obstacle,
    wants_graph,
)
from smt_nas.train.steps.fused_optimizer import align_gradients, fuse_optimizer, plain_state_dict
from smt_nas.train.steps.graph_step import GraphStep
from smt_nas.train.steps.update_parts import Batch, Loss, UpdateOutcome, autocast
from smt_nas.train.train_config import RunOptions, TrainConfig

_READ_EVERY = 32  # updates of a graph: fast ones take a few milliseconds each


@dataclass(frozen=True)
class Learner:
    """Holds modules and optimizer; `update` changes them. Made by `build_learner`.

    Attributes:
        model: the network itself, whose weights are saved.
        runner: the network as it is called: over all processes, compiled.
        group: the processes.
        recipe: with the learning rates of this training's updates.
        channels_last: memory format of images.
        fused: the optimizer computes fused.
        graph: makes the updates, where it can; else each operator is started by itself.
    """

    model: SMT
    runner: nn.Module
    group: ProcessGroup
    recipe: Recipe
    channels_last: bool
    optimizer: torch.optim.Optimizer
    scheduler: Any  # of timm
    scaler: torch.amp.GradScaler
    ema: Any | None  # timm's ModelEmaV3
    mixup: Any | None  # timm's Mixup
    loss: Loss
    fused: bool = False
    graph: GraphStep | None = None

    @property
    def eval_model(self) -> nn.Module:
        """The module whose accuracy counts: the average of the weights where one is kept."""
        module: nn.Module = self.model if self.ema is None else self.ema.module
        return module

    @property
    def lr(self) -> float:
        """The learning rate of the last update; with layer decay that of the head."""
        return max(float(params["lr"]) for params in self.optimizer.param_groups)

    @property
    def read_every(self) -> int:
        """Updates after which their outcomes are read: to read them is to wait for the GPU."""
        return 1 if self.graph is None or self.graph.failed else _READ_EVERY

    def update(self, number: int, batches: Sequence[Batch]) -> UpdateOutcome:
        """Make update `number`, counted from 0 over the whole training."""
        self.scheduler.step_update(number)
        if self.graph is not None and not self.graph.failed:
            on_device = [self._to_device(*batch) for batch in batches]
            outcome = self.graph.run(number, on_device)
            return outcome or self._update_plainly(number, on_device)
        return self._update_plainly(number, (self._to_device(*batch) for batch in batches))

    def _update_plainly(self, number: int, batches: Iterable[Batch]) -> UpdateOutcome:
        """Start each operator by itself; batches are on the device."""
        self.model.train()
        buffers = list(self.model.buffers())  # a forward changes them: of batch norms
        before = [buffer.clone() for buffer in buffers]
        accumulation = self.recipe.accumulation
        losses = [self._backward(*b, i == accumulation - 1) for i, b in enumerate(batches)]
        is_updated = self._apply_gradients()
        if not is_updated:
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
        elif self.ema is not None:
            self.ema.update(self.model, number + 1)
        loss = torch.stack(losses).mean()
        return UpdateOutcome(loss, torch.tensor(is_updated, device=loss.device))

    def state_dict(self) -> dict[str, Any]:
        """What beside the weights an update depends on; the rates depend on its number alone."""
        return {"optimizer": plain_state_dict(self.optimizer), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` gave."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.fused:
            fuse_optimizer(self.optimizer)
        if self.graph is not None:
            self.graph.forget()

    def _to_device(self, images: Tensor, labels: Tensor) -> Batch:
        """A batch on the device in its memory format, mixed where the recipe mixes."""
        device = self.group.device
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        images = images.to(device, non_blocking=True, memory_format=layout)
        targets = labels.to(device, non_blocking=True)
        if self.mixup is not None:
            images, targets = self.mixup(images, targets)
        return images, targets

    def _backward(self, images: Tensor, targets: Tensor, last: bool) -> Tensor:
        """Forward and backward over one batch. Returns the loss, detached."""
        with self._gradient_sync(last):
            with autocast(self.recipe.precision, self.group.device):
                loss = self.loss(images, self.runner(images), targets)
            self.scaler.scale(loss / self.recipe.accumulation).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _gradient_sync(self, last: bool) -> contextlib.AbstractContextManager[None]:
        """Average gradients over the processes once an update, with its last batch."""
        wrapped = getattr(self.runner, "_orig_mod", self.runner)  # under torch.compile
        if last or not isinstance(wrapped, DistributedDataParallel):
            return contextlib.nullcontext()
        return wrapped.no_sync()

    def _apply_gradients(self) -> bool:
        """Clip and apply the gradients, and drop them. Returns False where they are not finite."""
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.optimizer.clip_norm
        norm = nn.utils.clip_grad_norm_(
            self.model.parameters(), float("inf") if limit is None else limit
        )
        finite = bool(torch.isfinite(norm))
        if finite:
            if self.fused:
                align_gradients(self.optimizer)
            self.scaler.step(self.optimizer)
        self.scaler.update()  # knows from `unscale_` whether to lower the scale
        self.optimizer.zero_grad(set_to_none=True)
        return finite


def check_recipe(recipe: Recipe, name: str, group: ProcessGroup) -> None:
    """Refuse a recipe that no learner can be built of here.

    Args:
        recipe: what is wanted.
        name: of the recipe, as the user wrote it.
        group: the processes.

    Raises:
        ConfigError: timm has no such optimizer.
        TrainingError: the precision, or batch norm over processes, cannot be had on the device.
    """
    check_optimizer(recipe)
    reason = refusal(recipe.precision, group.device)
    if reason is not None:
        raise TrainingError(
            f"recipe {name}: precision must be one of {group.device} (got {recipe.precision}: "
            f"{reason}) Change it with --set precision=…."
        )
    if recipe.sync_bn and group.size > 1 and group.device.type != "cuda":
        raise TrainingError(
            f"recipe {name}: sync_bn needs GPUs (got {group.device}). --set sync_bn=false."
        )


def check_optimizer(recipe: Recipe) -> None:
    """Raise ConfigError where timm has no optimizer of that name."""
    import_timm()
    from timm.optim import list_optimizers

    known = list_optimizers()
    if recipe.optimizer.name not in known:
        near = did_you_mean(recipe.optimizer.name, known) or "timm.optim.list_optimizers() has all."
        raise ConfigError(
            f"optimizer.name: must be one of timm's (got {recipe.optimizer.name!r}). {near}"
        )


def build_learner(
    model: SMT,
    config: TrainConfig,
    options: RunOptions,
    group: ProcessGroup,
    updates: int,
    teacher: nn.Module | None,
    listener: TrainingListener | None = None,
) -> Learner:
    """Put a network on its device with all that trains it.

    Args:
        model: on the CPU, with its first weights.
        config: what is trained.
        options: compile, memory format, checkpointing.
        group: the processes.
        updates: an epoch.
        teacher: on the device; None for none.
        listener: hears why the fast form of an update is not had; None where nobody does.
    """
    recipe = config.recipe
    rates = recipe.optimizer.scale_rates(config.images_per_update)
    model.set_grad_checkpointing(options.grad_checkpointing)
    if recipe.sync_bn and group.size > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    # the layout in which the network runs and its gradients come
    model.to(group.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = create_optimizer(model, recipe, rates.lr)
    fused = can_fuse(recipe, options)
    if fused:
        fuse_optimizer(optimizer)
    ema, loss = create_ema(model, recipe), create_loss(recipe, teacher)
    graph = None
    if wants_graph(options, group):
        listener = listener or NullProgress()
        obstacle = find_graph_obstacle(recipe, options, group, teacher is not None)
        if obstacle is None:
            graph = create_graph_step(
                model, optimizer, ema, loss, recipe, group.device, listener.say
            )
        else:
            listener.say(describe_plain_step(obstacle))
    return Learner(
        model=model,
        runner=_wrap_model(model, group, options.compile),
        group=group,
        recipe=recipe,
        channels_last=options.channels_last,
        optimizer=optimizer,
        scheduler=create_scheduler(optimizer, recipe, config.images_per_update, updates),
        scaler=torch.amp.GradScaler(group.device.type, enabled=recipe.precision == "amp-fp16"),
        ema=ema,
        mixup=create_mixup(recipe.augment, config.arch.num_classes),
        loss=loss,
        fused=fused,
        graph=graph,
    )


def create_scheduler(
    optimizer: torch.optim.Optimizer, recipe: Recipe, images: int, updates: int
) -> Any:
    """A schedule by update, after a linear warm-up: timm's cosine, or a constant rate.

    Args:
        optimizer: its rates are set.
        recipe: epochs, warm-up, rates.
        images: an update.
        updates: an epoch.
    """
    import_timm()
    from timm.scheduler import CosineLRScheduler

    rates = recipe.optimizer.scale_rates(images)
    warmup, total = round(recipe.warmup_epochs * updates), recipe.epochs * updates
    if recipe.schedule == "constant":
        from smt_nas.train.schedule.constant_rate import ConstantRateScheduler

        return ConstantRateScheduler(
            optimizer, warmup, rates.warmup_lr, recipe.find_fall(updates), total, rates.min_lr
        )
    return CosineLRScheduler(
        optimizer,
        t_initial=max(1, total - warmup),
        lr_min=rates.min_lr,
        warmup_t=warmup,
        warmup_lr_init=rates.warmup_lr,
        warmup_prefix=True,
        t_in_epochs=False,
    )


def _wrap_model(model: SMT, group: ProcessGroup, compiled: bool) -> nn.Module:
    """The network as it is called."""
    runner: nn.Module = model
    if group.size > 1:
        ids = [group.device.index] if group.device.type == "cuda" else None
        # as published: batch norm statistics are each process's own, and the first one's are kept
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        no_sync: dict[str, Any] = {name: False}  # the second until torch 2.12
        runner = DistributedDataParallel(model, device_ids=ids, **no_sync)
    if compiled:
        runner = torch.compile(runner)  # type: ignore[assignment]
    return runner


def create_optimizer(model: nn.Module, recipe: Recipe, lr: float) -> torch.optim.Optimizer:
    """timm's, without decay of biases and 1-D tensors."""
    import_timm()
    from timm.optim import create_optimizer_v2

    values = recipe.optimizer
    options = {"betas": values.betas, "eps": values.eps, "layer_decay": values.layer_decay}
    optimizer: torch.optim.Optimizer = create_optimizer_v2(
        model,
        opt=values.name,
        lr=lr,
        weight_decay=values.weight_decay,
        **{name: value for name, value in options.items() if value is not None},
    )
    return optimizer


def create_ema(model: nn.Module, recipe: Recipe) -> Any | None:
    """timm's moving average of a model; None where the recipe keeps none."""
    if recipe.ema is None:
        return None
    import_timm()
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, decay=recipe.ema.decay, use_warmup=recipe.ema.warmup)


def create_mixup(augment: Augment, classes: int) -> Any | None:
    """timm's Mixup; None where batches are not mixed."""
    if not augment.mixes:
        return None
    import_timm()
    from timm.data import Mixup

    return Mixup(
        mixup_alpha=augment.mixup,
        cutmix_alpha=augment.cutmix,
        prob=augment.mix_prob,
        switch_prob=augment.switch_prob,
        label_smoothing=augment.label_smoothing,
        num_classes=classes,
    )


def create_loss(recipe: Recipe, teacher: nn.Module | None) -> Loss:
    """The labels' loss, smoothed or of mixed labels, and a teacher's where there is one."""
    import_timm()
    from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

    soft = SoftTargetCrossEntropy()
    hard = LabelSmoothingCrossEntropy(recipe.augment.label_smoothing)

    def label_loss(images: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = (soft if targets.dim() == 2 else hard)(logits, targets)
        return loss

    return label_loss if teacher is None else DistillLoss(teacher, recipe.distill, label_loss)
