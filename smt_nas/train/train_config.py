"""What a training is asked for: a `TrainRequest` becomes the `TrainConfig` that decides its result.

`RunOptions` decide only how it gets there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError, TrainingError
from smt_nas.files import looks_like_path
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import make_splits
from smt_nas.train.planning.recipe_choice import (
    choose_recipe,
    find_size,
    fit_recipe,
    list_fixed_fields,
    load_changed_recipe,
)
from smt_nas.train.recipe import Recipe
from smt_nas.yaml import validated

WriterName = Literal["tensorboard", "mlflow", "wandb"]
PositiveInt = Annotated[int, Field(ge=1, le=1_000_000)]


class _TrainValue(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TrainConfig(_TrainValue):
    """What decides the weights; a training goes on only with the same.

    Attributes:
        name: of the network, as the user wrote it.
        arch: the network that is trained, with the head, the size and the drop path it has then.
        data: the data set, as `load_source` takes it.
        recipe_name: of the recipe, as the user wrote it.
        recipe: its values, all changes made.
        seed: the same seed gives the same training.
        init: weights to start from.
        head_map: file of the rows of `init`'s head to keep.
        init_shared: take what `init` shares with the network, where they differ.
        teacher: whose soft targets are learnt too.
        processes: of the training; they share each update's images.
    """

    name: str
    arch: Architecture
    data: str
    recipe_name: str
    recipe: Recipe
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    init: str | None = None
    head_map: str | None = None
    init_shared: bool = False
    teacher: str | None = None
    processes: PositiveInt = 1

    @property
    def images_per_update(self) -> int:
        """Images of all processes and steps that one update is made of."""
        return self.recipe.batch_size * self.recipe.accumulation * self.processes

    @property
    def split_seed(self) -> int:
        """Seed of which images are held out and sampled."""
        return self.seed if self.recipe.split_seed is None else self.recipe.split_seed

    def for_processes(self, processes: int) -> TrainConfig:
        """The same updates by another number of processes.

        Raises:
            TrainingError: an update's images cannot be divided among them.
        """
        if self.processes == processes:
            return self
        images = self.images_per_update // self.recipe.accumulation
        if images % processes:
            raise TrainingError(
                f"{images} images a step: must be a multiple of the processes (got {processes}; "
                f"the training began with {self.processes}). Start as many as then."
            )
        values = self.recipe.model_dump(mode="json") | {"batch_size": images // processes}
        recipe = validated(Recipe, values, f"{processes} processes")
        return self.model_copy(update={"recipe": recipe, "processes": processes})


class RunOptions(_TrainValue):
    """What may change from one start of a training to the next.

    Attributes:
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
        workers: processes that read images, for each training process; None for a number that
            suits the device.
        fast: use what makes the same training faster, where it can be had: decoded images in
            memory, gradients by other operators on a CPU, fused optimizers, on a GPU each update as
            one CUDA graph. None: the first two alone; a training that began without goes on so.
        compile: run the network through torch.compile.
        channels_last: memory format of the images.
        grad_checkpointing: recompute blocks in the backward pass.
        deterministic: let torch use only operators that give the same bits every time.
        save_minutes: time between checkpoints inside an epoch; one is written after each anyway.
        save_updates: updates between checkpoints inside an epoch; None for none by count.
        keep: checkpoints kept.
        until_epoch: stop there, the recipe having more epochs; None for its last.
        until_fall_of: stop where the rate of a training of so many epochs begins to fall; None to
            go on.
        max_unreadable: images that may be unreadable.
        log: writers beside metrics.csv.
    """

    device: str | None = None
    workers: Annotated[int, Field(ge=0, le=256)] | None = None
    fast: bool | None = None
    compile: bool = False
    channels_last: bool = False
    grad_checkpointing: bool = False
    deterministic: bool = False
    save_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    save_updates: PositiveInt | None = None
    keep: PositiveInt = 2
    until_epoch: PositiveInt | None = None
    until_fall_of: PositiveInt | None = None
    max_unreadable: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    log: tuple[WriterName, ...] = ()


@dataclass(frozen=True)
class TrainRequest:
    """A training as a user words it.

    Attributes:
        name: preset or path of a model config.
        data: as `load_source` takes it.
        recipe: name or path; None chooses one and fits it to the images, see `recipe_choice`.
        changes: of the recipe, `field=value`.
        epochs: None for the recipe's.
        seed: the same seed gives the same training.
        init: weights to start from.
        head_map: file of the rows of their head to keep.
        init_shared: take what they share with the network, where they differ.
        teacher: whose soft targets are learnt too.
        new_head: give a model config the data's number of classes.
        beside_fresh: it is compared with trainings from fresh weights; a recipe that is not named
            is chosen as theirs.
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
    beside_fresh: bool = False

    def to_config(self, arch: Architecture, source: Source, processes: int) -> TrainConfig:
        """Everything that decides the weights.

        Raises:
            ConfigError: the recipe or a value.
            TrainingError: the network's head does not fit the data.
        """
        if self.init is None and (self.head_map is not None or self.init_shared):
            flag = "--init-shared" if self.head_map is None else "--head-map"
            raise ConfigError(f"{flag}: is about weights to start from (got none). Add --init.")
        recipe_name, recipe = self._load_recipe(arch, source, processes)
        values = {
            "name": self.name,
            "arch": adapt_architecture(self.name, arch, recipe, source, self.new_head),
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
        return validated(TrainConfig, values, "train")

    def _load_recipe(
        self, arch: Architecture, source: Source, processes: int
    ) -> tuple[str, Recipe]:
        """The recipe named, as it is; else one chosen and fitted to the images."""
        if self.recipe is not None:
            return self.recipe, load_changed_recipe(self.recipe, self.changes, self.epochs)
        images = 0 if source.train is None else len(source.train)
        size = find_size(arch, self.changes)
        from_weights = self.init is not None and not self.beside_fresh
        name = choose_recipe(size, images, from_weights)
        recipe = load_changed_recipe(name, self.changes, self.epochs)
        seed = self.seed if recipe.split_seed is None else recipe.split_seed
        splits = make_splits(source, recipe.validation, seed, recipe.images)
        fixed = list_fixed_fields(self.changes, self.epochs)
        return name, fit_recipe(recipe, name, len(splits.train), processes, fixed)


def adapt_architecture(
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
    of_recipe = {
        "image_size": recipe.image_size,
        "drop_path": recipe.drop_path,
        "layer_scale": recipe.layer_scale,
    }
    changes |= {field: value for field, value in of_recipe.items() if value is not None}
    return arch.model_copy(update=changes)
