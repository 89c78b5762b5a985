"""An update as one chain of operators that never waits for the device: what a CUDA graph can hold.

It computes what `Learner.update` computes. Whether it is made is decided on the device: where the
gradients are not finite, the optimizer, the moving average and the buffers are left as they were.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smt_nas.train.steps.fused_optimizer import align_gradients
from smt_nas.train.steps.update_parts import Batch, Loss, autocast


@dataclass(frozen=True)
class MaskedUpdate:
    """An update of a network, where the optimizer is fused.

    Attributes:
        model: the network; in train mode.
        optimizer: one of `fused_optimizer.FUSED`, prepared there.
        average: the module of the moving average; None for none.
        loss: of a batch.
        precision: of the recipe; no fp16, whose scale is kept on the host.
        clip_norm: largest norm of all gradients together; infinite for no clipping.
        enabled: whether updates are made, (); 0 leaves each out, as one that is not finite.
        rates: the learning rate of each group, () each.
        average_weight: share of the new weights in the moving average, ().
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    average: nn.Module | None
    loss: Loss
    precision: str
    clip_norm: float
    enabled: Tensor
    rates: tuple[Tensor, ...]
    average_weight: Tensor

    def compute(self, batches: Sequence[Batch]) -> Tensor:
        """Make an update of batches on the device; (2,): the mean loss, and whether it was made."""
        self.optimizer.zero_grad(set_to_none=True)
        buffers = _FlatBuffers(self.model)
        losses = [self._backward(*batch, len(batches)) for batch in batches]
        align_gradients(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        is_updated = torch.isfinite(norm) & (self.enabled > 0)
        self._step(is_updated)
        buffers.keep_if(is_updated)
        if self.average is not None:
            self._update_average(self.average, is_updated)
        return torch.stack([torch.stack(losses).mean(), is_updated.float()])

    def _backward(self, images: Tensor, targets: Tensor, batches: int) -> Tensor:
        """Forward and backward over one batch. Returns the loss, detached."""
        with autocast(self.precision, images.device, cache=False):
            loss = self.loss(images, self.model(images), targets)
        (loss / batches).backward()  # type: ignore[no-untyped-call]
        return loss.detach().float()

    def _step(self, is_updated: Tensor) -> None:
        """The optimizer's step; what it is told by `found_inf` it leaves out by itself.

        torch's GradScaler tells it so: torch/amp/grad_scaler.py, `step`.
        """
        optimizer: Any = self.optimizer
        rates = [group["lr"] for group in optimizer.param_groups]
        for group, rate in zip(optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate
        optimizer.found_inf = (~is_updated).float()
        try:
            optimizer.step()
        finally:
            del optimizer.found_inf
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    @torch.no_grad()
    def _update_average(self, average: nn.Module, is_updated: Tensor) -> None:
        """timm's ModelEmaV3, with a weight that is on the device."""
        own, new = list(average.state_dict().values()), list(self.model.state_dict().values())
        floats = [i for i, tensor in enumerate(own) if tensor.is_floating_point()]
        averaged = [own[i] for i in floats]
        changes = torch._foreach_sub([new[i] for i in floats], averaged)
        torch._foreach_mul_(changes, self.average_weight * is_updated)
        torch._foreach_add_(averaged, changes)
        for tensor, value in zip(own, new, strict=True):
            if not tensor.is_floating_point():
                tensor.copy_(value)


class _FlatBuffers:
    """The buffers of a network as they are now, a flat tensor for each type.

    Batch norms have many small ones: joined, they are kept and put back by a few kernels.
    """

    def __init__(self, model: nn.Module) -> None:
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for buffer in model.buffers():
            by_type.setdefault(buffer.dtype, []).append(buffer)
        self._buffers = list(by_type.values())
        self._before = [_join(buffers) for buffers in self._buffers]

    @torch.no_grad()
    def keep_if(self, is_updated: Tensor) -> None:
        """Leave the buffers as they are now, or put back what was before."""
        for buffers, before in zip(self._buffers, self._before, strict=True):
            chosen = torch.where(is_updated, _join(buffers), before)
            parts = torch.split(chosen, [buffer.numel() for buffer in buffers])
            shaped = [part.view(buffer.shape) for part, buffer in zip(parts, buffers, strict=True)]
            torch._foreach_copy_(buffers, shaped)


def _join(buffers: Sequence[Tensor]) -> Tensor:
    return torch.cat([buffer.detach().reshape(-1) for buffer in buffers])
