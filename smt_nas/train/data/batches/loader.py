"""Batches of images, read ahead by workers, and what becomes of images that cannot be read.

All of it follows from keys: `BatchSampler` says which images make up which step, and what is drawn
for an image depends on (seed, IMAGE, epoch, index). So the batches of update 1000 are the same bits
after a resume as without one, and with any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from smt_nas.errors import TrainingError, list_names, one_line
from smt_nas.train.data.batches.pixels import UnknownRange
from smt_nas.train.data.batches.reader_processes import explain_reader_failures, ignore_signals
from smt_nas.train.data.batches.sampler import BatchSampler, ImageKey
from smt_nas.train.data.batches.transforms import Transform
from smt_nas.train.data.examples import Examples, IntArray
from smt_nas.train.processes.randomness import IMAGE, seed_cpu


class UnreadableImages:
    """Images that could not be read, each counted once.

    Args:
        limit: how many there may be.

    Attributes:
        names: of the images, with the reason.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.names: dict[str, str] = {}

    def add(self, failures: Iterable[tuple[str, str]]) -> None:
        """Count (name, reason) pairs.

        Raises:
            TrainingError: there are more than the limit.
        """
        self.names.update(failures)
        if len(self.names) > self.limit:
            names = [f"{name} ({reason})" for name, reason in self.names.items()]
            raise TrainingError(
                f"images: at most {self.limit} may be unreadable (got {len(names)}: "
                f"{list_names(names, 3)}). Mend or remove them, or allow more with "
                "--max-unreadable N."
            )


@dataclass(frozen=True)
class ReaderOptions:
    """How images are read.

    Attributes:
        workers: processes that read ahead; 0 reads in this one.
        pin: put batches into memory that a GPU copies from faster.
        limit_unreadable: images that may be unreadable.
    """

    workers: int = 0
    pin: bool = False
    limit_unreadable: int = 100


class _Item(NamedTuple):
    image: Tensor | None  # (C, H, W); None where it is left out
    label: int
    unreadable: list[tuple[str, str]]


class _Batch(NamedTuple):
    images: Tensor | None  # (B, C, H, W)
    labels: IntArray  # (B,); no tensor, whose way between processes could run out of memory unseen
    unreadable: list[tuple[str, str]]


def _read_image(examples: Examples, transform: Transform, i: int, *seed: int) -> Tensor | str:
    """One image, or why it cannot be read."""
    try:
        image = examples.image(i)
    except (OSError, ValueError) as error:
        return one_line(error)
    if seed:
        seed_cpu(*seed)
    try:
        return transform(image)
    except UnknownRange as error:
        return one_line(error)


class _TrainingDataset(Dataset[_Item]):
    """Images by (epoch, index); one that cannot be read is replaced by the next that can."""

    def __init__(self, examples: Examples, transform: Transform, seed: int, limit: int) -> None:
        self.examples, self.transform = examples, transform
        self.seed = seed
        self.limit = limit

    def __getitem__(self, key: ImageKey) -> _Item:
        epoch, index = key
        n, unreadable = len(self.examples), list[tuple[str, str]]()
        for i in range(index, index + min(n, self.limit + 1)):  # more would be over the limit
            image = _read_image(
                self.examples, self.transform, i % n, self.seed, IMAGE, epoch, index
            )
            if isinstance(image, Tensor):
                return _Item(image, int(self.examples.labels[i % n]), unreadable)
            unreadable.append((self.examples.name(i % n), image))
        return _Item(None, -1, unreadable)


class _EvaluationDataset(Dataset[_Item]):
    """Images by index; one that cannot be read is left out."""

    def __init__(self, examples: Examples, transform: Transform) -> None:
        self.examples, self.transform = examples, transform

    def __getitem__(self, i: int) -> _Item:
        image = _read_image(self.examples, self.transform, i)
        if isinstance(image, Tensor):
            return _Item(image, int(self.examples.labels[i]), [])
        return _Item(None, -1, [(self.examples.name(i), image)])


def _collate(items: list[_Item]) -> _Batch:
    # default_collate writes a worker's batch into shared memory at once, or raises where it is full
    images = [item.image for item in items if item.image is not None]
    labels = [item.label for item in items if item.image is not None]
    unreadable = [failure for item in items for failure in item.unreadable]
    batch = default_collate(images) if images else None
    return _Batch(batch, np.array(labels, np.int64), unreadable)


def load_training_batches(
    examples: Examples,
    transform: Transform,
    sampler: BatchSampler,
    start: int,
    stop: int,
    rank: int,
    loading: ReaderOptions,
    unreadable: UnreadableImages,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of the updates from `start` to before `stop`, `sampler.accumulation` of each.

    The workers live as long as the iterator, and read ahead over the ends of epochs. With no
    workers, the global generators of Python, NumPy and torch's CPU are left as the last image
    left them.

    Args:
        examples: the training split, `sampler.n` images.
        transform: what is done to each.
        sampler: which images, when.
        start: the first update; later ones are the same whatever it is.
        stop: the update after the last.
        rank: of this process.
        loading: how they are read.
        unreadable: counts images that are not.

    Returns: images (B, C, H, W) float32 and labels (B,) int64, on the CPU.

    Raises:
        TrainingError: too many images are unreadable, or the workers cannot go on.
    """
    assert sampler.n == len(examples)
    dataset = _TrainingDataset(examples, transform, sampler.seed, loading.limit_unreadable)
    for images, labels in _iterate_batches(
        dataset, sampler.batches(start, stop, rank), loading, unreadable
    ):
        if images is None:
            raise TrainingError(
                f"images: none of the training split can be read (got {len(examples)}, e.g. "
                f"{list_names(list(unreadable.names), 1)}). Mend them."
            )
        yield images, labels


def load_evaluation_batches(
    examples: Examples,
    transform: Transform,
    batch: int,
    rank: int,
    size: int,
    loading: ReaderOptions,
    unreadable: UnreadableImages,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Every `size`-th image from the one numbered `rank`, in order; the last batch may be short.

    Images that cannot be read are left out, so a batch may be short anywhere.

    Args:
        examples: the split.
        transform: what is done to each.
        batch: images a batch.
        rank: of this process.
        size: number of processes; all of them together see each image once.
        loading: how they are read.
        unreadable: counts images that are not.

    Returns: images (B, C, H, W) float32 and labels (B,) int64, on the CPU.

    Raises:
        TrainingError: too many images are unreadable, or the workers cannot go on.
    """
    mine = range(rank, len(examples), size)
    keys = (list(mine[i : i + batch]) for i in range(0, len(mine), batch))
    for images, labels in _iterate_batches(
        _EvaluationDataset(examples, transform), keys, loading, unreadable
    ):
        if images is not None:
            yield images, labels


def _iterate_batches(
    dataset: Dataset[_Item],
    keys: Iterator[list[Any]],
    loading: ReaderOptions,
    unreadable: UnreadableImages,
) -> Iterator[tuple[Tensor | None, Tensor]]:
    """Read the images of each list of keys, in one pass of one DataLoader."""
    loader = DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=loading.workers,
        collate_fn=_collate,
        worker_init_fn=ignore_signals,
        pin_memory=loading.pin,
        generator=torch.Generator(),  # else it draws from the global one
    )
    with explain_reader_failures(loading.workers):
        for images, labels, failed in loader:
            unreadable.add(failed)
            numbers = torch.from_numpy(labels)
            yield images, numbers.pin_memory() if loading.pin else numbers
