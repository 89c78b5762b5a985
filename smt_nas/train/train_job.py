"""One of many networks to train: up to an epoch, in some process, and what that gave."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions
from smt_nas.errors import SmtNasError, StoreError, one_line
from smt_nas.runtime.host import available_cores
from smt_nas.runtime.progress import NullProgress, TrainingStatus
from smt_nas.runtime.torch_settings import apply_torch_settings
from smt_nas.runtime.turns import Steps, finish
from smt_nas.train.data.examples import Source
from smt_nas.train.data.memory.holding import HoldingOptions, describe_obstacle, find_obstacle
from smt_nas.train.data.sources import make_splits
from smt_nas.train.processes.process_group import ProcessGroup, join_process_group
from smt_nas.train.processes.randomness import preserve_generators
from smt_nas.train.processes.training_context import OutOfMemory
from smt_nas.train.run import iterate_training
from smt_nas.train.steps.fast_form import (
    describe_plain_step,
    find_graph_obstacle,
    wants_graph,
)
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.training_state import TrainResult

_PROGRESS = ".progress"
_EVERY_S = 1.0


class MemoryReason(str):
    """Why a job failed, where it was for want of memory: alone it may not."""


JobResult = TrainResult | StoreError | str
"""What became of a job: a failure of the network is its reason, one of the disk is an error."""


@dataclass(frozen=True)
class TrainJob:
    """A training, as a worker process is told of it.

    Attributes:
        arch: the network, as the search knows it.
        request: the whole training.
        options: with the epoch to stop after.
        folder: of the training.
    """

    arch: Architecture
    request: TrainRequest
    options: RunOptions
    folder: Path

    def until(self, epoch: int) -> TrainJob:
        """The same, to stop after another epoch."""
        options = self.options.model_copy(update={"until_epoch": epoch})
        return replace(self, options=options)


class _ProgressFile(NullProgress):
    """Keeps how far a training is in its folder, for those who wait for it elsewhere."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _PROGRESS
        self._written: float | None = None

    def update(self, status: TrainingStatus) -> None:
        """Write it, at most every second."""
        now = time.monotonic()
        if self._written is not None and now - self._written < _EVERY_S:
            return
        self._written = now
        with contextlib.suppress(OSError):  # a full disk is told by what matters
            self._file.write_text(f"{status.epochs * status.done / status.total:.3f}\n", "ascii")


def read_epochs(folder: Path) -> float:
    """Epochs that a training has made so far, as its process last said; 0 before that."""
    try:
        return float((folder / _PROGRESS).read_text("ascii"))
    except (OSError, ValueError):  # not begun, or just being written
        return 0.0


def train_job(job: TrainJob) -> JobResult:
    """Train up to where the job says, from where its folder is.

    On one thread of the CPU, so that the weights do not depend on how many are trained at once.
    """
    return finish(_iterate(job, preserve_generators))


def iterate_job(job: TrainJob) -> Steps[JobResult]:
    """`train_job` in steps, for a process that trains several in turn.

    It leaves the global generators as the last update did.
    """
    return _iterate(job, lambda device: nullcontext())


def _iterate(
    job: TrainJob, generators: Callable[[torch.device], AbstractContextManager[None]]
) -> Steps[JobResult]:
    listener = _ProgressFile(job.folder)
    try:
        with single_process(job) as group, generators(group.device):
            return (
                yield from iterate_training(
                    job.request, job.options, job.folder, True, group, listener, job.arch
                )
            )
    except StoreError as error:
        return error
    except OutOfMemory as error:
        return MemoryReason(error)
    except SmtNasError as error:
        return str(error)
    except Exception as error:  # whatever a network does in training is one failed network
        return one_line(error)


def explain_slow_path(job: TrainJob, source: Source) -> list[str]:
    """Lines where such jobs will not have a part of the fast path, though they want it.

    The jobs themselves have nobody to tell.

    Args:
        job: one of them.
        source: its data.

    Raises:
        SmtNasError: of the data or the recipe.
    """
    if job.options.fast is False:
        return []
    lines = []
    with join_process_group(job.options.device) as group:
        config = job.request.to_config(job.arch, source, group.size)
        recipe, arch = config.recipe, config.arch
        splits = make_splits(source, recipe.validation, config.split_seed, recipe.images)
        options = HoldingOptions(group.device, arch.image_size, arch.in_channels)
        reason = find_obstacle(splits, recipe, options)
        if reason is not None:
            lines.append(describe_obstacle(reason))
        if wants_graph(job.options, group):
            has_teacher = config.teacher is not None
            reason = find_graph_obstacle(recipe, job.options, group, has_teacher)
            if reason is not None:
                lines.append(describe_plain_step(reason))
    return lines


@contextmanager
def single_process(job: TrainJob) -> Iterator[ProcessGroup]:
    """Where the job is to run, with one thread of the CPU."""
    one_thread = apply_torch_settings(Conditions(threads=1), torch.device("cpu"))
    with one_thread, join_process_group(job.options.device) as group:
        yield group


def reader_count(device: torch.device, processes: int) -> int | None:
    """Processes that read images, of each that trains; those on one GPU share the cores."""
    shared = device.type == "cuda" and processes > 1
    return max(1, available_cores() // processes) if shared else None
