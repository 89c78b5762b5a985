"""What a training is asked for: `Settings` decide its result, `How` only how it gets there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from smt_nas.arch import Architecture
from smt_nas.train.recipe import Recipe

Log = Literal["tensorboard", "mlflow", "wandb"]
Counted = Annotated[int, Field(ge=1, le=1_000_000)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Settings(_Value):
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
    processes: Counted = 1

    @property
    def images_an_update(self) -> int:
        """Images of all processes and steps that one update is made of."""
        return self.recipe.batch_size * self.recipe.accumulation * self.processes

    @property
    def split_seed(self) -> int:
        """Seed of which images are held out and sampled."""
        return self.seed if self.recipe.split_seed is None else self.recipe.split_seed


class How(_Value):
    """What may change from one start of a training to the next.

    Attributes:
        device: `cpu`, `cuda`, `cuda:N`; None for this machine's GPU where there is one.
        workers: processes that read images, for each training process; None for a number that
            suits the device.
        compile: run the network through torch.compile.
        channels_last: memory format of the images.
        grad_checkpointing: recompute blocks in the backward pass.
        deterministic: let torch use only operators that give the same bits every time.
        save_minutes: time between checkpoints inside an epoch; one is written after each anyway.
        save_updates: updates between checkpoints inside an epoch; None for none by count.
        keep: checkpoints kept.
        until_epoch: stop there, the recipe having more epochs; None for its last.
        max_unreadable: images that may be unreadable.
        log: writers beside metrics.csv.
    """

    device: str | None = None
    workers: Annotated[int, Field(ge=0, le=256)] | None = None
    compile: bool = False
    channels_last: bool = False
    grad_checkpointing: bool = False
    deterministic: bool = False
    save_minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    save_updates: Counted | None = None
    keep: Counted = 2
    until_epoch: Counted | None = None
    max_unreadable: Annotated[int, Field(ge=0, le=1_000_000)] = 100
    log: tuple[Log, ...] = ()
