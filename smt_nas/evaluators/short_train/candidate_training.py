"""The training that a candidate gets: its recipe, shortened, and fitted where images are few."""

from __future__ import annotations

from dataclasses import dataclass, replace

from smt_nas.arch import Architecture
from smt_nas.evaluators.configs import ShortTraining
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import make_splits
from smt_nas.train.planning.recipe_choice import (
    choose_recipe,
    fit_recipe,
    list_batch_changes,
    list_fixed_fields,
    load_changed_recipe,
)
from smt_nas.train.recipe import Recipe, load_recipe
from smt_nas.train.train_config import TrainRequest

_FEWEST_A_PASS = 8
"""Updates an epoch that `small` is left with as it is: so searches of before keep their figures."""


@dataclass(frozen=True)
class CandidateTraining:
    """How networks of one size are trained, to the end.

    Attributes:
        recipe_name: named by the user, or chosen.
        recipe: shortened and fitted.
        shortening: changes that shorten the recipe of that name, the user's among them.
        fitting: changes of batch and rates after these, where images are few.
        images: that are trained on.
    """

    recipe_name: str
    recipe: Recipe
    shortening: tuple[str, ...]
    fitting: tuple[str, ...]
    images: int

    @property
    def updates(self) -> int:
        """Of a network that goes all the way."""
        per_update = self.recipe.batch_size * self.recipe.accumulation
        return self.images // per_update * self.recipe.epochs

    def make_request(self, config: ShortTraining, arch: Architecture) -> TrainRequest:
        """That of one network."""
        return TrainRequest(
            name=arch.key,
            data=config.data,
            recipe=self.recipe_name,
            changes=(*self.shortening, *self.fitting),
            epochs=config.epochs,
            seed=config.seed,
            new_head=True,
        )


def plan_training(config: ShortTraining, size: int, source: Source) -> CandidateTraining:
    """Choose the recipe where none is named, shorten it, and fit it to few images.

    Args:
        config: what is asked for.
        size: pixels of a side of the networks.
        source: the data.

    Raises:
        ConfigError: the recipe or a change.
        TrainingError: nothing to train on, or to hold out.
    """
    own_size = () if config.image_size is None else (f"image_size={config.image_size}",)
    images = 0 if source.train is None else len(source.train)
    name = config.recipe or choose_recipe(config.image_size or size, images, from_weights=False)
    whole = load_recipe(name)
    warm = f"warmup_epochs={whole.warmup_epochs * config.epochs / whole.epochs}"
    changes = (warm, *config.changes, *own_size, "eval_every=1")
    recipe = load_changed_recipe(name, changes, config.epochs)
    seed = config.seed if recipe.split_seed is None else recipe.split_seed
    images = len(make_splits(source, recipe.validation, seed, recipe.images).train)
    plain = CandidateTraining(name, recipe, changes, (), images)
    if config.recipe is not None or _is_left(plain):
        return plain
    fitted = fit_recipe(recipe, name, images, 1, list_fixed_fields(changes, config.epochs))
    return replace(plain, recipe=fitted, fitting=list_batch_changes(recipe, fitted))


def _is_left(plain: CandidateTraining) -> bool:
    return plain.recipe_name == "small" and plain.updates >= _FEWEST_A_PASS * plain.recipe.epochs
