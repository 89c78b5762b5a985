"""Puts together what trains a network, all of it timm's and torch's: one `Learner`."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from smt_nas.errors import ConfigError, TrainingError, did_you_mean
from smt_nas.models import SMT
from smt_nas.runtime.torch_device import refusal
from smt_nas.runtime.torchvision_ops import import_timm
from smt_nas.train.distill import DistillLoss
from smt_nas.train.learner import Learner, Loss
from smt_nas.train.process_group import World
from smt_nas.train.recipe import Augment, Recipe
from smt_nas.train.settings import How, Settings


def check(recipe: Recipe, name: str, world: World) -> None:
    """Refuse what cannot be put together here.

    Args:
        recipe: what is wanted.
        name: of the recipe, as the user wrote it.
        world: the processes.

    Raises:
        ConfigError: timm has no such optimizer.
        TrainingError: the precision, or batch norm over processes, cannot be had on the device.
    """
    check_optimizer(recipe)
    reason = refusal(recipe.precision, world.device)
    if reason is not None:
        raise TrainingError(
            f"recipe {name}: precision must be one of {world.device} (got {recipe.precision}: "
            f"{reason}) Change it with --set precision=…."
        )
    if recipe.sync_bn and world.size > 1 and world.device.type != "cuda":
        raise TrainingError(
            f"recipe {name}: sync_bn needs GPUs (got {world.device}). --set sync_bn=false."
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


def assemble(
    model: SMT, settings: Settings, how: How, world: World, updates: int, teacher: nn.Module | None
) -> Learner:
    """Put a network on its device with all that trains it.

    Args:
        model: on the CPU, with its first weights.
        settings: what is trained.
        how: compile, memory format, checkpointing.
        world: the processes.
        updates: an epoch.
        teacher: on the device; None for none.
    """
    recipe = settings.recipe
    rates = recipe.optimizer.scaled(settings.images_an_update)
    model.set_grad_checkpointing(how.grad_checkpointing)
    if recipe.sync_bn and world.size > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    # the layout in which the network runs and its gradients come
    model.to(world.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _optimizer(model, recipe, rates.lr)
    return Learner(
        model=model,
        runner=_runner(model, world, how.compile),
        world=world,
        recipe=recipe,
        channels_last=how.channels_last,
        optimizer=optimizer,
        scheduler=schedule(optimizer, recipe, settings.images_an_update, updates),
        scaler=torch.amp.GradScaler(world.device.type, enabled=recipe.precision == "amp-fp16"),
        ema=_ema(model, recipe),
        mix=_mix(recipe.augment, settings.arch.num_classes),
        loss=_loss(recipe, teacher),
    )


def schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, images: int, updates: int) -> Any:
    """timm's cosine schedule by update, after a linear warm-up.

    Args:
        optimizer: its rates are set.
        recipe: epochs, warm-up, rates.
        images: an update.
        updates: an epoch.
    """
    import_timm()
    from timm.scheduler import CosineLRScheduler

    rates = recipe.optimizer.scaled(images)
    warm = round(recipe.warmup_epochs * updates)
    return CosineLRScheduler(
        optimizer,
        t_initial=max(1, recipe.epochs * updates - warm),
        lr_min=rates.min_lr,
        warmup_t=warm,
        warmup_lr_init=rates.warmup_lr,
        warmup_prefix=True,
        t_in_epochs=False,
    )


def _runner(model: SMT, world: World, compiled: bool) -> nn.Module:
    """The network as it is called."""
    runner: nn.Module = model
    if world.size > 1:
        ids = [world.device.index] if world.device.type == "cuda" else None
        # as published: batch norm statistics are each process's own, and the first one's are kept
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        own: dict[str, Any] = {name: False}  # the second until torch 2.12
        runner = DistributedDataParallel(model, device_ids=ids, **own)
    if compiled:
        runner = torch.compile(runner)  # type: ignore[assignment]
    return runner


def _optimizer(model: SMT, recipe: Recipe, lr: float) -> torch.optim.Optimizer:
    """timm's, without decay of biases and 1-D tensors."""
    import_timm()
    from timm.optim import create_optimizer_v2

    wanted = recipe.optimizer
    options = {"betas": wanted.betas, "eps": wanted.eps, "layer_decay": wanted.layer_decay}
    made: torch.optim.Optimizer = create_optimizer_v2(
        model,
        opt=wanted.name,
        lr=lr,
        weight_decay=wanted.weight_decay,
        **{name: value for name, value in options.items() if value is not None},
    )
    return made


def _ema(model: SMT, recipe: Recipe) -> Any | None:
    if recipe.ema is None:
        return None
    import_timm()
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, decay=recipe.ema.decay, use_warmup=recipe.ema.warmup)


def _mix(augment: Augment, classes: int) -> Any | None:
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


def _loss(recipe: Recipe, teacher: nn.Module | None) -> Loss:
    """The labels' loss, smoothed or of mixed labels, and a teacher's where there is one."""
    import_timm()
    from timm.loss import LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

    soft = SoftTargetCrossEntropy()
    hard = LabelSmoothingCrossEntropy(recipe.augment.label_smoothing)

    def of_labels(images: Tensor, logits: Tensor, targets: Tensor) -> Tensor:
        loss: Tensor = (soft if targets.dim() == 2 else hard)(logits, targets)
        return loss

    return of_labels if teacher is None else DistillLoss(teacher, recipe.distill, of_labels)
