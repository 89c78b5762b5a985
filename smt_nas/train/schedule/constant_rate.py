"""A constant learning rate with a warm-up and a cooldown, both linear.

Haegele et al. 2024 (https://arxiv.org/abs/2405.18392) and Hu et al. 2024
(https://arxiv.org/abs/2404.06395) find it as good as a cosine; what comes before the cooldown does
not depend on how long the training is to be. timm's WSDLRScheduler gives the same rates, but
only the newest timm has it, and older ones are allowed.
"""

from __future__ import annotations

import torch
from timm.scheduler.scheduler import Scheduler


class ConstantRateScheduler(Scheduler):  # type: ignore[misc]  # timm has no types
    """timm's interface, by update; so the optimizer's factors of each layer count as there.

    Args:
        optimizer: its rates are set; those that it has are the constant ones.
        warmup: updates of the warm-up.
        warmup_lr: at update 0, where there is a warm-up.
        fall: update from which the rate falls.
        total: update at which it would reach `min_lr`, one after the last.
        min_lr: see there.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        warmup: int,
        warmup_lr: float,
        fall: int,
        total: int,
        min_lr: float,
    ) -> None:
        super().__init__(optimizer, param_group_field="lr", t_in_epochs=False)
        self._warmup, self._warmup_lr = warmup, warmup_lr
        self._fall, self._total, self._min_lr = fall, total, min_lr
        self.step_update(0)

    def _get_lr(self, t: int) -> list[float]:
        """The rates of update `t`, one a group."""
        if t < self._warmup:
            share = t / self._warmup
            return [self._warmup_lr + share * (rate - self._warmup_lr) for rate in self.base_values]
        left = 1.0 if t < self._fall else max(0, self._total - t) / (self._total - self._fall)
        return [self._min_lr + left * (rate - self._min_lr) for rate in self.base_values]
