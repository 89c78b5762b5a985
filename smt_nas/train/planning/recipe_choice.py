"""Which recipe suits a training where none is named, fitted to the number of its images.

A network learns by updates. A recipe of a large data set makes a handful of them on few images, so
there the batch gets smaller and the epochs more, until there are some hundred. A recipe that the
user names is taken as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from smt_nas.arch import Architecture
from smt_nas.train.recipe import Recipe, apply_changes, load_recipe, resolve_field
from smt_nas.yaml import validated

FEW_UPDATES = 200
"""Updates of a whole training below which few networks learn much."""

_SMALL = 64  # pixels, up to which a network is trained by the recipe for small images
_MANY = 10_000  # images, from which the published recipe makes thousands of updates
_FEWEST_A_PASS = 12  # updates an epoch, for which a batch is made smaller
_SMALLEST_BATCH = 8
_WANTED = {"small": FEW_UPDATES, "own-images": 1000, "finetune": 400}
"""Updates of a whole training that a recipe is fitted to make, where the images are few."""


def choose_recipe(size: int, images: int, from_weights: bool) -> str:
    """The recipe where none is named.

    Args:
        size: pixels of a side.
        images: to train on.
        from_weights: the training starts from some.
    """
    if from_weights:
        return "finetune"
    if size <= _SMALL:
        return "small"
    return "imagenet1k" if images >= _MANY else "own-images"


def load_changed_recipe(name: str, changes: Sequence[str], epochs: int | None) -> Recipe:
    """A recipe with the changes of the user, their epochs last; see `load_recipe`."""
    recipe = load_recipe(name, changes)
    if epochs is None:
        return recipe
    values = recipe.model_dump(mode="json") | {"epochs": epochs}
    if recipe.warmup_epochs >= epochs:  # a warm-up that would fill them takes a tenth instead
        values["warmup_epochs"] = epochs / 10
    return validated(Recipe, values, f"--epochs {epochs}")


def list_fixed_fields(changes: Sequence[str], epochs: int | None) -> frozenset[str]:
    """Full names of the fields that the user decided."""
    named = {resolve_field(change.partition("=")[0].strip()) for change in changes}
    return frozenset(named | ({"epochs"} if epochs is not None else set()))


def fit_recipe(
    recipe: Recipe, name: str, images: int, processes: int, fixed: frozenset[str]
) -> Recipe:
    """A recipe that makes as many updates as it needs to on so many images.

    Args:
        recipe: with the changes of the user.
        name: of it; recipes of large data sets are left as they are.
        images: to train on.
        processes: of the training.
        fixed: fields that the user decided: left as they are.
    """
    wanted = _WANTED.get(name)
    if wanted is None or _count_updates(recipe, images, processes) * recipe.epochs >= wanted:
        return recipe
    changes: dict[str, int] = {}
    if not fixed & {"batch_size", "accumulation"}:
        changes["batch_size"] = _fit_batch(recipe, images, processes)
    fitted = recipe.model_copy(update=changes)
    fitted = _scale_rates(fitted, processes * fitted.batch_size / recipe.batch_size, fixed)
    updates = _count_updates(fitted, images, processes)
    if "epochs" not in fixed and updates:
        epochs = max(recipe.epochs, math.ceil(wanted / updates))
        fitted = fitted.model_copy(update={"epochs": epochs})
    return validated(Recipe, fitted.model_dump(mode="json"), f"recipe {name}")


def list_batch_changes(recipe: Recipe, fitted: Recipe) -> tuple[str, ...]:
    """Changes, as `load_recipe` takes them, that make the batch and the rates of one of another."""
    before, after = (r.model_dump(mode="json") for r in (recipe, fitted))
    rates = ("lr", "warmup_lr", "min_lr")
    values = {"batch_size": (before["batch_size"], after["batch_size"])} | {
        f"optimizer.{name}": (before["optimizer"][name], after["optimizer"][name]) for name in rates
    }
    return tuple(f"{name}={new!r}" for name, (old, new) in values.items() if new != old)


def find_size(arch: Architecture, changes: Sequence[str]) -> int:
    """Pixels of a side that the network is trained at."""
    size = apply_changes(load_recipe("small"), changes).image_size
    return arch.image_size if size is None else size


def _count_updates(recipe: Recipe, images: int, processes: int) -> int:
    """Of an epoch."""
    return images // (recipe.batch_size * recipe.accumulation * processes)


def _fit_batch(recipe: Recipe, images: int, processes: int) -> int:
    batch = recipe.batch_size
    while batch > 1 and batch % 2 == 0:
        updates = images // (batch * recipe.accumulation * processes)
        if updates >= _FEWEST_A_PASS or (updates and batch <= _SMALLEST_BATCH):
            break
        batch //= 2
    return batch if batch % 2 == 0 or not recipe.augment.mixes else 2


def _scale_rates(recipe: Recipe, share: float, fixed: frozenset[str]) -> Recipe:
    """With rates for updates of a share of the images: by its root, as of Adam's kind.

    More images than the recipe's own leave the rates: a recipe says them for any number.
    Source: Malladi et al., "On the SDEs and scaling rules for adaptive gradient algorithms", 2022
    (arXiv 2205.10287).
    """
    if recipe.optimizer.lr_per is not None:
        return recipe
    factor = math.sqrt(min(share, 1.0))
    rates = {
        name: float(f"{getattr(recipe.optimizer, name) * factor:.2g}")
        for name in ("lr", "warmup_lr", "min_lr")
        if f"optimizer.{name}" not in fixed
    }
    optimizer = recipe.optimizer.model_copy(update=rates)
    return recipe.model_copy(update={"optimizer": optimizer})
