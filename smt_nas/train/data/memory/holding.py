"""Whether the images of a training can be held in memory, and if so, there they are.

They can where the recipe draws only what is done on whole batches, and where all of them, decoded
and of one size, fit a share of the memory. Else the plain loader reads them, and one line says why.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch

from smt_nas.train.data.batches.transforms import (
    Preparation,
    create_evaluation_preparation,
    create_training_preparation,
)
from smt_nas.train.data.examples import Examples, Source
from smt_nas.train.data.memory.batch_transforms import create_batch_transform
from smt_nas.train.data.memory.decoded_images import (
    CannotHold,
    DecodedImages,
    DecodingRequest,
    check_number,
    decode_images,
    probe_images,
)
from smt_nas.train.data.memory.memory_batches import HeldImages
from smt_nas.train.data.sources import Splits
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import Augment, EvalTransform, Recipe


@dataclass(frozen=True)
class HoldingOptions:
    """Where images are held, and for what network.

    Attributes:
        device: that trains.
        size: pixels a side that the network takes.
        channels: that it takes.
        processes: of the training, each of which holds all training images.
        threads: that decode.
    """

    device: torch.device
    size: int
    channels: int
    processes: int = 1
    threads: int = 1


def hold_in_all(
    group: ProcessGroup,
    splits: Splits,
    source: Source,
    recipe: Recipe,
    seed: int,
    options: HoldingOptions,
    say: Callable[[str], None],
) -> HeldImages | None:
    """The images of a training, held in every process; None where one of them cannot.

    Args:
        group: the processes; each calls this.
        splits: the images.
        source: the data set they are of.
        recipe: of the training.
        seed: of the training.
        options: where they are held.
        say: gets a line where they are not held.

    Raises:
        TrainingError: their files cannot be read at all.
    """

    def hold() -> HeldImages | str:
        try:
            return hold_images(splits, source, recipe, seed, options)
        except CannotHold as reason:
            return str(reason)

    images = group.run_on_all(hold)
    reasons = group.all_gather(images if isinstance(images, str) else None)
    known = [reason for reason in reasons if reason is not None]
    if known:
        say(describe_obstacle(known[0]))
    return None if known or isinstance(images, str) else images


def hold_images(
    splits: Splits, source: Source, recipe: Recipe, seed: int, options: HoldingOptions
) -> HeldImages:
    """Decode the images of a training and keep them.

    Args:
        splits: the images.
        source: the data set they are of.
        recipe: of the training.
        seed: of the training.
        options: where they are held.

    Raises:
        CannotHold: the recipe draws what is not done in memory, or the images do not fit.
        TrainingError: their files cannot be read at all.
    """
    _check_augment(recipe.augment)
    train, validation = _list_requests(splits, recipe, options)
    check_number(train)
    judged_by = decode_images(validation)  # first: where they do not fit, no others are decoded
    return HeldImages(
        train=decode_images(train),
        validation=judged_by,
        names=splits,
        transform=create_batch_transform(recipe, options.size, options.channels, source, seed),
    )


def hold_evaluation_images(
    examples: Examples, evaluation: EvalTransform, options: HoldingOptions
) -> DecodedImages | None:
    """The images of a split as an evaluation takes them; None where they cannot be held.

    Raises:
        TrainingError: their files cannot be read at all.
    """
    try:
        return decode_images(_request_evaluation(examples, evaluation, options))
    except CannotHold:
        return None


def find_obstacle(splits: Splits, recipe: Recipe, options: HoldingOptions) -> str | None:
    """Why images will not be held, as far as the recipe and some of them tell; None for nothing.

    Raises:
        TrainingError: their files cannot be read at all.
    """
    try:
        _check_augment(recipe.augment)
        for request in _list_requests(splits, recipe, options):
            probe_images(request)
    except CannotHold as reason:
        return str(reason)
    return None


def describe_obstacle(reason: str) -> str:
    """A line for the user."""
    return f"Images are read anew every epoch, not held in memory: {reason}."


def _check_augment(augment: Augment) -> None:
    words = {"auto_augment": augment.auto_augment, "color_jitter": augment.color_jitter}
    for name, value in words.items():
        if value:
            raise CannotHold(f"augment.{name} ({value}) is not done on whole batches")


def _list_requests(
    splits: Splits, recipe: Recipe, options: HoldingOptions
) -> tuple[DecodingRequest, DecodingRequest]:
    """Of the training and of the validation images."""
    size, augment = options.size, recipe.augment
    whole = augment.crop_scale is None
    steps = (size, augment.interpolation, recipe.evaluation.resize) if whole else None
    prepare = create_training_preparation(recipe, size, options.channels)
    return (
        _request(splits.train, steps, prepare, options),
        _request_evaluation(splits.validation, recipe.evaluation, options),
    )


def _request_evaluation(
    examples: Examples, evaluation: EvalTransform, options: HoldingOptions
) -> DecodingRequest:
    prepare = create_evaluation_preparation(evaluation, options.size, options.channels)
    return _request(examples, (evaluation, options.size), prepare, options)


def _request(
    examples: Examples, steps: Hashable, prepare: Preparation, options: HoldingOptions
) -> DecodingRequest:
    return DecodingRequest(
        steps=steps,
        channels=options.channels,
        device=options.device,
        share=1 / options.processes,
        threads=options.threads,
        examples=examples,
        prepare=prepare,
    )
