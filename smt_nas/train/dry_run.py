"""What a training would be, without training: steps, learning rates, memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

import torch

from smt_nas import costs
from smt_nas.arch import load_arch
from smt_nas.models import build
from smt_nas.profilers.memory_estimate import estimate_activations_mb
from smt_nas.runtime.progress import TrainingWarning
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source, make_splits
from smt_nas.train.learner import check_optimizer, create_scheduler
from smt_nas.train.planning.training_warnings import list_plan_warnings
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import Recipe
from smt_nas.train.train_config import RunOptions, TrainConfig, TrainRequest

_POINTS = 32  # of the curve that is shown
_MOMENTS = {"adamw": 2, "adam": 2, "nadamw": 2, "lamb": 2, "sgd": 1, "momentum": 1, "lion": 1}
"""Numbers an optimizer keeps for each weight; by timm's names, where that is sure."""


@dataclass(frozen=True)
class DryRun:
    """What a training would be.

    Attributes:
        recipe_yaml: the resolved recipe.
        recipe_name: of it.
        recipe_chosen: it was not named, but chosen and fitted to the images.
        data: as the user wrote it.
        classes: number of them.
        train_n: images trained on.
        validation_n: images held out.
        processes: of the training.
        batch: images of one process in one step.
        images_an_update: of all processes and steps.
        updates_an_epoch: updates that an epoch's images make up.
        updates: of the whole training.
        curve: (update, learning rate), ascending; the first, the peak and the last among them.
        parameters: learned numbers of the network.
        macs: for one image.
        memory_mb: of one process, MB of 1e6 bytes, by what holds it: weights, gradients,
            optimizer, ema, activations, total; None where it is not known.
        remarks: lines on what of the data is not used.
        warnings: what is to be feared of it.
    """

    recipe_yaml: str
    recipe_name: str
    recipe_chosen: bool
    data: str
    classes: int
    train_n: int
    validation_n: int
    processes: int
    batch: int
    images_an_update: int
    updates_an_epoch: int
    updates: int
    curve: tuple[tuple[int, float], ...]
    parameters: int
    macs: int
    memory_mb: Mapping[str, float | None]
    remarks: tuple[str, ...] = ()
    warnings: tuple[TrainingWarning, ...] = ()


def dry_run(request: TrainRequest, options: RunOptions, group: ProcessGroup) -> DryRun:
    """What a training would be; nothing is written.

    It may be of another machine: precision, first weights and teacher are not tried.

    Raises:
        SmtNasError: of the network, the data or the recipe, as `start_training` would.
    """
    source = group.run_on_all(lambda: load_source(request.data))
    arch = group.run_on_all(lambda: load_arch(request.name))
    config = group.run_on_all(lambda: request.to_config(arch, source, group.size))
    chosen = request.recipe is None
    return group.run_on_all(lambda: _work_out(config, chosen, options, source))


def _work_out(config: TrainConfig, chosen: bool, options: RunOptions, source: Source) -> DryRun:
    """Counts, rates and an estimate of the memory of one process.

    Raises:
        TrainingError: the data have fewer images than one update needs.
        ConfigError: timm has no such optimizer.
    """
    recipe, processes = config.recipe, config.processes
    check_optimizer(recipe)
    splits = make_splits(source, recipe.validation, config.split_seed, recipe.images)
    sampler = BatchSampler(
        len(splits.train), recipe.batch_size, processes, recipe.accumulation, config.seed
    )
    cost = costs.of(config.arch)
    updates = recipe.epochs * sampler.updates_per_epoch
    return DryRun(
        recipe_yaml=recipe.to_yaml(),
        recipe_name=config.recipe_name,
        recipe_chosen=chosen,
        data=config.data,
        classes=len(source.classes),
        train_n=len(splits.train),
        validation_n=len(splits.validation),
        processes=processes,
        batch=recipe.batch_size,
        images_an_update=config.images_per_update,
        updates_an_epoch=sampler.updates_per_epoch,
        updates=updates,
        curve=_sample_rates(recipe, config.images_per_update, sampler.updates_per_epoch),
        parameters=cost.params,
        macs=cost.macs,
        memory_mb=_estimate_memory(config, options, cost.params),
        remarks=source.remarks,
        warnings=list_plan_warnings(recipe, updates, len(splits.validation), config.init is None),
    )


def _sample_rates(recipe: Recipe, images: int, updates: int) -> tuple[tuple[int, float], ...]:
    """Learning rates at some updates, the first, those where it bends and the last among them.

    Args:
        recipe: with its rates.
        images: an update.
        updates: an epoch.
    """
    total = recipe.epochs * updates
    bends = {round(recipe.warmup_epochs * updates), recipe.find_fall(updates)}
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=recipe.optimizer.scale_rates(images).lr)
    scheduler = create_scheduler(optimizer, recipe, images, updates)
    curve = []
    for update in _choose_updates(total, bends):
        scheduler.step_update(update)
        curve.append((update, float(optimizer.param_groups[0]["lr"])))
    return tuple(curve)


def _choose_updates(total: int, bends: Set[int]) -> Sequence[int]:
    even = {round(i * (total - 1) / (_POINTS - 1)) for i in range(_POINTS)}
    return sorted(even | {min(update, total - 1) for update in bends})


def _estimate_memory(
    config: TrainConfig, options: RunOptions, parameters: int
) -> dict[str, float | None]:
    """Of one process, by what holds it. Activations as in fp32: in amp they are fewer."""
    recipe, arch = config.recipe, config.arch
    weights = 4 * parameters / 1e6
    model = build(arch, device="meta")
    model.set_grad_checkpointing(options.grad_checkpointing)
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
    total = sum(known) if len(known) == len(parts) else None
    return parts | {"total": total}
