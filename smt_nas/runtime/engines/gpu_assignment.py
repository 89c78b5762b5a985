"""Which GPU a worker gets: one each, in turns, by `CUDA_VISIBLE_DEVICES`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from smt_nas.runtime.nvml import list_gpus

VISIBLE = "CUDA_VISIBLE_DEVICES"


def list_assignable_gpus(*, nvml: Any = None) -> tuple[str, ...]:
    """Names of the GPUs that workers take turns in; none where there is only one, or none.

    A process that was shown some GPUs only (by SLURM, say) shares out those.
    """
    shown = os.environ.get(VISIBLE)
    if shown is None:
        gpus = [str(index) for index in range(len(list_gpus(nvml=nvml)))]
    else:
        gpus = [word.strip() for word in shown.split(",") if word.strip()]
    return tuple(gpus) if len(gpus) > 1 else ()


def assign_gpu(gpus: Sequence[str], slot: int) -> dict[str, str]:
    """The environment of the worker in a slot 0, 1, …; empty where there is nothing to assign."""
    return {VISIBLE: gpus[slot % len(gpus)]} if gpus else {}
