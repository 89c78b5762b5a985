"""Which form of an update a training can have: fused, as one CUDA graph, or the plain one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import Recipe
from smt_nas.train.steps.fused_optimizer import FUSED, prepare_momenta
from smt_nas.train.steps.graph_step import GraphStep, capture_cuda_graph
from smt_nas.train.steps.masked_update import MaskedUpdate
from smt_nas.train.steps.update_parts import Loss
from smt_nas.train.train_config import RunOptions


def can_fuse(recipe: Recipe, options: RunOptions) -> bool:
    """Whether the optimizer computes fused: on any device, where the fast path is wanted."""
    return bool(options.fast) and recipe.optimizer.name in FUSED


def wants_graph(options: RunOptions, group: ProcessGroup) -> bool:
    """Whether updates are to be replayed as a CUDA graph, if nothing is in the way."""
    return bool(options.fast) and group.device.type == "cuda"


def find_graph_obstacle(
    recipe: Recipe, options: RunOptions, group: ProcessGroup, has_teacher: bool
) -> str | None:
    """Why an update cannot be replayed as one CUDA graph on this GPU; None where it can."""
    obstacles = {
        "several processes share each update": group.size > 1,
        f"optimizer {recipe.optimizer.name} has no fused form": recipe.optimizer.name not in FUSED,
        "a teacher's outputs are needed in each update": has_teacher,
        "blocks are recomputed": options.grad_checkpointing,
        "torch.compile has graphs of its own": options.compile,
        "amp-fp16 sets its scale between updates": recipe.precision == "amp-fp16",
    }
    return next((reason for reason, holds in obstacles.items() if holds), None)


def describe_plain_step(reason: str) -> str:
    """A line for who wanted the fast form and does not get it."""
    return f"fast step: not as one CUDA graph ({reason}); each operator is started by itself."


def create_graph_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Any | None,
    loss: Loss,
    recipe: Recipe,
    device: torch.device,
    say: Callable[[str], None],
) -> GraphStep:
    """The step that replays an update.

    Args:
        model: on the device.
        optimizer: fused.
        average: timm's ModelEmaV3; None for none.
        loss: of a batch.
        recipe: precision and clipping.
        device: of all of these.
        say: is told where the network cannot be captured.
    """
    prepare_momenta(optimizer)
    limit = recipe.optimizer.clip_norm
    scalars = torch.zeros(len(optimizer.param_groups) + 2, device=device)
    enabled, weight, *rates = scalars.unbind()
    update = MaskedUpdate(
        model=model,
        optimizer=optimizer,
        average=None if average is None else average.module,
        loss=loss,
        precision=recipe.precision,
        clip_norm=float("inf") if limit is None else limit,
        enabled=enabled,
        rates=tuple(rates),
        average_weight=weight,
    )
    return GraphStep(
        update, average, lambda reason: say(describe_plain_step(reason)), capture_cuda_graph
    )
