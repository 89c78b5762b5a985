"""What the training of a supernet is made of, found good before anything is written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from smt_nas import __version__
from smt_nas.arch import Architecture
from smt_nas.evaluators.supernet.coverage import Coverage
from smt_nas.evaluators.supernet.supernet_card import SupernetCard
from smt_nas.evaluators.supernet.supernet_directory import SupernetFile, open_directory
from smt_nas.evaluators.supernet.supernet_images import (
    TrainingImages,
    digest_data,
    open_training_images,
)
from smt_nas.evaluators.supernet.supernet_options import SupernetOptions, SupernetRunOptions
from smt_nas.evaluators.supernet.training.sandwich import Sandwich
from smt_nas.evaluators.supernet.training.sandwich_step import (
    SandwichLearner,
    StepReport,
    build_sandwich_learner,
)
from smt_nas.models.supernet import SupernetSpec, WeightStore
from smt_nas.runtime.progress import TrainingListener
from smt_nas.space import SearchSpace
from smt_nas.train.data.batches.loader import ReaderOptions
from smt_nas.train.data.examples import Source
from smt_nas.train.learner import check_recipe
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.processes.randomness import UPDATE, WEIGHTS, make_generator, seed_all
from smt_nas.train.recipe import Recipe
from smt_nas.train.steps.update_parts import Batch
from smt_nas.train.weights.card import HeldOutSplit

SLOWER = 0.5
"""Factor of the learning rate with every roll-back."""


@dataclass(frozen=True)
class SupernetParts:
    """What a training works with; made by `prepare_parts`.

    Attributes:
        folder: of the training.
        options: what decides its weights.
        run: how it gets there.
        group: the processes.
        recipe: of the training.
        images: to train on.
        sandwich: draws the networks.
        card: of its weights, as they are before the first step.
        listener: hears the first process.
    """

    folder: Path
    options: SupernetOptions
    run: SupernetRunOptions
    group: ProcessGroup
    recipe: Recipe
    images: TrainingImages
    sandwich: Sandwich
    card: SupernetCard
    listener: TrainingListener

    def build_learner(self, steps: int) -> SandwichLearner:
        """With the first weights of the seed."""
        store = WeightStore(self.card.spec, make_generator(self.options.seed, WEIGHTS))
        return build_sandwich_learner(store, self.recipe, self.group, steps)

    def make_step(
        self, learner: SandwichLearner, batches: Iterator[Batch], step: int, rollbacks: int
    ) -> tuple[list[Architecture], StepReport]:
        """Train the networks of a step, and return them."""
        own = [next(batches) for _ in range(self.recipe.accumulation)]
        networks = self.sandwich.draw(step, rollbacks)
        seed_all(self.options.seed, UPDATE, step, self.group.rank)
        return networks, learner.train_step(step, networks, own, SLOWER**rollbacks)

    def open_directory(self) -> bool:
        """Write what the folder is, or see that it is this. Returns whether it was there."""
        content = SupernetFile(
            schema=1,
            settings=self.options,
            space_name=self.card.space_name,
            data_digest=self.card.data_digest,
            recipe=self.recipe,
            processes=self.group.size,
        )
        return open_directory(self.folder, content, self.sandwich.space, str(self.group.device))


def prepare_parts(
    options: SupernetOptions,
    folder: Path,
    listener: TrainingListener,
    run: SupernetRunOptions,
    group: ProcessGroup,
    source: Source,
) -> SupernetParts:
    """Find all that may be wrong with a training. Nothing is written.

    Raises:
        ConfigError: the space, the recipe, an option.
        TrainingError: the data, or a precision that the device does not have.
    """
    recipe, space = options.load_recipe(), SearchSpace.load(options.space)
    check_recipe(recipe, options.recipe, group)
    for line in options.describe_unused(recipe):
        listener.say(line)
    spec = SupernetSpec.for_space(
        space,
        len(source.classes),
        share_ffn=options.share_ffn,
        macs=options.macs,
        force=options.force,
    )
    sandwich = Sandwich(space, spec, options.seed, recipe.drop_path, options.macs)
    sandwich.draw(0)  # refuses a range without networks
    reading = ReaderOptions(run.workers, group.device.type == "cuda", run.max_unreadable)
    images = open_training_images(source, recipe, spec, options.seed, group, reading)
    card = _make_card(options, recipe, space, spec, source)
    return SupernetParts(folder, options, run, group, recipe, images, sandwich, card, listener)


def _make_card(
    options: SupernetOptions,
    recipe: Recipe,
    space: SearchSpace,
    spec: SupernetSpec,
    source: Source,
) -> SupernetCard:
    """Of weights before the first step."""
    return SupernetCard(
        spec=spec,
        space_name=space.name,
        macs=options.macs,
        classes=source.classes,
        mean=source.mean,
        std=source.std,
        evaluation=recipe.evaluation,
        recipe=options.recipe,
        data=options.data,
        images=recipe.images,
        data_digest=digest_data(source),
        seed=options.seed,
        step=0,
        steps=1,
        epoch=0,
        weights="model" if recipe.ema is None else "ema",
        coverage=Coverage().to_dict(),
        split=_describe_split(source, recipe, options.seed),
        versions={"smt_nas": __version__, "torch": torch.__version__},
    )


def _describe_split(source: Source, recipe: Recipe, seed: int) -> HeldOutSplit | None:
    if source.validation is not None:
        return None
    split_seed = seed if recipe.split_seed is None else recipe.split_seed
    return HeldOutSplit(fraction=recipe.validation, seed=split_seed)
