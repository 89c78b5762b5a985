"""Building a bench: every network of a plan trained by one recipe, one row of the table each.

A build may be stopped in any way and goes on where it was: rows are appended in the order of
the tasks, or as they end where several share a process, and a training that is whole or under way,
but has no row yet, goes on in its folder.
"""

from __future__ import annotations

import shutil
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from smt_nas.arch import Architecture
from smt_nas.budgets import parse_budget
from smt_nas.errors import ConfigError, StoreError
from smt_nas.files import locked, make_folder
from smt_nas.fingerprint import fingerprint
from smt_nas.nasbench.depth_plan import RegionTest, plan_depth
from smt_nas.nasbench.encoding import Input
from smt_nas.nasbench.placement import Placement, choose_placement
from smt_nas.nasbench.plan import SEEDS, PlannedNetwork, plan_networks
from smt_nas.nasbench.rows import BenchRow
from smt_nas.nasbench.store import append_row, prepare_table, recover_rows
from smt_nas.nasbench.table import TABLE, BenchCard, read_card
from smt_nas.nasbench.trainings import Outcome, TrainingTask, train_and_score, train_in_turn
from smt_nas.runtime.allocator import choose_preparation
from smt_nas.runtime.engines.engine_choice import make_engine
from smt_nas.runtime.progress import ProgressListener
from smt_nas.runtime.turn_pool import TurnPool
from smt_nas.space import SearchSpace
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source, shorten_spec
from smt_nas.train.planning.recipe_choice import load_changed_recipe
from smt_nas.train.recipe import Recipe
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.train_job import MemoryReason, TrainJob, explain_slow_path

PlanName = Literal["spread", "depth"]
_SCRATCH = "trainings"
_ANOTHER = "Choose another --out."
_LICENCES = {
    "fashion-mnist": "Fashion-MNIST: MIT, Copyright (c) 2017 Zalando SE",
    "digits": "digits: UCI ML hand-written digits, as in scikit-learn (BSD-3-Clause)",
    "mnist": "MNIST: CC BY-SA 3.0, Y. LeCun and C. Cortes",
    "cifar10": "CIFAR-10: A. Krizhevsky, 2009; no licence is stated, no image is in the table",
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
        epochs: of the longest training of a network; None for the recipe's.
        budgets: epochs of shorter ones, branches of the longest; that may be among them.
        plan: rule by which networks are chosen: `spread` over the space, see `plan`, or `depth` at
            equal MACs, see `depth_plan`.
    """

    space: str
    data: str
    recipe: str = "bench"
    n: int = 200
    low: float = 5e6
    high: float = 40e6
    seed: int = 0
    trainings: int = 1
    epochs: int | None = None
    budgets: tuple[int, ...] = ()
    plan: PlanName = "spread"

    def load_recipe(self) -> Recipe:
        """The recipe of the longest training. Raises ConfigError."""
        return load_changed_recipe(self.recipe, (), self.epochs)

    def list_budgets(self) -> tuple[int, ...]:
        """Epochs of all trainings of a network, the fewest first; () where the recipe says them.

        Raises:
            ConfigError: the recipe has no shorter trainings in its longest, or they do not fit.
        """
        recipe = self.load_recipe()
        if recipe.schedule == "constant":
            if max(self.budgets, default=0) > recipe.epochs:
                raise ConfigError(
                    f"--budgets: must not be more than the epochs of the longest training, "
                    f"{recipe.epochs} (got {max(self.budgets)}). Add --epochs {max(self.budgets)}."
                )
            if not recipe.cooldown and set(self.budgets) - {recipe.epochs}:
                raise ConfigError(
                    f"recipe {self.recipe}: cooldown must be over 0 for several budgets (got 0): "
                    "shorter trainings branch off where the rate falls. Leave out --budgets."
                )
            for epochs in self.budgets:
                recipe.with_epochs(epochs)
            return tuple(sorted({*self.budgets, recipe.epochs}))
        if set(self.budgets) <= {recipe.epochs}:
            return ()
        raise ConfigError(
            f"recipe {self.recipe}: schedule must be constant where a network has several budgets "
            f"(got {recipe.schedule}). Leave out --budgets, or name a recipe such as bench-c10."
        )


def parse_macs(text: str) -> tuple[float, float]:
    """A range of MACs, e.g. `5..40MMACs`. Raises ConfigError."""
    budget = parse_budget(text)
    if budget.metric != "macs" or budget.low is None or budget.high is None:
        raise ConfigError(f"--macs: must be a range of MACs (got {text}). E.g. 5..40MMACs.")
    return budget.low, budget.high


def parse_budgets(text: str | None) -> tuple[int, ...]:
    """Numbers of epochs, e.g. `2,8`. Raises ConfigError."""
    words = [] if text is None else text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise ConfigError(f"--budgets: must be numbers of epochs (got {text}). E.g. 2,8.")
    return tuple(int(word) for word in words)


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


def build_bench(
    request: BuildRequest,
    out: Path,
    device: str | None,
    workers: int | None,
    listener: ProgressListener,
    in_region: RegionTest | None = None,
    per_process: int | None = None,
) -> BuildResult:
    """Train what is missing of a bench.

    Args:
        request: the bench.
        out: its folder; one that holds a part of the same bench goes on.
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
        workers: processes; on one GPU they share it. None: the cores, or a few on a GPU.
        listener: hears how far it is.
        in_region: which shapes are like published ones; the plan `depth` asks it.
        per_process: trainings at once in each process. None: one, or on a GPU as many as fit.

    Raises:
        SmtNasError: the space, the data, the recipe, or a folder that holds something else.
    """
    space = SearchSpace.load(request.space)
    source = load_source(request.data)
    for remark in source.remarks:
        listener.say(remark)
    card = _make_card(request, space, source)
    _check_classes(space, len(source.classes), request.data)
    planned = _plan_networks(request, space, in_region)
    table = out / TABLE
    make_folder(out, _ANOTHER)
    with locked(out, _ANOTHER):
        prepare_table(table, card)
        rows = list(recover_rows(table, card.input, card.recipe["epochs"]))
        placement = choose_placement(device, workers, per_process, read_card(table).is_fast)
        tasks = _list_missing(request, planned, rows, out / _SCRATCH, placement.options)
        for line in explain_slow_path(tasks[0].job, source) if tasks else []:
            listener.say(line)
        return _train_missing(tasks, table, len(rows), request.n, placement, listener)


@dataclass
class _Building:
    """The table as it grows, and what did not become a row."""

    table: Path
    rows: int
    total: int
    listener: ProgressListener
    failed: dict[str, str] = field(default_factory=dict)
    to_retry: list[TrainingTask] = field(default_factory=list)

    def add(self, task: TrainingTask, outcomes: Sequence[Outcome], is_last_try: bool) -> None:
        """Take what became of a task.

        Raises:
            KeyboardInterrupt: it was told to stop.
            StoreError: a full disk, which is no fault of the network.
        """
        for job, outcome in zip(task.jobs, outcomes, strict=False):  # a failure ends them
            if outcome is None:
                raise KeyboardInterrupt
            if isinstance(outcome, StoreError):
                raise outcome
            if isinstance(outcome, BenchRow):
                append_row(self.table, outcome)
                shutil.rmtree(job.folder, ignore_errors=True)
                self.rows += 1
            else:
                self._add_failure(task, job, outcome, is_last_try)
            self.listener.step("train", self.rows + len(self.failed), self.total)

    def _add_failure(
        self, task: TrainingTask, job: TrainJob, reason: str, is_last_try: bool
    ) -> None:
        name = f"{job.folder.name} ({task.group})"
        if isinstance(reason, MemoryReason) and not is_last_try:
            left = task.jobs[task.jobs.index(job) :]
            self.to_retry.append(replace(task, branches=left[:-1]))
            self.listener.say(f"{name}: the memory of the GPU was full; alone at the end, again.")
            return
        self.failed[name] = reason
        self.listener.say(f"{name}: failed: {reason}")


def _plan_networks(
    request: BuildRequest, space: SearchSpace, in_region: RegionTest | None
) -> list[PlannedNetwork]:
    values = (space, request.n, request.low, request.high, request.seed, request.trainings)
    if request.plan == "spread":
        return plan_networks(*values)
    if in_region is None:
        raise ConfigError("plan depth: needs a test of shapes (got no in_region). Hand one over.")
    return plan_depth(*values, in_region)


def _train_missing(
    tasks: Sequence[TrainingTask],
    table: Path,
    trained_before: int,
    networks: int,
    placement: Placement,
    listener: ProgressListener,
) -> BuildResult:
    """Add a row for each task that does not fail; those that found no memory get a second try."""
    total = trained_before + sum(len(task.jobs) for task in tasks)
    building = _Building(table, trained_before, total, listener)
    listener.step("train", trained_before, total)
    interrupted = False
    try:
        with closing(_train(tasks, placement)) as answers:
            for task, outcomes in answers:
                building.add(task, outcomes, is_last_try=False)
        alone = replace(placement, processes=1, per_process=1)
        with closing(_train(building.to_retry, alone)) as answers:
            for task, outcomes in answers:
                building.add(task, outcomes, is_last_try=True)
    except KeyboardInterrupt:
        interrupted = True
    return BuildResult(table, building.rows, building.total, networks, building.failed, interrupted)


def _train(
    tasks: Sequence[TrainingTask], placement: Placement
) -> Generator[tuple[TrainingTask, list[Outcome]], None, None]:
    """What becomes of tasks: in their order, or, where several share a process, as they end."""
    if placement.per_process == 1:
        with make_engine(placement.processes) as engine:
            prepare = choose_preparation(placement.device_type)
            answers = engine.map(train_and_score, tasks, _lost_reason, prepare=prepare)
            yield from zip(tasks, answers, strict=True)
        return
    with TurnPool(placement.processes, placement.per_process) as pool:
        for number, outcomes in pool.map(train_in_turn, tasks, _lost_reason):
            yield tasks[number], outcomes


def _lost_reason(reason: str) -> list[Outcome]:
    return [reason]


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
        recipe=request.load_recipe().model_dump(mode="json"),
        plan={"low_macs": request.low, "high_macs": request.high, "seed": request.seed},
        plan_name=request.plan,
        budgets=request.list_budgets(),
        fast=True,
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
    own = request.load_recipe().epochs  # of rows and requests that say none
    trained_before = {(row.arch.key, row.seed, row.epochs or own) for row in rows}
    budgets = request.list_budgets() or (request.epochs,)
    tasks = []
    for seed in SEEDS:
        for p in planned:
            if seed not in p.seeds:
                continue
            jobs = []
            for epochs in budgets:
                if (p.arch.key, seed, epochs or own) not in trained_before:
                    jobs.append(_make_job(request, p.arch, seed, epochs, scratch, options))
            if jobs:
                tasks.append(TrainingTask(jobs[-1], p.group, tuple(jobs[:-1])))
    return tasks


def _make_job(
    request: BuildRequest,
    arch: Architecture,
    seed: int,
    epochs: int | None,
    scratch: Path,
    options: RunOptions,
) -> TrainJob:
    training = TrainRequest(arch.key, request.data, recipe=request.recipe, epochs=epochs, seed=seed)
    name = f"{arch.key}-{seed}" if epochs is None else f"{arch.key}-{seed}-{epochs}"
    return TrainJob(arch, training, options, scratch / name)
