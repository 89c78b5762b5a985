"""torch's fused optimizers: one kernel for all weights, which can leave an update out by itself.

The switches stand in the optimizer's groups. What a checkpoint keeps has them as an optimizer that
was never fused has, so a training may go on either way.
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

    The counts of steps then lie beside the weights.
    """
    for group in optimizer.param_groups:
        group.update(_SWITCHES)
        if "capturable" in group:
            group["capturable"] = group["params"][0].is_cuda
        for weight in group["params"]:
            state = optimizer.state.get(weight, {})
            if "step" in state:
                state["step"] = torch.as_tensor(
                    state["step"], dtype=torch.float32, device=weight.device
                )


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
