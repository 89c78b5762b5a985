"""The images of a supernet: those it is trained on, those of its batch norms, the search split.

The pipeline is that of every training. The search split is what a training would be validated by:
it is never trained on, and the test split is not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from smt_nas.models.supernet import SupernetSpec
from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_evaluation_batches,
    load_training_batches,
)
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.data.batches.transforms import (
    adapt_statistics,
    create_evaluation_transform,
    create_training_transform,
)
from smt_nas.train.data.examples import Examples, Source, Subset
from smt_nas.train.data.memory.decoded_images import CannotHold, DecodedImages
from smt_nas.train.data.memory.holding import (
    HoldingOptions,
    describe_obstacle,
    hold_evaluation_images,
    hold_images,
)
from smt_nas.train.data.memory.memory_batches import HeldImages, iterate_evaluation_batches
from smt_nas.train.data.sources import Splits, make_splits
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.processes.randomness import IMAGE
from smt_nas.train.recipe import EvalTransform, Recipe
from smt_nas.train.steps.update_parts import Batch

_BATCH = 250  # images of an evaluation at a time; batch norms take their statistics over as many
_LIMIT = 100  # images of an evaluation that may be unreadable


@dataclass(frozen=True)
class TrainingImages:
    """Images to train on; made by `open_training_images`.

    Attributes:
        splits: what is trained on, and the search split.
        sampler: which images make up which step.
        source: the data.
        recipe: of the training.
        spec: of the store.
        options: how they are read where they are not held.
        held: the images in memory; None where they are not.
        unreadable: counts images that could not be read.
    """

    splits: Splits
    sampler: BatchSampler
    source: Source
    recipe: Recipe
    spec: SupernetSpec
    options: ReaderOptions
    held: HeldImages | None
    unreadable: UnreadableImages

    def load_batches(self, start: int, stop: int, rank: int) -> Iterator[Batch]:
        """This process's batches from step `start` to before `stop`."""
        if self.held is not None:
            return self.held.training_batches(self.sampler, start, stop, rank, self.unreadable)
        size, channels = self.spec.image_size, self.spec.in_channels
        transform = create_training_transform(self.recipe, size, channels, self.source)
        return load_training_batches(
            self.splits.train,
            transform,
            self.sampler,
            start,
            stop,
            rank,
            self.options,
            self.unreadable,
        )


def open_training_images(
    source: Source,
    recipe: Recipe,
    spec: SupernetSpec,
    seed: int,
    group: ProcessGroup,
    reading: ReaderOptions,
) -> tuple[TrainingImages, str | None]:
    """Find the images of a training, in memory where they can be held.

    Returns: them, and a line for the user where they are not held.

    Raises:
        TrainingError: there are too few, or they cannot be read.
    """
    split_seed = seed if recipe.split_seed is None else recipe.split_seed
    splits = make_splits(source, recipe.validation, split_seed, recipe.images)
    sampler = BatchSampler(
        len(splits.train), recipe.batch_size, group.size, recipe.accumulation, seed
    )
    place = HoldingOptions(group.device, spec.image_size, spec.in_channels, group.size)
    held, line = None, None
    try:
        held = hold_images(splits, source, recipe, seed, place)
    except CannotHold as reason:
        line = describe_obstacle(str(reason))
    unreadable = UnreadableImages(reading.limit_unreadable)
    images = TrainingImages(splits, sampler, source, recipe, spec, reading, held, unreadable)
    return images, line


@dataclass(frozen=True)
class RatingImages:
    """A split as networks are rated by it: nothing is drawn; made by `open_rating_images`.

    Attributes:
        examples: the split.
        evaluation: how its images are prepared.
        spec: of the store.
        norm: mean and deviation of the channels.
        group: where they are.
        held: the images in memory; None where they are read each time.
    """

    examples: Examples
    evaluation: EvalTransform
    spec: SupernetSpec
    norm: tuple[tuple[float, ...], tuple[float, ...]]
    group: ProcessGroup
    held: DecodedImages | None = field(repr=False)

    def __len__(self) -> int:
        return len(self.examples)

    def load_batches(self) -> Iterator[Batch]:
        """All its images, in order."""
        place, unreadable = (_BATCH, 0, 1), UnreadableImages(_LIMIT)
        if self.held is not None:
            return iterate_evaluation_batches(
                self.held, self.examples, self.norm, place, unreadable
            )
        size, channels = self.spec.image_size, self.spec.in_channels
        transform = create_evaluation_transform(self.evaluation, size, channels, *self.norm)
        return load_evaluation_batches(
            self.examples, transform, *place, ReaderOptions(), unreadable
        )


def open_rating_images(
    examples: Examples,
    source: Source,
    evaluation: EvalTransform,
    spec: SupernetSpec,
    group: ProcessGroup,
) -> RatingImages:
    """Prepare a split for ratings; its images are held where they can be."""
    channels = spec.in_channels
    norm = adapt_statistics(source.mean, channels), adapt_statistics(source.std, channels)
    held = hold_evaluation_images(
        examples, evaluation, HoldingOptions(group.device, spec.image_size, channels)
    )
    return RatingImages(examples, evaluation, spec, norm, group, held)


def choose_calibration_images(train: Examples, n: int) -> Examples:
    """The first n of a fixed order of the training images; the same for every network.

    With another n, the fewer are the first of the more.
    """
    order = np.random.default_rng([IMAGE]).permutation(len(train))
    return Subset(train, np.asarray(order[:n], np.int64))
