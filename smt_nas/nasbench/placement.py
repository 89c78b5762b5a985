"""Where the trainings of a bench run: so many processes, and so many at once in each.

Small networks leave most of a GPU idle. Processes get it in turn, so several trainings in one
process, each on a stream of its own, fill it better; a second process starts kernels while the
first is busy with its own Python.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from smt_nas.errors import ConfigError
from smt_nas.runtime.engines.process_pool import default_workers
from smt_nas.train.processes.process_group import join_process_group
from smt_nas.train.train_config import RunOptions
from smt_nas.train.train_job import reader_count

GPU_PROCESSES = 2
PER_PROCESS = 8
_BYTES = 2e9  # of a GPU for one training of a small network, with its graph


@dataclass(frozen=True)
class Placement:
    """Where trainings run.

    Attributes:
        processes: that train.
        per_process: trainings at once in each.
        options: of each training.
        device_type: `cpu` or `cuda`.
    """

    processes: int
    per_process: int
    options: RunOptions
    device_type: str


def choose_placement(
    device: str | None, workers: int | None, per_process: int | None, fast: bool = True
) -> Placement:
    """Choose what is not asked for.

    Args:
        device: as `devices.resolve` takes it; None takes the GPU, if any.
        workers: processes.
        per_process: trainings at once in each; more than one on a GPU alone.
        fast: they take the fast path.

    Raises:
        SmtNasError: there is no such device.
        ConfigError: several trainings a process, on a CPU.
    """
    with join_process_group(device) as group:
        on_gpu = group.device.type == "cuda"
        if not on_gpu and (per_process or 1) > 1:
            raise ConfigError(
                f"--per-process: must be 1 on a CPU, where a training keeps a core busy (got "
                f"{per_process}). Use --workers."
            )
        processes = workers or (GPU_PROCESSES if on_gpu else default_workers())
        at_once = per_process or (_count_that_fit(group.device, processes) if on_gpu else 1)
        readers = reader_count(group.device, processes * at_once)
        options = RunOptions(device=device, workers=readers, fast=fast)
        return Placement(processes, at_once, options, group.device.type)


def _count_that_fit(device: torch.device, processes: int) -> int:
    """Trainings that a GPU's free memory holds, for each process."""
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(PER_PROCESS, int(free / _BYTES / processes)))
