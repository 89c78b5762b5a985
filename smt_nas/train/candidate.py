"""One of many networks to train: up to an epoch, in some process, and what that gave."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions
from smt_nas.errors import SmtNasError, StoreError, one_line
from smt_nas.runtime.host import available_cores
from smt_nas.runtime.progress import NullProgress
from smt_nas.runtime.torch_settings import apply_torch_settings
from smt_nas.train.process_group import World, joined
from smt_nas.train.run import Asked, start
from smt_nas.train.settings import How
from smt_nas.train.train_result import Finished

Answer = Finished | StoreError | str
"""What became of a job: a failure of the network is its reason, one of the disk is an error."""


@dataclass(frozen=True)
class Job:
    """A training, as a worker process is told of it.

    Attributes:
        arch: the network, as the search knows it.
        asked: the whole training.
        how: with the epoch to stop after.
        folder: of the training.
    """

    arch: Architecture
    asked: Asked
    how: How
    folder: Path

    def until(self, epoch: int) -> Job:
        """The same, to stop after another epoch."""
        return replace(self, how=self.how.model_copy(update={"until_epoch": epoch}))


def trained(job: Job) -> Answer:
    """Train up to where the job says, from where its folder is.

    On one thread of the CPU, so that the weights do not depend on how many are trained at once.
    """
    try:
        with alone(job) as world:
            return start(job.asked, job.how, job.folder, True, world, NullProgress(), job.arch)
    except StoreError as error:
        return error
    except SmtNasError as error:
        return str(error)
    except Exception as error:  # whatever a network does in training is one failed network
        return one_line(error)


@contextmanager
def alone(job: Job) -> Iterator[World]:
    """Where the job is to run, with one thread of the CPU."""
    with (
        apply_torch_settings(Conditions(threads=1), torch.device("cpu")),
        joined(job.how.device) as world,
    ):
        yield world


def readers(device: torch.device, processes: int) -> int | None:
    """Processes that read images, of each that trains; those on one GPU share the cores."""
    shared = device.type == "cuda" and processes > 1
    return max(1, available_cores() // processes) if shared else None
