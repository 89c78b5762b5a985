"""`BatchSampler`: which images make up which step of which process."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from smt_nas.errors import TrainingError
from smt_nas.train.data.examples import IntArray
from smt_nas.train.processes.randomness import ORDER

ImageKey = tuple[int, int]  # epoch, index: what an image's augmentation depends on, with the seed


@dataclass(frozen=True)
class BatchSampler:
    """The order of a training; a function of its fields alone.

    An epoch is a permutation of all images drawn from (seed, ORDER, epoch). Its updates are the
    consecutive runs of batch * size * accumulation images; what is left over at its end waits for
    another epoch. In an update, step `micro` takes batch * size consecutive images, of which
    process `rank` takes the batch numbered `rank`.

    Attributes:
        n: images.
        batch: images of one process in one step.
        size: processes.
        accumulation: steps an update.
        seed: of the training.

    Raises:
        TrainingError: there are fewer images than one update takes.
    """

    n: int
    batch: int
    size: int
    accumulation: int
    seed: int

    def __post_init__(self) -> None:
        if self.updates_per_epoch > 0:
            return
        most = self.n // (self.size * self.accumulation)
        most -= most % 2  # where batches are mixed, they are even
        way = f"--set batch_size={most}" if most else "fewer processes, or --set accumulation=1"
        raise TrainingError(
            f"training split: must hold the images of one update, batch_size {self.batch} x "
            f"{self.size} processes x accumulation {self.accumulation} (got {self.n} images). "
            f"Try {way}."
        )

    @property
    def images_per_update(self) -> int:
        """Of all processes and steps."""
        return self.batch * self.size * self.accumulation

    @property
    def updates_per_epoch(self) -> int:
        """What is left over at an epoch's end makes none."""
        return self.n // self.images_per_update

    def indices(self, update: int, micro: int, rank: int) -> IntArray:
        """Images of one batch, (batch,).

        Args:
            update: counted from 0 through all epochs.
            micro: step of the update, from 0.
            rank: of the process.
        """
        epoch, step = divmod(update, self.updates_per_epoch)
        start = step * self.images_per_update + (micro * self.size + rank) * self.batch
        return _permute(self.n, self.seed, epoch)[start : start + self.batch]

    def batches(self, start: int, stop: int, rank: int) -> Iterator[list[ImageKey]]:
        """(epoch, index) of each image of each batch, from update `start` to before `stop`."""
        for update in range(start, stop):
            for micro in range(self.accumulation):
                indices = self.indices(update, micro, rank).tolist()
                yield [(update // self.updates_per_epoch, i) for i in indices]


@functools.lru_cache(maxsize=1)  # the batches of an epoch come one after the other
def _permute(n: int, seed: int, epoch: int) -> IntArray:
    return np.random.default_rng([seed, ORDER, epoch]).permutation(n)
