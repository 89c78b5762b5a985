"""The trainings of a proof: each distinct network once a seed, a row of proof.csv each.

What a worker does is in its folder at any moment: a training goes on from its checkpoint, what is
predicted of the test images is written before the row, and the row is added whole, under a lock.
"""

from __future__ import annotations

import csv
import io
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from benchmarks.proof_networks import resolve_candidate
from benchmarks.proof_setup import Block, Setup, write_array
from smt_nas import __version__, costs
from smt_nas.arch import Architecture
from smt_nas.errors import SmtNasError, StoreError, one_line
from smt_nas.files import append_synced, cut_torn_line, unwritable, write_atomic
from smt_nas.runtime.environment import read_environment
from smt_nas.runtime.turns import Steps, finish
from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_evaluation_batches,
)
from smt_nas.train.data.batches.transforms import create_evaluation_transform
from smt_nas.train.data.examples import Subset
from smt_nas.train.data.sources import load_source
from smt_nas.train.processes.lane import run_in_lane
from smt_nas.train.processes.process_group import join_process_group
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.train_job import TrainJob, iterate_job, train_job
from smt_nas.train.training_state import TrainResult
from smt_nas.train.weights.weights import build_network, read_weights

COLUMNS = (
    "data", "budget_mmacs", "candidate", "key", "seed", "val_top1", "test_top1", "test_n",
    "train_loss", "training_s", "images_per_s", "macs", "params", "device", "versions",
)  # fmt: skip
_FULL = "Free some space and start again: the rows before are kept."
_EVAL_BATCH = 250
_NAP_S = 0.2


@dataclass(frozen=True)
class ProofRow:
    """One training.

    Attributes:
        data: of DATA_SETS.
        key: of the network, at that input.
        seed: of the training.
        val_top1: best on the validation images, in 0..1.
        test_top1: of the same weights on the test images.
        images_per_s: of the training.
        device: where, in words.
    """

    data: str
    key: str
    seed: int
    val_top1: float
    test_top1: float
    images_per_s: float
    device: str


@dataclass(frozen=True)
class ProofTask:
    """A candidate to train with a seed."""

    setup: Setup
    block: Block
    candidate: str
    seed: int
    options: RunOptions

    @property
    def name(self) -> str:
        """In messages."""
        return f"{self.block.label} {self.candidate} seed {self.seed}"


@dataclass(frozen=True)
class TaskResult:
    """What became of a task.

    Attributes:
        row: of the training; None where there is no such candidate, or it failed.
        failure: why it failed.
        stopped: it was told to stop.
        was_there: its row was, or is that of a candidate with the same network.
    """

    row: ProofRow | None = None
    failure: str | None = None
    stopped: bool = False
    was_there: bool = False


def list_tasks(
    setup: Setup, names: Sequence[str], seeds: int, options: RunOptions
) -> list[ProofTask]:
    """All trainings, in an order of which any beginning is useful: block by block, seed by seed."""
    return [
        ProofTask(setup, block, name, seed, options)
        for block in setup.list_blocks()
        for seed in range(seeds)
        for name in names
    ]


def run_task(task: ProofTask) -> TaskResult | StoreError:
    """Decide the candidate where it is not yet, train it, and add its row; in a worker."""
    return finish(iterate_task(task, train_in_steps=False))


def run_in_turn(task: ProofTask) -> Steps[TaskResult | StoreError]:
    """The same in steps, for workers that train several networks in turn, each in its lane."""
    return run_in_lane(iterate_task(task, train_in_steps=True), torch.device(task.setup.device))


def iterate_task(task: ProofTask, train_in_steps: bool) -> Steps[TaskResult | StoreError]:
    """`run_task` in steps."""
    try:
        return (yield from _iterate(task, train_in_steps))
    except StoreError as error:
        return error
    except SmtNasError as error:
        return TaskResult(failure=str(error))
    except Exception as error:  # e.g. out of memory: one failed training
        return TaskResult(failure=one_line(error))


def _iterate(task: ProofTask, train_in_steps: bool) -> Steps[TaskResult | StoreError]:
    setup, data = task.setup, task.block.data
    arch = resolve_candidate(setup, task.block, task.candidate)
    if arch is None:
        return TaskResult()
    folder = setup.folder / "trainings" / f"{data}-{arch.key}-{task.seed}"
    lock = FileLock(f"{folder}.lock", timeout=0)  # two candidates may be one network
    while True:
        try:
            lock.acquire()
        except Timeout:
            yield
            if not train_in_steps:  # else others of this process have their turn meanwhile
                time.sleep(_NAP_S)
        else:
            break
    try:
        row = find_row(setup.table, data, arch.key, task.seed)
        if row is not None:
            return TaskResult(row, was_there=True)
        job = _make_job(task, arch, folder)
        result = (yield from iterate_job(job)) if train_in_steps else train_job(job)
        if isinstance(result, StoreError):
            return result
        if not isinstance(result, TrainResult):
            return TaskResult(failure=result)
        if result.interrupted or result.stop_requested:
            return TaskResult(stopped=True)
        predicted = predict_test_images(folder, setup, data)
        labels = np.load(setup.labels(data))
        write_array(setup.predictions(data, arch.key, task.seed), predicted)
        assert result.best is not None and result.best.val_top1 is not None
        stamp = read_environment(setup.device)
        row = ProofRow(
            data=data,
            key=arch.key,
            seed=task.seed,
            val_top1=result.best.val_top1,
            test_top1=float(np.mean(predicted == labels)),
            images_per_s=result.images_per_s or 0.0,
            device=str(stamp["gpu"] or stamp["cpu"]),
        )
        _append_row(task, arch, row, result, len(labels))
        shutil.rmtree(folder, ignore_errors=True)
        return TaskResult(row)
    finally:
        lock.release()


def _make_job(task: ProofTask, arch: Architecture, folder: Path) -> TrainJob:
    setup, data = task.setup, task.block.data
    request = TrainRequest(
        name=arch.key,
        data=setup.spec(data),
        recipe=str(setup.recipe),
        changes=setup.recipe_changes(data, setup.epochs, setup.images, setup.precision),
        epochs=setup.epochs,
        seed=task.seed,
    )
    return TrainJob(arch, request, task.options.model_copy(update={"keep": 1}), folder)


def predict_test_images(folder: Path, setup: Setup, data: str) -> NDArray[np.uint8]:
    """Classes that the best weights of a training predict of the test images, (n,).

    Raises:
        SmtNasError: the weights or the data.
    """
    loaded = read_weights(folder)
    card, test = loaded.card, load_source(setup.spec(data)).test
    assert card is not None and test is not None
    n = len(test) if setup.test_images is None else min(setup.test_images, len(test))
    images = Subset(test, np.arange(n))
    transform = create_evaluation_transform(
        card.evaluation, card.image_size, card.arch.in_channels, card.mean, card.std
    )
    with join_process_group(setup.device) as group, torch.inference_mode():
        model = build_network(loaded).to(group.device)
        classes = [
            model(batch.to(group.device)).argmax(dim=1).cpu()
            for batch, _ in load_evaluation_batches(
                images, transform, _EVAL_BATCH, 0, 1, ReaderOptions(), UnreadableImages(0)
            )
        ]
    return torch.cat(classes).numpy().astype(np.uint8)


def _append_row(
    task: ProofTask, arch: Architecture, row: ProofRow, result: TrainResult, test_n: int
) -> None:
    """Add a row, and wait until the disk has it; a line that a crash tore is cut off first."""
    stamp = read_environment(task.setup.device)
    cost = costs.of(arch)
    cells = (
        row.data, f"{task.block.mmacs:g}", task.candidate, row.key, row.seed,
        f"{row.val_top1:.6g}", f"{row.test_top1:.6g}", test_n,
        f"{result.history[-1].train_loss:.5g}",
        f"{sum(epoch.seconds or 0.0 for epoch in result.history):.1f}",
        f"{row.images_per_s:.1f}", cost.macs, cost.params,
        row.device,
        f"smt-nas {__version__}, torch {stamp['torch']}, {str(stamp['date'])[:10]}",
    )  # fmt: skip
    table = task.setup.table
    with FileLock(f"{table}.lock"):
        try:
            if not table.is_file():
                write_atomic(table, _format_line(COLUMNS))
            cut_torn_line(table)
            with table.open("ab") as file:
                append_synced(file, _format_line(cells).encode())
        except OSError as error:
            raise unwritable(table, error, _FULL) from error


def _format_line(cells: Sequence[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def find_row(table: Path, data: str, key: str, seed: int) -> ProofRow | None:
    """The row of a training, if there is one. Raises StoreError."""
    rows = read_rows(table)
    return next((r for r in rows if (r.data, r.key, r.seed) == (data, key, seed)), None)


def read_rows(table: Path) -> Iterator[ProofRow]:
    """Rows that are whole.

    Raises:
        StoreError: a cell is missing or is no number; says which line.
    """
    if not table.is_file():
        return
    text = table.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    for number, cells in enumerate(csv.DictReader(io.StringIO(whole)), 2):
        try:
            yield ProofRow(
                data=cells["data"],
                key=cells["key"],
                seed=int(cells["seed"]),
                val_top1=float(cells["val_top1"]),
                test_top1=float(cells["test_top1"]),
                images_per_s=float(cells["images_per_s"]),
                device=cells["device"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{table}, line {number}: must be a row of a proof (got: {one_line(error)}). Drop "
                "it."
            ) from error
