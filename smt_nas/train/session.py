"""All that the training loop works with: data, network, state; and what a checkpoint has of it."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from smt_nas import __version__
from smt_nas.models import SMT, build
from smt_nas.runtime.host import available_cores
from smt_nas.runtime.progress import EpochMetrics, TrainingListener
from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_evaluation_batches,
    load_training_batches,
)
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.data.batches.transforms import (
    create_evaluation_transform,
    create_training_transform,
)
from smt_nas.train.data.examples import Source
from smt_nas.train.data.memory.memory_batches import HeldImages
from smt_nas.train.data.sources import Splits, make_splits
from smt_nas.train.distill import load_teacher
from smt_nas.train.evaluation import Score, evaluate
from smt_nas.train.learner import Learner, check_recipe
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.processes.randomness import WEIGHTS, make_generator
from smt_nas.train.steps.update_parts import Batch
from smt_nas.train.train_config import RunOptions, TrainConfig
from smt_nas.train.training_state import TrainingState
from smt_nas.train.weights.card import Card, HeldOutSplit
from smt_nas.train.weights.checkpoint import (
    find_latest,
    save_checkpoint,
    save_weights,
)
from smt_nas.train.weights.head_rows import reorder_head
from smt_nas.train.weights.initialise import initialise_model
from smt_nas.train.weights.weights import BEST, read_weights
from smt_nas.train.writers import MetricsWriter

_MOST_WORKERS = 16  # for one process; more have nothing to do


@dataclass(frozen=True)
class Training:
    """A training, as each of its processes has it.

    Attributes:
        folder: where it is kept.
        config: what is trained.
        options: how.
        group: the processes.
        source: the data.
        listener: hears the first process.
    """

    folder: Path
    config: TrainConfig
    options: RunOptions
    group: ProcessGroup
    source: Source
    listener: TrainingListener


class TrainingInputs(NamedTuple):
    """What a training is made of, found good.

    Attributes:
        splits: what is trained on and validated by.
        sampler: which images make up which update.
        model: the network, on the CPU, with its first weights.
        teacher: on the device of this process; None for none.
    """

    splits: Splits
    sampler: BatchSampler
    model: SMT
    teacher: nn.Module | None


def prepare_inputs(training: Training) -> TrainingInputs:
    """Find all that may be wrong with a training, before anything of it is written.

    The first weights are not read where a checkpoint replaces them.

    Raises:
        SmtNasError: the recipe does not suit the device, the data have too few images, the first
            weights or the teacher do not fit.
    """
    config, group, source = training.config, training.group, training.source
    recipe, arch, listener = config.recipe, config.arch, training.listener
    check_recipe(recipe, config.recipe_name, group)
    splits = make_splits(source, recipe.validation, config.split_seed, recipe.images)
    sampler = BatchSampler(
        len(splits.train), recipe.batch_size, group.size, recipe.accumulation, config.seed
    )
    model = build(arch, generator=make_generator(config.seed, WEIGHTS))
    if config.init is not None and find_latest(training.folder, listener.say) is None:
        head_map = None if config.head_map is None else Path(config.head_map)
        weights = read_weights(Path(config.init))
        if head_map is None:
            weights = reorder_head(weights, source.classes)
        for line in initialise_model(model, weights, head_map, config.init_shared):
            listener.say(line)
    teacher = None
    if config.teacher is not None:
        norm = source.mean, source.std
        teacher = load_teacher(config.teacher, arch, source.classes, norm, group.device)
    return TrainingInputs(splits, sampler, model, teacher)


@dataclass(frozen=True)
class TrainingSession:
    """Made by `session_start.open_session`.

    Attributes:
        config: what is trained.
        options: how.
        group: the processes.
        source: the data.
        splits: what of it is trained on and validated by.
        sampler: which images make up which update.
        learner: the network and what moves it.
        state: how far it is; the loop changes it.
        unreadable: images that could not be read.
        held: the images in memory; None where they are read anew every epoch.
        writers: get the metrics of an epoch; of the first process only.
        fast: images are held where they can be, and a CPU takes gradients by `training_ops`.
    """

    config: TrainConfig
    options: RunOptions
    group: ProcessGroup
    source: Source
    splits: Splits
    sampler: BatchSampler
    learner: Learner
    state: TrainingState
    unreadable: UnreadableImages
    writers: tuple[MetricsWriter, ...]
    held: HeldImages | None = None
    fast: bool = False

    @property
    def updates(self) -> int:
        """Of the whole training."""
        return self.config.recipe.epochs * self.sampler.updates_per_epoch

    @property
    def last_update(self) -> int:
        """Updates of the whole training after which this start of it stops."""
        per_epoch, recipe = self.sampler.updates_per_epoch, self.config.recipe
        until, until_fall = self.options.until_epoch, self.options.until_fall_of
        stops = [self.updates]
        if until is not None:
            stops.append(until * per_epoch)
        if until_fall is not None:
            stops.append(recipe.with_epochs(until_fall).find_fall(per_epoch))
        return min(stops)

    @property
    def workers(self) -> int:
        """As asked; else the CPUs of this process beside a GPU, and none where the CPU trains."""
        if self.options.workers is not None:
            return self.options.workers
        if self.group.device.type != "cuda":
            return 0
        return min(_MOST_WORKERS, max(1, available_cores() // self.group.size))

    def load_batches(self) -> Iterator[Batch]:
        """This process's batches of all updates still to make in this start."""
        arch, recipe = self.config.arch, self.config.recipe
        if self.held is not None:
            return self.held.training_batches(
                self.sampler, self.state.update, self.last_update, self.group.rank, self.unreadable
            )
        return load_training_batches(
            self.splits.train,
            create_training_transform(recipe, arch.image_size, arch.in_channels, self.source),
            self.sampler,
            self.state.update,
            self.last_update,
            self.group.rank,
            self._reader_options(),
            self.unreadable,
        )

    def evaluate(self, listener: TrainingListener) -> Score:
        """Accuracy on the validation split, the images shared among the processes."""
        recipe, source = self.config.recipe, self.source
        model = self.learner.eval_model
        self.group.broadcast_tensors(model.buffers())  # batch norm statistics are each one's own
        batches = self._load_evaluation_batches()
        return evaluate(
            model,
            batches,
            source.classes,
            self.group,
            recipe.precision,
            listener=listener,
            of=len(self.splits.validation),
            channels_last=self.options.channels_last,
        )

    def _load_evaluation_batches(self) -> Iterator[Batch]:
        """This process's validation images."""
        arch, recipe, source = self.config.arch, self.config.recipe, self.source
        place = (recipe.batch_size, self.group.rank, self.group.size)
        if self.held is not None:
            return self.held.evaluation_batches(*place, self.unreadable)
        transform = create_evaluation_transform(
            recipe.evaluation, arch.image_size, arch.in_channels, source.mean, source.std
        )
        options = self._reader_options()
        return load_evaluation_batches(
            self.splits.validation, transform, *place, options, self.unreadable
        )

    def make_card(self, score: Score | None) -> Card:
        """What a file of the weights as they are now says of itself."""
        config, source = self.config, self.source
        validation = None
        if score is not None:
            figures = {"top1": score.top1, "top5": score.top5, "loss": score.loss}
            validation = {name: value for name, value in figures.items() if value is not None}
        return Card(
            arch=config.arch,
            classes=source.classes,
            mean=source.mean,
            std=source.std,
            evaluation=config.recipe.evaluation,
            image_size=config.arch.image_size,
            recipe=config.recipe_name,
            data=config.data,
            seed=config.seed,
            epoch=self.state.update // self.sampler.updates_per_epoch,
            update=self.state.update,
            weights="model" if self.learner.ema is None else "ema",
            validation=validation,
            split=self._held_out_split(),
            versions={"smt_nas": __version__, "torch": torch.__version__},
        )

    def save(self, run: Path, score: Score | None) -> None:
        """Write a checkpoint; the first process does. See `session_start`."""
        learner = self.learner
        if not self.group.is_main:
            return
        save_checkpoint(
            run,
            self.state.update,
            self.make_card(score),
            learner.model.state_dict(),
            None if learner.ema is None else learner.ema.module.state_dict(),
            {
                "learner": learner.state_dict(),
                "progress": self.state.to_dict(),
                "images": self.sampler.n,
                "unreadable": self.unreadable.names,
                "threads": torch.get_num_threads(),
                "fast": self.fast,
                "held": self.held is not None,
            },
            self.options.keep,
        )

    def save_best(self, run: Path, score: Score | None) -> None:
        """Replace the best weights by those of now; the first process does."""
        if self.group.is_main:
            save_weights(run / BEST, self.make_card(score), self.learner.eval_model.state_dict())

    def write_metrics(self, metrics: EpochMetrics) -> None:
        """Tell the writers of an epoch that ended."""
        for writer in self.writers:
            writer.write(metrics)

    def close(self) -> None:
        """Close the writers."""
        for writer in self.writers:
            writer.close()

    def peak_memory_mb(self) -> float:
        """The most that this process ever held: on the GPU, else in the machine's memory."""
        if self.group.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.group.device) / 1e6
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

    def _held_out_split(self) -> HeldOutSplit | None:
        """How the validation split was made; None where the data set came with one."""
        if self.source.validation is not None:
            return None
        return HeldOutSplit(fraction=self.config.recipe.validation, seed=self.config.split_seed)

    def _reader_options(self) -> ReaderOptions:
        gpu = self.group.device.type == "cuda"
        return ReaderOptions(self.workers, gpu, self.options.max_unreadable)
