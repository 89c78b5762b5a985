"""torch's fused optimizers: one kernel for all weights, which can leave an update out by itself.

The switches stand in the optimizer's groups. What a checkpoint keeps has them as an optimizer that
was never fused has, so a training may go on either way.

The kernels go through memory as it lies. Where a weight, its gradient and its moments are laid out
differently, the one for GPUs raises (https://github.com/pytorch/pytorch/issues/106951), and the one
for CPUs mixes up their numbers without a word (findings/torch_fused_adamw_cpu_mixes_layouts.sh).
So all are laid out as the weight is.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

FUSED = ("adam", "adamw", "sgd", "momentum")
"""timm's names of those that torch has in a fused form; the last two are both torch's SGD."""

_SWITCHES: dict[str, Any] = {"fused": True, "foreach": False}
_DEFAULTS: dict[str, Any] = {"fused": None, "foreach": None, "capturable": False}
_MOMENTUM = "momentum_buffer"


def fuse_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Let one of FUSED, fresh or just loaded, compute fused; on a GPU so that a graph can hold it.

    The counts of steps then lie beside the weights, and moments are laid out as they are.
    """
    for group in optimizer.param_groups:
        group.update(_SWITCHES)
        if "capturable" in group:
            group["capturable"] = group["params"][0].is_cuda
        for weight in group["params"]:
            state = optimizer.state.get(weight, {})
            for name, value in state.items():
                if name == "step":
                    state[name] = torch.as_tensor(value, dtype=torch.float32, device=weight.device)
                elif isinstance(value, Tensor) and value.shape == weight.shape:
                    state[name] = _lay_out_as(weight, value)


@torch.no_grad()
def align_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Lay gradients out as their weights; to be called before a fused step."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None and weight.grad.stride() != weight.stride():
                weight.grad = _lay_out_as(weight, weight.grad)


def _lay_out_as(weight: Tensor, value: Tensor) -> Tensor:
    """The same values in the layout of a weight of the same shape."""
    if value.stride() == weight.stride():
        return value
    sizes = zip(weight.shape, weight.stride(), value.stride(), strict=True)
    if all(own == other for size, own, other in sizes if size > 1):  # the same order in memory
        return value.as_strided(weight.shape, weight.stride())
    return torch.empty_like(weight, requires_grad=False).copy_(value)


def prepare_momenta(optimizer: torch.optim.Optimizer) -> None:
    """Give SGD with momentum its buffers before the first step.

    Its first step would make them with what is in memory, and if that step is left out they stay
    so. From 0, the first step gives the gradient, as it should.
    """
    for group in optimizer.param_groups:
        if not group.get("momentum"):
            continue
        for weight in group["params"]:
            state = optimizer.state[weight]
            if state.get(_MOMENTUM) is None:
                state[_MOMENTUM] = torch.zeros_like(weight)


def plain_state_dict(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """`optimizer.state_dict()` as an optimizer that is not fused would give it."""
    state: dict[str, Any] = optimizer.state_dict()
    groups = [
        {name: _DEFAULTS.get(name, value) for name, value in group.items()}
        for group in state["param_groups"]
    ]
    moments = {
        number: {name: _move_step(name, value) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {"state": moments, "param_groups": groups}


def _move_step(name: str, value: Any) -> Any:
    return value.cpu() if name == "step" and isinstance(value, Tensor) else value
