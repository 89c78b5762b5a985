"""From what a user asks for to a training: the network made to fit the data, the folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smt_nas.arch import Architecture, load_arch
from smt_nas.errors import ConfigError, TrainingError
from smt_nas.files import looks_like_path
from smt_nas.runtime.progress import TrainingListener
from smt_nas.train.data.sources import Source, load_source
from smt_nas.train.dry_run import dry_run
from smt_nas.train.loop import train
from smt_nas.train.process_group import World
from smt_nas.train.recipe import Recipe, load_recipe
from smt_nas.train.session import checked
from smt_nas.train.settings import How, Settings
from smt_nas.train.train_result import DryRun, Finished
from smt_nas.train.training_directory import begin, free_folder, held, holds, read_settings
from smt_nas.yaml import validated

_SMALL = 64  # pixels, up to which a network is trained by the recipe for small images


@dataclass(frozen=True)
class Asked:
    """A training as a user words it.

    Attributes:
        name: preset or path of a model config.
        data: as `load_source` takes it.
        recipe: name or path; None chooses by the network's image size.
        changes: of the recipe, `field=value`.
        epochs: None for the recipe's.
        seed: the same seed gives the same training.
        init: weights to start from.
        head_map: file of the rows of their head to keep.
        init_shared: take what they share with the network, where they differ.
        teacher: whose soft targets are learnt too.
        new_head: give a model config the data's number of classes.
    """

    name: str
    data: str
    recipe: str | None = None
    changes: tuple[str, ...] = ()
    epochs: int | None = None
    seed: int = 0
    init: str | None = None
    head_map: str | None = None
    init_shared: bool = False
    teacher: str | None = None
    new_head: bool = False

    def settings(self, arch: Architecture, source: Source, processes: int) -> Settings:
        """Everything that decides the weights.

        Raises:
            ConfigError: the recipe or a value.
            TrainingError: the network's head does not fit the data.
        """
        if self.init is None and (self.head_map is not None or self.init_shared):
            flag = "--init-shared" if self.head_map is None else "--head-map"
            raise ConfigError(f"{flag}: is about weights to start from (got none). Add --init.")
        recipe_name = self.recipe or default_recipe(arch)
        recipe = _shortened(load_recipe(recipe_name, self.changes), self.epochs)
        values = {
            "name": self.name,
            "arch": fitted(self.name, arch, recipe, source, self.new_head),
            "data": self.data,
            "recipe_name": recipe_name,
            "recipe": recipe,
            "seed": self.seed,
            "init": self.init,
            "head_map": self.head_map,
            "init_shared": self.init_shared,
            "teacher": self.teacher,
            "processes": processes,
        }
        return validated(Settings, values, "train")


def start(
    asked: Asked,
    how: How,
    out: Path | None,
    resume: bool,
    world: World,
    listener: TrainingListener,
    arch: Architecture | None = None,
) -> Finished:
    """Begin a training, or go on with it; every process calls this.

    Args:
        asked: what to train.
        how: how.
        out: its folder; None for a new one below runs/.
        resume: go on where `out` holds this training.
        world: the processes.
        listener: hears the first process.
        arch: the network; None looks `asked.name` up.

    Raises:
        SmtNasError: the network, the data, the recipe, the folder; see there.
    """
    source = world.together(lambda: load_source(asked.data))
    settings = world.together(
        lambda: asked.settings(arch or load_arch(asked.name), source, world.size)
    )
    run = out or Path(world.told(str(free_folder(asked.name, asked.data))))
    return _run(run, settings, how, resume, world, source, listener)


def planned(asked: Asked, how: How, world: World) -> DryRun:
    """What a training would be; nothing is written.

    It may be of another machine: precision, first weights and teacher are not tried.

    Raises:
        SmtNasError: of the network, the data or the recipe, as `start` would.
    """
    source = world.together(lambda: load_source(asked.data))
    arch = world.together(lambda: load_arch(asked.name))
    settings = world.together(lambda: asked.settings(arch, source, world.size))
    return world.together(lambda: dry_run(settings, how, source, world.size))


def go_on(run: Path, how: How, world: World, listener: TrainingListener) -> Finished:
    """Go on with the training of a folder, whatever it was asked for.

    Raises:
        StoreError: the folder holds none.
        TrainingError: an update's images cannot be divided among the processes there are now.
    """
    began = world.together(lambda: read_settings(run))
    settings = world.together(lambda: _divided(began, world.size))
    if began.processes != world.size:
        listener.say(
            f"It began with {began.processes} processes and goes on with {world.size}: an update "
            "has the same images, but not the same bits."
        )
    source = world.together(lambda: load_source(settings.data))
    return _run(run, settings, how, True, world, source, listener)


def _run(
    run: Path,
    settings: Settings,
    how: How,
    resume: bool,
    world: World,
    source: Source,
    listener: TrainingListener,
) -> Finished:
    with _held(run, world):
        there = world.told(world.together(lambda: world.first and holds(run, settings, resume)))
        parts = world.together(lambda: checked(run, settings, world, source, listener))
        if not there:
            world.together(lambda: begin(run, settings, str(world.device)) if world.first else None)
        listener.say(f"{run} holds this training." if there else f"Run directory: {run}")
        return train(run, settings, how, world, source, parts, listener)


@contextmanager
def _held(run: Path, world: World) -> Iterator[None]:
    """The first process holds the folder; where it cannot, none goes on."""
    with ExitStack() as stack:
        world.together(lambda: stack.enter_context(held(run)) if world.first else None)
        yield


def _divided(settings: Settings, processes: int) -> Settings:
    """The same updates by another number of processes."""
    if settings.processes == processes:
        return settings
    images = settings.images_an_update // settings.recipe.accumulation
    if images % processes:
        raise TrainingError(
            f"{images} images a step: must be a multiple of the processes (got {processes}; the "
            f"training began with {settings.processes}). Start as many as then."
        )
    values = settings.recipe.model_dump(mode="json") | {"batch_size": images // processes}
    recipe = validated(Recipe, values, f"{processes} processes")
    return settings.model_copy(update={"recipe": recipe, "processes": processes})


def fitted(
    name: str, arch: Architecture, recipe: Recipe, source: Source, new_head: bool
) -> Architecture:
    """The network as it is trained: the recipe's size and drop path, a head for the data.

    Args:
        name: as the user wrote it. A preset stands for a family member, whatever its head; a
            model config means the head it states.
        arch: the network.
        recipe: decides over size, drop path and layer scale where it names them.
        source: the data.
        new_head: give a model config the data's number of classes too.

    Raises:
        TrainingError: a config's head has another number of classes than the data.
    """
    classes = len(source.classes)
    if arch.num_classes != classes and looks_like_path(name) and not new_head:
        raise TrainingError(
            f"{name}: num_classes must be that of the data (got {arch.num_classes}, {source.spec} "
            f"has {classes}). Change it there, or give the network a new head with --new-head."
        )
    changes: dict[str, Any] = {"num_classes": classes}
    wanted = {
        "image_size": recipe.image_size,
        "drop_path": recipe.drop_path,
        "layer_scale": recipe.layer_scale,
    }
    changes |= {field: value for field, value in wanted.items() if value is not None}
    return arch.model_copy(update=changes)


def default_recipe(arch: Architecture) -> str:
    """The recipe where none is named."""
    return "small" if arch.image_size <= _SMALL else "imagenet1k"


def _shortened(recipe: Recipe, epochs: int | None) -> Recipe:
    """With other epochs; a warm-up that would fill them takes a tenth of them instead."""
    if epochs is None:
        return recipe
    values = recipe.model_dump(mode="json") | {"epochs": epochs}
    if recipe.warmup_epochs >= epochs:
        values["warmup_epochs"] = epochs / 10
    return validated(Recipe, values, f"--epochs {epochs}")
