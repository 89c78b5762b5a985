"""What a training would be, without training: steps, learning rates, memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from smt_nas import costs
from smt_nas.models import build
from smt_nas.profilers.memory_estimate import estimate_activations_mb
from smt_nas.train.assemble import check_optimizer, schedule
from smt_nas.train.data.loader import Order
from smt_nas.train.data.sources import Source, split
from smt_nas.train.recipe import Recipe
from smt_nas.train.settings import How, Settings
from smt_nas.train.train_result import DryRun

_POINTS = 32  # of the curve that is shown
_MOMENTS = {"adamw": 2, "adam": 2, "nadamw": 2, "lamb": 2, "sgd": 1, "momentum": 1, "lion": 1}
"""Numbers an optimizer keeps for each weight; by timm's names, where that is sure."""


def dry_run(settings: Settings, how: How, source: Source, processes: int) -> DryRun:
    """Work out a training.

    Args:
        settings: what would be trained.
        how: how.
        source: the data.
        processes: of the training.

    Returns: counts, rates and an estimate of the memory of one process, MB of 1e6 bytes.

    Raises:
        TrainingError: the data have fewer images than one update needs.
        ConfigError: timm has no such optimizer.
    """
    recipe, arch = settings.recipe, settings.arch
    check_optimizer(recipe)
    splits = split(source, recipe.validation, settings.split_seed, recipe.images)
    order = Order(
        len(splits.train), recipe.batch_size, processes, recipe.accumulation, settings.seed
    )
    updates = recipe.epochs * order.steps
    found = costs.of(arch)
    return DryRun(
        recipe_yaml=recipe.to_yaml(),
        data=settings.data,
        classes=len(source.classes),
        train_n=len(splits.train),
        validation_n=len(splits.validation),
        processes=processes,
        batch=recipe.batch_size,
        images_an_update=settings.images_an_update,
        updates_an_epoch=order.steps,
        updates=updates,
        curve=curve(recipe, settings.images_an_update, order.steps),
        parameters=found.params,
        macs=found.macs,
        memory_mb=_memory(settings, how, found.params),
    )


def curve(recipe: Recipe, images: int, updates: int) -> tuple[tuple[int, float], ...]:
    """Learning rates at some updates, the first, the end of the warm-up and the last among them.

    Args:
        recipe: with its rates.
        images: an update.
        updates: an epoch.
    """
    total = recipe.epochs * updates
    warm = round(recipe.warmup_epochs * updates)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=recipe.optimizer.scaled(images).lr)
    rates = schedule(optimizer, recipe, images, updates)
    return tuple((at, _rate(rates, at)) for at in _spread(total, warm))


def _spread(total: int, warm: int) -> Sequence[int]:
    even = {round(i * (total - 1) / (_POINTS - 1)) for i in range(_POINTS)}
    return sorted(even | {min(warm, total - 1)})


def _rate(rates: object, update: int) -> float:
    rates.step_update(update)  # type: ignore[attr-defined]  # timm's
    return float(rates.optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]


def _memory(settings: Settings, how: How, parameters: int) -> dict[str, float | None]:
    """Of one process, by what holds it. Activations as in fp32: in amp they are fewer."""
    recipe, arch = settings.recipe, settings.arch
    weights = 4 * parameters / 1e6
    model = build(arch, device="meta")
    model.set_grad_checkpointing(how.grad_checkpointing)
    shape = (recipe.batch_size, arch.in_channels, arch.image_size, arch.image_size)
    moments = _MOMENTS.get(recipe.optimizer.name)
    parts: dict[str, float | None] = {
        "weights": weights,
        "gradients": weights,
        "optimizer": None if moments is None else moments * weights,
        "ema": 0.0 if recipe.ema is None else weights,
        "activations": estimate_activations_mb(model.train(), shape, torch.float32),
    }
    known = [mb for mb in parts.values() if mb is not None]
    whole = sum(known) if len(known) == len(parts) else None
    return parts | {"total": whole}
