"""The `short-train` evaluator: networks trained for a few epochs on the user's data.

Few go all the way: see `successive_halving`. What a network gets is its accuracy on the validation
split after the last epoch, with the learning rate run down; it is trained, but short.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from smt_nas.arch import Architecture
from smt_nas.evaluators.base import Estimate, Evaluation
from smt_nas.evaluators.configs import ShortTraining
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_of_values
from smt_nas.evaluators.evidence import TrainingEvidence
from smt_nas.evaluators.predictors.predictor import PredictorEvaluator
from smt_nas.evaluators.published_agreement import bench_agreement
from smt_nas.evaluators.short_train.candidate_training import CandidateTraining, plan_training
from smt_nas.evaluators.short_train.decisions import read_decisions, write_decisions
from smt_nas.evaluators.short_train.ranking import rungs
from smt_nas.evaluators.short_train.successive_halving import Race, evaluate_rows
from smt_nas.files import locked, make_folder
from smt_nas.metrics import METRICS
from smt_nas.nasbench.build import labels_digest
from smt_nas.runtime.allocator import choose_preparation
from smt_nas.runtime.engines.engine_choice import (
    DEFAULT,
    EngineChoice,
    Workers,
    choose_engine,
    open_engine,
)
from smt_nas.runtime.engines.gpu_assignment import list_assignable_gpus
from smt_nas.runtime.engines.process_pool import default_workers
from smt_nas.runtime.progress import NullProgress, ProgressListener
from smt_nas.space import Genes, SearchSpace
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source
from smt_nas.train.learner import check_recipe
from smt_nas.train.planning.recipe_choice import FEW_UPDATES
from smt_nas.train.processes.process_group import join_process_group
from smt_nas.train.recipe import Recipe, load_recipe
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.train_job import TrainJob, explain_slow_path, reader_count, train_job
from smt_nas.train.weights.checkpoint import FOLDER as CHECKPOINTS
from smt_nas.train.writers import read_metrics

_WAY_OUT = "Choose another folder."
_SMALL, _MANY_IMAGES = "small", "imagenet1k"  # recipes


@dataclass(frozen=True)
class ShortTrainEvaluator:
    """Evaluates networks by their validation accuracy after a short training.

    Attributes:
        config: what they are trained for.
        folder: keeps a training a network, so that a killed search goes on; None for a temporary
            one.
        workers: processes that train, or another engine, whose machines share the folder; figures
            do not depend on it. None for one a core, or one in all on a GPU.
        listener: hears how far it is.
        size: pixels of a side of the networks, as `for_space` says it.
        proceed: asked before each training; once it says no, those that run are trained up to
            where they are compared, and no others.
    """

    config: ShortTraining
    folder: Path | None = None
    workers: Workers = None
    listener: ProgressListener = field(default_factory=NullProgress)
    size: int = 32
    proceed: Callable[[], bool] | None = None

    name = "short-train"
    objective = METRICS["val_top1"]
    baselines = ("smt_t",)  # the larger ones would take longer than a search
    is_final = False

    def in_workdir(
        self, folder: Path, workers: Workers = None, listener: ProgressListener | None = None
    ) -> ShortTrainEvaluator:
        """The same, with its trainings in a folder."""
        return replace(
            self,
            folder=folder,
            workers=self.workers if workers is None else workers,
            listener=listener or self.listener,
        )

    def begun_while(self, proceed: Callable[[], bool]) -> ShortTrainEvaluator:
        """The same, which begins no training once `proceed` says no."""
        return replace(self, proceed=proceed)

    def for_space(self, space: SearchSpace) -> ShortTrainEvaluator:
        """The same, whose recipe is that for the images of a space."""
        return replace(self, size=space.config.image_size)

    @cached_property
    def fingerprint(self) -> str:
        """Of the settings, the recipe as it stands, and the labels of the data."""
        decisive, source = self.config.decisive, self._source
        values = {
            "training": {name: value for name, value in decisive.items() if name != "recipe"},
            "recipe": self._recipe.model_dump(mode="json", exclude={"description", "source"}),
            "labels": labels_digest(source),
        }
        return fingerprint_of_values(self.name, values)

    @property
    def evidence(self) -> TrainingEvidence:
        """What is trained on, and for how long. Raises SmtNasError, of data or recipe."""
        config, training = self.config, self._training
        return TrainingEvidence(
            evaluator=self.name,
            data=config.data,
            images=training.images,
            rungs=rungs(config.epochs, config.eta),
            guess=bench_agreement(PredictorEvaluator.name),
            few_updates=training.updates if training.updates < FEW_UPDATES else None,
        )

    def predict(self, space: SearchSpace, genes: Genes) -> Estimate:
        """What the predictor expects of (n, G) genes: a guess at their order."""
        return PredictorEvaluator().predict(space, genes)

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Train networks, the better ones to the end; alone, one goes all the way.

        A network that was `stopped` on the way has no value.

        Raises:
            SmtNasError: the data or the recipe, or a folder that holds other trainings.
            KeyboardInterrupt: a training was told to stop; the same call goes on from there.
        """
        if not archs:
            return []
        decisive = self.config.decisive
        with self._locked_folder() as folder:
            decided = read_decisions(folder, decisive)
            new = {arch.key: arch for arch in archs if arch.key not in decided}
            if new:
                decided |= self._race([new[key] for key in sorted(new)], folder)
                write_decisions(folder, decisive, decided)
                for key in new:
                    shutil.rmtree(folder / key / CHECKPOINTS, ignore_errors=True)
        return [decided[arch.key] for arch in archs]

    def read_finished(self, archs: Sequence[Architecture]) -> dict[str, Evaluation]:
        """Evaluations, by key, of those that are trained to the end already.

        Raises:
            StoreError: a folder that holds other trainings.
        """
        if self.folder is None or not self.folder.is_dir():
            return {}
        finished = read_decisions(self.folder, self.config.decisive)
        for key in {arch.key for arch in archs} - finished.keys():
            rows = read_metrics(self.folder / key)
            if len(rows) == self.config.epochs and rows[-1].val_top1 is not None:
                finished[key] = evaluate_rows(rows)
        return finished

    @cached_property
    def _source(self) -> Source:
        source = load_source(self.config.data)
        for remark in source.remarks:
            self.listener.say(remark)
        return source

    @cached_property
    def _training(self) -> CandidateTraining:
        return plan_training(self.config, self.size, self._source)

    @property
    def _recipe(self) -> Recipe:
        """What the fingerprint holds: the recipe as it stands, not shortened."""
        name = self._training.recipe_name
        if self.config.recipe is None and name == _MANY_IMAGES:
            name = _SMALL  # as in runs of before there were recipes of few images
        return load_recipe(name, (*self.config.changes, *self._training.fitting))

    @contextmanager
    def _locked_folder(self) -> Iterator[Path]:
        """The folder of the trainings, held."""
        if self.folder is None:
            with TemporaryDirectory(prefix="smt-nas-") as folder:
                yield Path(folder)
            return
        make_folder(self.folder, _WAY_OUT)
        with locked(self.folder, _WAY_OUT):
            yield self.folder

    def _race(self, archs: Sequence[Architecture], folder: Path) -> Mapping[str, Evaluation]:
        config = self.config
        trainings = {
            size: plan_training(config, size, self._source)
            for size in {arch.image_size for arch in archs}
        }
        requests = [trainings[arch.image_size].make_request(config, arch) for arch in archs]
        device = self._check_training(archs[0], requests[0])
        engine = self._choose_engine(device)
        readers = reader_count(device, engine.workers or default_workers())
        options = RunOptions(device=config.device, workers=readers, keep=1, fast=True)
        jobs = [
            TrainJob(arch, request, options, folder / arch.key)
            for arch, request in zip(archs, requests, strict=True)
        ]
        for line in explain_slow_path(jobs[0], self._source):
            self.listener.say(line)
        with open_engine(engine) as pool:
            prepare = choose_preparation(device.type)
            train = partial(pool.map, train_job, lost=str, prepare=prepare, proceed=self.proceed)
            return Race(rungs(config.epochs, config.eta), config.eta, train, self.listener).run(
                jobs
            )

    def _check_training(self, arch: Architecture, request: TrainRequest) -> torch.device:
        """Find what is wrong with all trainings before the first. Returns where they run."""
        with join_process_group(self.config.device) as process_group:
            wanted = request.to_config(arch, self._source, process_group.size)
            check_recipe(wanted.recipe, wanted.recipe_name, process_group)
            return process_group.device

    def _choose_engine(self, device: torch.device) -> EngineChoice:
        engine = choose_engine(self.workers)
        if engine.name != DEFAULT:
            return engine
        usual = 1 if device.type == "cuda" else default_workers()
        gpus = () if self.config.device else list_assignable_gpus()
        return replace(engine, workers=engine.workers or usual, gpus=gpus)
