"""One of many networks to train: up to an epoch, in some process, and what that gave."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.devices.conditions import Conditions
from smt_nas.errors import SmtNasError, StoreError, one_line
from smt_nas.profilers.switches import all_threads, switched
from smt_nas.train.begin import Asked, start
from smt_nas.train.listener import Moment, Silence
from smt_nas.train.outcome import Finished
from smt_nas.train.progress import Row
from smt_nas.train.settings import How
from smt_nas.train.world import World, joined

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
        leader: process that asks for it; where it is gone, the training ends.
    """

    arch: Architecture
    asked: Asked
    how: How
    folder: Path
    leader: int

    def until(self, epoch: int) -> Job:
        """The same, to stop after another epoch."""
        return replace(self, how=self.how.model_copy(update={"until_epoch": epoch}))


@dataclass(frozen=True)
class Arrived:
    """A network that was trained up to a rung.

    Attributes:
        job: its training.
        rows: of the epochs up to the rung.
        macs: of the network as trained.
        top1: share of the validation split, after the last of these epochs.
        images_per_s: of its training so far.
    """

    job: Job
    rows: tuple[Row, ...]
    macs: int
    top1: float
    images_per_s: float | None

    @property
    def seconds(self) -> float:
        """What its epochs took, without evaluating and saving."""
        return sum(row["seconds"] or 0.0 for row in self.rows)


def trained(job: Job) -> Answer:
    """Train up to where the job says, from where its folder is.

    On one thread of the CPU, so that the weights do not depend on how many are trained at once.
    """
    try:
        with alone(job) as world:
            led = _Led(job.leader)
            return start(job.asked, job.how, job.folder, True, world, led, job.arch)
    except StoreError as error:
        return error
    except SmtNasError as error:
        return str(error)
    except Exception as error:  # whatever a network does in training is one failed network
        return one_line(error)


@contextmanager
def alone(job: Job) -> Iterator[World]:
    """Where the job is to run, with one thread of the CPU."""
    with switched(Conditions(threads=1), torch.device("cpu")), joined(job.how.device) as world:
        yield world


class _Led(Silence):
    """Ends a training whose leader was killed: its folder must be free for the one that goes on."""

    def __init__(self, leader: int) -> None:
        self._leader = leader

    def update(self, moment: Moment) -> None:
        """Look after an update."""
        self._look()

    def evaluated(self, done: int, total: int | None) -> None:
        """Look after a batch of an evaluation."""
        self._look()

    def _look(self) -> None:
        if self._leader not in (os.getpid(), os.getppid()):
            sys.exit(1)


def readers(device: torch.device, processes: int) -> int | None:
    """Processes that read images, of each that trains; those on one GPU share the cores."""
    shared = device.type == "cuda" and processes > 1
    return max(1, all_threads() // processes) if shared else None


def arrived(job: Job, epoch: int, finished: Finished) -> Arrived | str:
    """A training at a rung, or why it cannot be compared there."""
    rows = finished.history[:epoch]
    top1 = rows[-1]["val_top1"]
    if top1 is None:
        return f"epoch {epoch}: no image of the validation split could be read."
    macs = costs.of(finished.arch).macs
    return Arrived(job, rows, macs, top1, finished.images_per_s)
