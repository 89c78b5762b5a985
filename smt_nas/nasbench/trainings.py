"""The trainings of one network of a bench: one for each budget of epochs, all from one trunk."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from smt_nas import __version__
from smt_nas.errors import SmtNasError, StoreError, one_line
from smt_nas.nasbench.rows import REQUIRED, BenchRow
from smt_nas.runtime.environment import read_environment
from smt_nas.runtime.progress import NullProgress
from smt_nas.runtime.turns import Steps, finish
from smt_nas.train.data.sources import load_source
from smt_nas.train.evaluate_weights import EvalRequest, evaluate_weights
from smt_nas.train.processes.lane import run_in_lane
from smt_nas.train.processes.process_group import ProcessGroup, join_process_group
from smt_nas.train.schedule.branches import branch_training
from smt_nas.train.train_job import (
    JobResult,
    MemoryReason,
    TrainJob,
    iterate_job,
    single_process,
    train_job,
)
from smt_nas.train.training_directory import is_training_directory
from smt_nas.train.training_state import TrainResult

Outcome = BenchRow | StoreError | str | None
"""Of a training: its row; a fault of the disk; why it failed; None where it was told to stop."""


@dataclass(frozen=True)
class TrainingTask:
    """The trainings of a network that a bench lacks, as a worker process is told of them.

    Attributes:
        job: the longest; the others branch off from it.
        group: why the network is in the plan.
        branches: the shorter ones, the shortest first.
    """

    job: TrainJob
    group: str
    branches: tuple[TrainJob, ...] = ()

    @property
    def jobs(self) -> tuple[TrainJob, ...]:
        """All, in the order in which they end."""
        return (*self.branches, self.job)


def train_and_score(task: TrainingTask) -> list[Outcome]:
    """Train a network and score it on validation and test images.

    Returns: what became of `task.jobs`, in their order, up to the first that gave no row.
    """
    return finish(_train_all(task, _train_in_one_go))


def train_in_turn(task: TrainingTask) -> Steps[list[Outcome]]:
    """`train_and_score` in steps, in a lane of its device."""
    with join_process_group(task.job.options.device) as process_group:
        return run_in_lane(_train_all(task, iterate_job), process_group.device)


def _train_in_one_go(job: TrainJob) -> Steps[JobResult]:
    yield from ()
    return train_job(job)


def _train_all(
    task: TrainingTask, train: Callable[[TrainJob], Steps[JobResult]]
) -> Steps[list[Outcome]]:
    outcomes: list[Outcome] = []
    for job in task.jobs:
        outcome = yield from _train_one(task, job, train)
        outcomes.append(outcome)
        if not isinstance(outcome, BenchRow):
            break
    return outcomes


def _train_one(
    task: TrainingTask, job: TrainJob, train: Callable[[TrainJob], Steps[JobResult]]
) -> Steps[Outcome]:
    branches_off = job in task.branches
    result = (yield from _branch_off(task.job, job, train)) if branches_off else None
    if result is None:
        result = yield from train(job)
    if not isinstance(result, TrainResult):
        return result
    if result.stop_requested:
        return None
    try:
        with single_process(job) as process_group:
            row = _score_row(job, task.group, result, process_group)
    except StoreError as error:
        return error
    except SmtNasError as error:
        return str(error)
    except torch.OutOfMemoryError as error:
        return MemoryReason(one_line(error))
    except Exception as error:  # whatever it is, one failed training
        return one_line(error)
    lacking = [name for name in REQUIRED if not math.isfinite(row.figures.get(name, math.nan))]
    return f"its {lacking[0]} is no finite number" if lacking else row


def _branch_off(
    trunk: TrainJob, branch: TrainJob, train: Callable[[TrainJob], Steps[JobResult]]
) -> Steps[JobResult | None]:
    """Let a branch begin where the trunk is, once that is as far as both are the same.

    A trunk that is past it, of a build with fewer budgets, is left alone: the branch then is
    trained from its beginning, to the same end.

    Returns: None where the branch can go on; else why not.
    """
    if is_training_directory(branch.folder):
        return None
    epochs = branch.request.epochs
    assert epochs is not None
    options = trunk.options.model_copy(update={"until_fall_of": epochs})
    result = yield from train(replace(trunk, options=options))
    if not isinstance(result, TrainResult) or result.stop_requested:
        return result
    try:
        branch_training(trunk.folder, branch.folder, epochs)
    except StoreError as error:
        return error
    return None


def _score_row(
    job: TrainJob, group: str, result: TrainResult, process_group: ProcessGroup
) -> BenchRow:
    assert result.best is not None and result.weights is not None
    figures = {
        "val_top1": result.best.val_top1,
        "val_loss": result.best.val_loss,
        "train_loss": result.history[-1].train_loss,
        "seconds": sum(row.seconds or 0.0 for row in result.history),
    }
    if load_source(job.request.data).test is not None:
        score = evaluate_weights(
            EvalRequest(weights=result.weights, split="test"),
            process_group,
            NullProgress(),
            hold=job.options.fast is not False,
        ).score
        figures |= {"test_top1": score.top1, "test_loss": score.loss}
    stamp = read_environment(str(process_group.device))
    return BenchRow(
        arch=job.arch,
        group=group,
        seed=job.request.seed,
        figures={name: float(v) for name, v in figures.items() if v is not None},
        device=str(stamp["gpu"] or stamp["cpu"]),
        versions=f"smt-nas {__version__}, torch {stamp['torch']}, {str(stamp['date'])[:10]}",
        epochs=job.request.epochs,
    )
