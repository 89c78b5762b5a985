"""All that the loop works with, from the folder and the settings: data, network, progress."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from smt_nas import __version__
from smt_nas.errors import StoreError, TrainingError
from smt_nas.models import SMT, build
from smt_nas.runtime.host import available_cores
from smt_nas.runtime.progress import EpochMetrics, TrainingListener
from smt_nas.train.assemble import assemble, check
from smt_nas.train.data.loader import (
    Loading,
    Order,
    Unreadable,
    evaluation_batches,
    training_batches,
)
from smt_nas.train.data.sources import Source, Splits, split
from smt_nas.train.data.transforms import evaluation_transform, training_transform
from smt_nas.train.distill import load_teacher
from smt_nas.train.evaluation import evaluate
from smt_nas.train.learner import Batch, Learner
from smt_nas.train.process_group import World
from smt_nas.train.randomness import WEIGHTS, generator
from smt_nas.train.score import Score
from smt_nas.train.settings import How, Settings
from smt_nas.train.training_state import Progress
from smt_nas.train.weights.card import Card, Carved
from smt_nas.train.weights.checkpoint import FOLDER, Checkpoint, latest
from smt_nas.train.weights.initialise import initialise
from smt_nas.train.weights.weights import read_weights
from smt_nas.train.writers import Writer, open_writers

if TYPE_CHECKING:
    pass


def resumed(run: Path, ready: Prepared, listener: TrainingListener) -> Prepared:
    """What goes on from the last checkpoint of a folder, or begins where there is none.

    Raises:
        StoreError: the checkpoint is of another network, or not all processes find the same one.
        TrainingError: the data are not what the training began with.
    """
    world = ready.world
    found = world.together(lambda: _resumed(run, ready, listener))
    first = world.told(found.progress.update)
    world.together(lambda: _check_shared(run, first, found.progress.update))
    return found


def _resumed(run: Path, ready: Prepared, listener: TrainingListener) -> Prepared:
    """With the state of the last checkpoint, and the writers that go on from there."""
    found = latest(run, listener.say)
    progress = Progress()
    if found is None and any((run / FOLDER).glob("update-*")):
        raise StoreError(
            f"{run / FOLDER}: one checkpoint must be whole (got none). Restore one, or remove the "
            "folder to begin anew."
        )
    if found is not None:
        state = found.state()
        _check_own(found, state, ready)
        ready.learner.model.load_state_dict(found.weights())
        averaged = found.ema()
        if ready.learner.ema is not None and averaged is not None:
            ready.learner.ema.module.load_state_dict(averaged)
        ready.learner.load_state(state["learner"])
        progress = Progress.of_state(state["progress"])
        ready.unreadable.names.update(state.get("unreadable", {}))
        listener.say(f"Going on from update {progress.update} of {ready.updates}.")
    writers = list[Writer]()
    if ready.world.first:
        writers = open_writers(ready.how.log, run, progress.history, listener.say)
    return replace(ready, progress=progress, writers=tuple(writers))


def _check_own(found: Checkpoint, state: dict[str, Any], ready: Prepared) -> None:
    """Refuse a checkpoint of another network or of other data: it would not go on but go wrong."""
    card, arch = found.card, ready.settings.arch
    if card.arch != arch:
        raise StoreError(
            f"{found.path}: must be of this training's network, {arch.key} (got {card.arch.key}). "
            "Remove it, or train with another --out."
        )
    now = ready.source.classes, ready.order.n
    then = card.classes, state.get("images", ready.order.n)
    if now != then:
        raise TrainingError(
            f"{ready.settings.data}: must hold the images that the training began with (got "
            f"{now[1]} to train on of {len(now[0])} classes, then {then[1]} of {len(then[0])}). "
            "Put them back, or train with another --out."
        )


def _check_shared(run: Path, first: int, own: int) -> None:
    """All processes must find the same checkpoint, on whatever machine they are."""
    if own != first:
        raise StoreError(
            f"{run}: all processes must see the same checkpoints (got one of update {own}, process "
            f"0 has {first}). Put the folder where all machines share it."
        )


_MOST_WORKERS = 16  # for one process; more have nothing to do


@dataclass(frozen=True)
class Prepared:
    """Made by `prepare`.

    Attributes:
        settings: what is trained.
        how: how.
        world: the processes.
        source: the data.
        splits: what of it is trained on and validated by.
        order: which images make up which update.
        learner: the network and what moves it.
        progress: how far it is; the loop changes it.
        unreadable: images that could not be read.
        updates: of the whole training.
        writers: get a row an epoch; of the first process only.
    """

    settings: Settings
    how: How
    world: World
    source: Source
    splits: Splits
    order: Order
    learner: Learner
    progress: Progress
    unreadable: Unreadable
    updates: int
    writers: tuple[Writer, ...]

    @property
    def end(self) -> int:
        """Updates of the whole training after which this start of it stops."""
        until = self.how.until_epoch
        return self.updates if until is None else min(self.updates, until * self.order.steps)

    def batches(self) -> Iterator[Batch]:
        """This process's batches of all updates still to make in this start."""
        arch, recipe = self.settings.arch, self.settings.recipe
        return training_batches(
            self.splits.train,
            training_transform(recipe, arch.image_size, arch.in_channels, self.source),
            self.order,
            self.progress.update,
            self.end,
            self.world.rank,
            self._loading(),
            self.unreadable,
        )

    def evaluate(self, listener: TrainingListener) -> Score:
        """Accuracy on the validation split, the images shared among the processes."""
        arch, recipe, source = self.settings.arch, self.settings.recipe, self.source
        model = self.learner.evaluated
        self.world.share(model.buffers())  # batch norm statistics are each process's own
        transform = evaluation_transform(
            recipe.evaluation, arch.image_size, arch.in_channels, source.mean, source.std
        )
        batches = evaluation_batches(
            self.splits.validation,
            transform,
            recipe.batch_size,
            self.world.rank,
            self.world.size,
            self._loading(),
            self.unreadable,
        )
        return evaluate(
            model,
            batches,
            source.classes,
            self.world,
            recipe.precision,
            listener=listener,
            of=len(self.splits.validation),
            channels_last=self.how.channels_last,
        )

    def card(self, score: Score | None) -> Card:
        """What a file of the weights as they are now says of itself."""
        settings, source = self.settings, self.source
        found = None
        if score is not None:
            every = {"top1": score.top1, "top5": score.top5, "loss": score.loss}
            found = {name: value for name, value in every.items() if value is not None}
        return Card(
            arch=settings.arch,
            classes=source.classes,
            mean=source.mean,
            std=source.std,
            evaluation=settings.recipe.evaluation,
            image_size=settings.arch.image_size,
            recipe=settings.recipe_name,
            data=settings.data,
            seed=settings.seed,
            epoch=self.progress.update // self.order.steps,
            update=self.progress.update,
            weights="model" if self.learner.ema is None else "ema",
            validation=found,
            split=self._carved(),
            versions={"smt_nas": __version__, "torch": torch.__version__},
        )

    def write(self, row: EpochMetrics) -> None:
        """Tell the writers of an epoch that ended."""
        for writer in self.writers:
            writer.row(row)

    def close(self) -> None:
        """Close the writers."""
        for writer in self.writers:
            writer.close()

    def peak_memory_mb(self) -> float:
        """The most that this process ever held: on the GPU, else in the machine's memory."""
        if self.world.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.world.device) / 1e6
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6

    def _carved(self) -> Carved | None:
        """How the validation split was made."""
        if self.source.validation is not None:
            return None
        return Carved(fraction=self.settings.recipe.validation, seed=self.settings.split_seed)

    def _loading(self) -> Loading:
        gpu = self.world.device.type == "cuda"
        return Loading(self.workers, gpu, self.how.max_unreadable)

    @property
    def workers(self) -> int:
        """As asked; else the CPUs of this process beside a GPU, and none where the CPU trains."""
        if self.how.workers is not None:
            return self.how.workers
        if self.world.device.type != "cuda":
            return 0
        return min(_MOST_WORKERS, max(1, available_cores() // self.world.size))


def prepare(
    run: Path,
    settings: Settings,
    how: How,
    world: World,
    source: Source,
    parts: Parts,
    listener: TrainingListener,
) -> Prepared:
    """Set up a training, from its last checkpoint where there is one; see `loop.train`."""
    learner = assemble(parts.model, settings, how, world, parts.order.steps, parts.teacher)
    ready = Prepared(
        settings=settings,
        how=how,
        world=world,
        source=source,
        splits=parts.splits,
        order=parts.order,
        learner=learner,
        progress=Progress(),
        unreadable=Unreadable(how.max_unreadable),
        updates=settings.recipe.epochs * parts.order.steps,
        writers=(),
    )
    return resumed(run, ready, listener)


class Parts(NamedTuple):
    """What a training is made of, found good.

    Attributes:
        splits: what is trained on and validated by.
        order: which images make up which update.
        model: the network, on the CPU, with its first weights.
        teacher: on the device of this process; None for none.
    """

    splits: Splits
    order: Order
    model: SMT
    teacher: nn.Module | None


def checked(
    run: Path, settings: Settings, world: World, source: Source, listener: TrainingListener
) -> Parts:
    """Find all that may be wrong with a training, before anything of it is written.

    The first weights are not read where a checkpoint replaces them.

    Raises:
        SmtNasError: the recipe does not suit the device, the data have too few images, the first
            weights or the teacher do not fit.
    """
    recipe, arch = settings.recipe, settings.arch
    check(recipe, settings.recipe_name, world)
    splits = split(source, recipe.validation, settings.split_seed, recipe.images)
    order = Order(
        len(splits.train), recipe.batch_size, world.size, recipe.accumulation, settings.seed
    )
    model = build(arch, generator=generator(settings.seed, WEIGHTS))
    if settings.init is not None and latest(run, listener.say) is None:
        head_map = None if settings.head_map is None else Path(settings.head_map)
        loaded = read_weights(Path(settings.init))
        for line in initialise(model, loaded, head_map, settings.init_shared):
            listener.say(line)
    teacher = None
    if settings.teacher is not None:
        norm = source.mean, source.std
        teacher = load_teacher(settings.teacher, arch, source.classes, norm, world.device)
    return Parts(splits, order, model, teacher)
