"""Building a bench: every network of a plan trained by one recipe, one row of the table each.

A build may be stopped in any way and goes on where it was: rows are appended in the order of
the tasks, and a training that is whole or under way, but has no row yet, goes on in its folder.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from smt_nas import __version__
from smt_nas.budgets import parse_budget
from smt_nas.errors import ConfigError, SmtNasError, StoreError, one_line
from smt_nas.files import locked, make_folder
from smt_nas.fingerprint import fingerprint
from smt_nas.nasbench.encoding import Input
from smt_nas.nasbench.plan import SEEDS, PlannedNetwork, plan_networks
from smt_nas.nasbench.rows import REQUIRED, BenchRow
from smt_nas.nasbench.store import append_row, prepare_table, recover_rows
from smt_nas.nasbench.table import TABLE, BenchCard
from smt_nas.runtime.engine import make_engine
from smt_nas.runtime.environment import read_environment
from smt_nas.runtime.process_pool import default_workers
from smt_nas.runtime.progress import NullProgress, ProgressListener
from smt_nas.space import SearchSpace
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source, shorten_spec
from smt_nas.train.evaluate_weights import EvalRequest, evaluate_weights
from smt_nas.train.processes.process_group import ProcessGroup, join_process_group
from smt_nas.train.recipe import load_recipe
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.train_job import TrainJob, reader_count, single_process, train_job
from smt_nas.train.training_state import TrainResult

_SCRATCH = "trainings"
_ON_A_GPU = 4  # small networks leave most of one idle
_ANOTHER = "Choose another --out."
_LICENCES = {
    "fashion-mnist": "Fashion-MNIST: MIT, Copyright (c) 2017 Zalando SE",
    "digits": "digits: UCI ML hand-written digits, as in scikit-learn (BSD-3-Clause)",
    "mnist": "MNIST: CC BY-SA 3.0, Y. LeCun and C. Cortes",
    "kmnist": "KMNIST: CC BY-SA 4.0, ROIS-DS Center for Open Data in the Humanities",
}


@dataclass(frozen=True)
class BuildRequest:
    """A bench to build.

    Attributes:
        space: name or path of the search space.
        data: as `load_source` takes it.
        recipe: name or path of the recipe.
        n: networks.
        low: fewest MACs of one.
        high: most MACs of one.
        seed: of the plan; trainings have seeds of their own.
        trainings: of every network, at least.
    """

    space: str
    data: str
    recipe: str = "bench"
    n: int = 200
    low: float = 5e6
    high: float = 40e6
    seed: int = 0
    trainings: int = 1

    @classmethod
    def read(
        cls, space: str, data: str, recipe: str, n: int, macs: str, seed: int, trainings: int
    ) -> BuildRequest:
        """Read the range of MACs, e.g. `5..40MMACs`. Raises ConfigError."""
        budget = parse_budget(macs)
        if budget.metric != "macs" or budget.low is None or budget.high is None:
            raise ConfigError(f"--macs: must be a range of MACs (got {macs}). E.g. 5..40MMACs.")
        return cls(space, data, recipe, n, budget.low, budget.high, seed, trainings)


def default_folder(request: BuildRequest) -> Path:
    """`runs/bench-SPACE-DATA`; a build that is there goes on."""
    return Path("runs") / f"bench-{Path(request.space).stem}-{shorten_spec(request.data)}"


@dataclass(frozen=True)
class BuildResult:
    """What is there after a build.

    Attributes:
        table: the CSV.
        trainings: rows of it.
        planned: rows of a whole one.
        networks: of a whole one.
        failed: trainings that failed this time, with the reason; another build tries them again.
        interrupted: the user stopped it.
    """

    table: Path
    trainings: int
    planned: int
    networks: int
    failed: dict[str, str]
    interrupted: bool = False


@dataclass(frozen=True)
class TrainingTask:
    """One training of a bench, as a worker process is told of it."""

    job: TrainJob
    group: str

    @property
    def name(self) -> str:
        """In messages."""
        return f"{self.job.folder.name} ({self.group})"


def build_bench(
    request: BuildRequest,
    out: Path,
    device: str | None,
    workers: int | None,
    listener: ProgressListener,
) -> BuildResult:
    """Train what is missing of a bench.

    Args:
        request: the bench.
        out: its folder; one that holds a part of the same bench goes on.
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
        workers: processes; on one GPU they share it. None: the cores, or a few on a GPU.
        listener: hears how far it is.

    Raises:
        SmtNasError: the space, the data, the recipe, or a folder that holds something else.
    """
    space = SearchSpace.load(request.space)
    source = load_source(request.data)
    for remark in source.remarks:
        listener.say(remark)
    card = _make_card(request, space, source)
    _check_classes(space, len(source.classes), request.data)
    planned = plan_networks(
        space, request.n, request.low, request.high, request.seed, request.trainings
    )
    table = out / TABLE
    make_folder(out, _ANOTHER)
    with locked(out, _ANOTHER):
        prepare_table(table, card)
        rows = list(recover_rows(table, card.input))
        processes, options = _choose_placement(device, workers)
        tasks = _list_missing(request, planned, rows, out / _SCRATCH, options)
        return _train_missing(tasks, table, len(rows), request.n, processes, listener)


def _train_missing(
    tasks: Sequence[TrainingTask],
    table: Path,
    trained_before: int,
    networks: int,
    workers: int,
    listener: ProgressListener,
) -> BuildResult:
    """Add a row for each task that does not fail."""
    rows, total, failed = trained_before, trained_before + len(tasks), dict[str, str]()
    listener.step("train", rows, total)
    try:
        with make_engine(workers) as pool:
            for task, outcome in zip(
                tasks, pool.map(train_and_score, tasks, _lost_reason), strict=True
            ):
                if outcome is None:
                    raise KeyboardInterrupt
                if isinstance(outcome, StoreError):
                    raise outcome  # a full disk is no fault of the network
                if isinstance(outcome, BenchRow):
                    append_row(table, outcome)
                    shutil.rmtree(task.job.folder, ignore_errors=True)
                    rows += 1
                else:
                    failed[task.name] = outcome
                    listener.say(f"{task.name}: failed: {outcome}")
                listener.step("train", rows + len(failed), total)
    except KeyboardInterrupt:
        return BuildResult(table, rows, total, networks, failed, interrupted=True)
    return BuildResult(table, rows, total, networks, failed)


def train_and_score(task: TrainingTask) -> BenchRow | StoreError | str | None:
    """Train a network and score it on validation and test images.

    Returns: its row; why it failed; None where it was told to stop.
    """
    result = train_job(task.job)
    if not isinstance(result, TrainResult):
        return result
    if result.stop_requested:
        return None
    try:
        with single_process(task.job) as process_group:
            row = _score_row(task, result, process_group)
    except StoreError as error:
        return error
    except SmtNasError as error:
        return str(error)
    except Exception as error:  # e.g. out of memory: one failed training
        return one_line(error)
    lacking = [name for name in REQUIRED if not math.isfinite(row.figures.get(name, math.nan))]
    return f"its {lacking[0]} is no finite number" if lacking else row


def _score_row(task: TrainingTask, result: TrainResult, process_group: ProcessGroup) -> BenchRow:
    assert result.best is not None and result.weights is not None
    figures = {
        "val_top1": result.best.val_top1,
        "val_loss": result.best.val_loss,
        "train_loss": result.history[-1].train_loss,
        "seconds": sum(row.seconds or 0.0 for row in result.history),
    }
    if load_source(task.job.request.data).test is not None:
        score = evaluate_weights(
            EvalRequest(weights=result.weights, split="test"), process_group, NullProgress()
        ).score
        figures |= {"test_top1": score.top1, "test_loss": score.loss}
    stamp = read_environment(str(process_group.device))
    return BenchRow(
        arch=task.job.arch,
        group=task.group,
        seed=task.job.request.seed,
        figures={name: float(v) for name, v in figures.items() if v is not None},
        device=str(stamp["gpu"] or stamp["cpu"]),
        versions=f"smt-nas {__version__}, torch {stamp['torch']}, {str(stamp['date'])[:10]}",
    )


def _choose_placement(device: str | None, workers: int | None) -> tuple[int, RunOptions]:
    """How many train at once, and where each does."""
    with join_process_group(device) as process_group:
        default = default_workers() if process_group.device.type == "cpu" else _ON_A_GPU
        processes = workers or default
        return processes, RunOptions(
            device=device, workers=reader_count(process_group.device, processes)
        )


def _lost_reason(reason: str) -> BenchRow | StoreError | str | None:
    return reason


def _make_card(request: BuildRequest, space: SearchSpace, source: Source) -> BenchCard:
    config, kind = space.config, shorten_spec(request.data)
    return BenchCard(
        schema_version=1,
        description=f"networks of space {space.name}, trained on {kind} by recipe {request.recipe}",
        space=space.name,
        space_digest=space.digest,
        input=Input(
            image_size=config.image_size,
            num_classes=config.num_classes,
            in_channels=config.in_channels,
            stem_stride=config.stem.stride,
            layer_scale=config.layer_scale,
        ),
        data=kind,
        data_digest=labels_digest(source),
        licence=_LICENCES.get(kind, "of the data: see where they come from"),
        recipe_name=request.recipe,
        recipe=load_recipe(request.recipe).model_dump(mode="json"),
        plan={"low_macs": request.low, "high_macs": request.high, "seed": request.seed},
    )


def labels_digest(source: Source) -> str:
    """Of the classes and labels of the training split: another order or choice has another."""
    labels = np.asarray([] if source.train is None else source.train.labels, "<i8")
    text = "\n".join(source.classes).encode() + labels.tobytes()
    return fingerprint(text)


def _check_classes(space: SearchSpace, classes: int, data: str) -> None:
    if space.config.num_classes != classes:
        raise ConfigError(
            f"space {space.name}: num_classes must be that of the data (got "
            f"{space.config.num_classes}, {data} has {classes}). Change it in a copy of the YAML."
        )


def _list_missing(
    request: BuildRequest,
    planned: Sequence[PlannedNetwork],
    rows: Sequence[BenchRow],
    scratch: Path,
    options: RunOptions,
) -> list[TrainingTask]:
    """Trainings that are missing: each network once, in the order of the plan, before any again."""
    trained_before = {(row.arch.key, row.seed) for row in rows}
    tasks = []
    for seed in SEEDS:
        for p in planned:
            if seed in p.seeds and (p.arch.key, seed) not in trained_before:
                training = TrainRequest(p.arch.key, request.data, recipe=request.recipe, seed=seed)
                folder = scratch / f"{p.arch.key}-{seed}"
                tasks.append(TrainingTask(TrainJob(p.arch, training, options, folder), p.group))
    return tasks
