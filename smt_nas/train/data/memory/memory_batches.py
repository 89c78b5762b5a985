"""Batches of images held in memory, in the order of `BatchSampler`, made on their device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from smt_nas.errors import TrainingError, list_names
from smt_nas.train.data.batches.loader import UnreadableImages
from smt_nas.train.data.batches.sampler import BatchSampler
from smt_nas.train.data.examples import Examples, IntArray
from smt_nas.train.data.memory.batch_transforms import (
    BatchTransform,
    normalize,
)
from smt_nas.train.data.memory.decoded_images import (
    DecodedImages,
)
from smt_nas.train.data.sources import Splits

_AT_ONCE = 32_000_000  # bytes of the batches that a GPU makes in one go; a CPU makes one


@dataclass(frozen=True)
class HeldImages:
    """The images of a training; made by `holding.hold_images`.

    Attributes:
        train: those that are trained on.
        validation: those that it is judged by.
        names: of the training and of the validation images, for those that cannot be read.
        transform: what is drawn for training images, and how all are normalised.
    """

    train: DecodedImages
    validation: DecodedImages
    names: Splits
    transform: BatchTransform

    def training_batches(
        self,
        sampler: BatchSampler,
        start: int,
        stop: int,
        rank: int,
        unreadable: UnreadableImages,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """As `load_training_batches`: images (B, channels, size, size) and labels, on the device.

        Raises:
            TrainingError: too many images are unreadable.
        """
        assert sampler.n == len(self.train)
        transform = self.transform
        device, micros = self.train.rows.device, sampler.accumulation
        steps = [(update, micro) for update in range(start, stop) for micro in range(micros)]
        at_once = _count_at_once(device, sampler.batch, transform)
        for i in range(0, len(steps), at_once):
            part = steps[i : i + at_once]
            indices, drawn = self._plan(sampler, part, rank, unreadable)
            plan = torch.from_numpy(np.concatenate([indices[:, None], drawn], axis=1))
            plan = plan.to(device, non_blocking=True)
            images = transform.apply(self.train, plan[:, 0], plan[:, 1:])
            labels = self.train.labels[plan[:, 0]]
            b = sampler.batch
            for j, (update, micro) in enumerate(part):
                own = slice(j * b, (j + 1) * b)
                number = micro * sampler.size + rank
                transform.erase(images[own], plan[own, 1:], update, number)
                yield images[own], labels[own]

    def evaluation_batches(
        self, batch: int, rank: int, size: int, unreadable: UnreadableImages
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """The validation images: see `iterate_evaluation_batches`."""
        norm = self.transform.mean, self.transform.std
        place = batch, rank, size
        return iterate_evaluation_batches(
            self.validation, self.names.validation, norm, place, unreadable
        )

    def _plan(
        self,
        sampler: BatchSampler,
        steps: list[tuple[int, int]],
        rank: int,
        unreadable: UnreadableImages,
    ) -> tuple[IntArray, IntArray]:
        """Images of some batches one after the other, and what is drawn for them."""
        held, b = self.train, sampler.batch
        indices = np.concatenate([sampler.indices(*step, rank) for step in steps])
        if held.failures:
            indices = self._replace(indices, unreadable)
        drawn = list[IntArray]()
        for update, micro in steps:
            of_update = self.transform.draw(
                update, sampler.images_per_update, held.height, held.width
            )
            first = (micro * sampler.size + rank) * b
            drawn.append(of_update[first : first + b])
        return indices, np.concatenate(drawn)

    def _replace(self, indices: IntArray, unreadable: UnreadableImages) -> IntArray:
        """Images that can be read in the place of those that cannot, which are counted."""
        held, n = self.train, len(self.train)
        for i in indices[held.replacements[indices] != indices].tolist():
            count = n if held.replacements[i] < 0 else int(held.replacements[i] - i) % n
            failed = (np.arange(i, i + count)) % n
            unreadable.add(_name_failures(self.names.train, held, failed))
        if held.replacements[0] < 0:
            raise TrainingError(
                f"images: none of the training split can be read (got {n}, e.g. "
                f"{list_names(list(unreadable.names), 1)}). Mend them."
            )
        return held.replacements[indices]


def iterate_evaluation_batches(
    held: DecodedImages,
    examples: Examples,
    norm: tuple[Sequence[float], Sequence[float]],
    place: tuple[int, int, int],
    unreadable: UnreadableImages,
) -> Iterator[tuple[Tensor, Tensor]]:
    """As `load_evaluation_batches`: images (B, channels, size, size) and labels, on the device.

    Args:
        held: the images.
        examples: the split, for the names of those that cannot be read.
        norm: mean and deviation of the network's channels, in 0..1.
        place: images a batch, the number of this process, and of all.
        unreadable: counts images that are not read.

    Raises:
        TrainingError: too many images are unreadable.
    """
    batch, rank, size = place
    mine = np.arange(rank, len(held), size)
    for i in range(0, len(mine), batch):
        indices = mine[i : i + batch]
        failed = indices[held.replacements[indices] != indices]
        unreadable.add(_name_failures(examples, held, failed))
        indices = np.setdiff1d(indices, failed)
        if len(indices):
            own = torch.from_numpy(indices).to(held.rows.device)
            yield normalize(held.pixels[own], *norm), held.labels[own]


def _name_failures(
    examples: Examples, held: DecodedImages, failed: IntArray
) -> list[tuple[str, str]]:
    return [(examples.name(i), held.failures[i]) for i in failed.tolist()]


def _count_at_once(device: torch.device, batch: int, transform: BatchTransform) -> int:
    """Batches that are made in one go: a GPU is then not asked for small pieces of work."""
    if device.type == "cpu":
        return 1
    size = 4 * batch * len(transform.mean) * transform.size**2
    return max(1, _AT_ONCE // size)
