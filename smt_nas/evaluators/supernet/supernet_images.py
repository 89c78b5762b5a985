"""The images of a supernet: those it is trained on, those of its batch norms, the search split.

The pipeline is that of every training. The search split is what a training would be validated by:
it is never trained on, and the test split is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from smt_nas.fingerprint import fingerprint
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
from smt_nas.train.data.memory.decoded_images import DecodedImages
from smt_nas.train.data.memory.holding import (
    HoldingOptions,
    hold_evaluation_images,
    hold_in_all,
)
from smt_nas.train.data.memory.memory_batches import HeldImages, iterate_evaluation_batches
from smt_nas.train.data.sources import Splits, make_splits
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.processes.randomness import IMAGE
from smt_nas.train.recipe import EvalTransform, Recipe
from smt_nas.train.steps.update_parts import Batch

_BATCH = 250  # images of an evaluation at a time; batch norms take their statistics over as many
_LIMIT = 100  # images of an evaluation that may be unreadable
_COMPARED = 64  # images of a split that tell data sets of equal labels apart


@dataclass(frozen=True)
class TrainingImages:
    """Images to train on; made by `open_training_images`; `hold_training_images`
    puts them in memory.

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
) -> TrainingImages:
    """Find the images of a training.

    Raises:
        TrainingError: there are too few.
    """
    split_seed = seed if recipe.split_seed is None else recipe.split_seed
    splits = make_splits(source, recipe.validation, split_seed, recipe.images)
    sampler = BatchSampler(
        len(splits.train), recipe.batch_size, group.size, recipe.accumulation, seed
    )
    unreadable = UnreadableImages(reading.limit_unreadable)
    return TrainingImages(splits, sampler, source, recipe, spec, reading, None, unreadable)


def hold_training_images(
    images: TrainingImages, group: ProcessGroup, seed: int, say: Callable[[str], None]
) -> TrainingImages:
    """With the images in memory, where every process can hold them; else `say` gets a line."""
    spec = images.spec
    place = HoldingOptions(group.device, spec.image_size, spec.in_channels, group.size)
    splits, recipe = images.splits, images.recipe
    return replace(images, held=hold_in_all(group, splits, images.source, recipe, seed, place, say))


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
    images = hold_evaluation_images(
        examples, evaluation, HoldingOptions(group.device, spec.image_size, channels)
    )
    return RatingImages(examples, evaluation, spec, norm, group, images)


def digest_data(source: Source) -> str:
    """Of the classes, the labels of what is trained on and rated by, and some images of each."""
    parts = ["\n".join(source.classes).encode()]
    for examples in (source.train, source.validation):
        if examples is None:
            continue
        parts.append(np.asarray(examples.labels, "<i8").tobytes())
        chosen = np.unique(np.linspace(0, len(examples) - 1, _COMPARED).astype(int))
        parts += [_read_bytes(examples, int(i)) for i in chosen]
    return fingerprint(b"".join(parts))


def _read_bytes(examples: Examples, i: int) -> bytes:
    try:
        return examples.image(i).tobytes()
    except (OSError, ValueError):  # counted and named where it is trained on
        return examples.name(i).encode()


def choose_calibration_images(train: Examples, n: int) -> Examples:
    """The first n of a fixed order of the training images; the same for every network.

    With another n, the fewer are the first of the more.
    """
    order = np.random.default_rng([IMAGE]).permutation(len(train))
    return Subset(train, np.asarray(order[:n], np.int64))
