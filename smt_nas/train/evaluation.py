"""How well a network recognises labelled images: counted exactly, over all processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from smt_nas.errors import TrainingError
from smt_nas.runtime.progress import TrainingListener
from smt_nas.train.learner import Batch, autocast
from smt_nas.train.process_group import ProcessGroup
from smt_nas.train.recipe import Precision
from smt_nas.train.score import Counts, Score, score_from_counts

Tta = Literal["none", "flip"]

MOST_CONFUSIONS = 1000  # classes, beyond which who is taken for whom is not counted: C^2 numbers

_FIVE = 5


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    classes: Sequence[str],
    group: ProcessGroup,
    precision: Precision,
    tta: Tta = "none",
    listener: TrainingListener | None = None,
    *,
    of: int | None = None,
    channels_last: bool = False,
    confusions: bool = False,
) -> Score:
    """Evaluate a network on images, those of all processes; each module's mode is put back.

    Args:
        model: on the device of `group`; gives logits (B, C).
        batches: this process's: images (B, channels, H, W), labels (B,); it may have none.
        classes: their names, (C,).
        group: the processes.
        precision: amp runs the network under autocast; tf32 is the caller's switch.
        tta: `flip` takes the mean of the probabilities of an image and its mirror image.
        listener: hears how many images are done.
        of: images of the whole split; what is missing of them counts as unreadable.
        channels_last: memory format of the images.
        confusions: count which class is taken for which, of up to `MOST_CONFUSIONS` classes.

    Raises:
        TrainingError: the network's outputs are not of these classes, or there is no image.
    """
    network = _unwrap_ddp(model)
    tally = _Tally(len(classes), group.device, confusions and len(classes) <= MOST_CONFUSIONS)
    share = None if of is None else len(range(group.rank, of, group.size))
    with _eval_mode(network), torch.inference_mode():
        on_device = move_batches(batches, group.device, channels_last)
        for images, labels in _report_progress(on_device, share, listener):
            scores = _predict_log_probabilities(network, images, len(classes), precision, tta)
            tally.add(scores, labels)
    counts = tally.reduce(group)
    if not counts.images.any():
        raise TrainingError("evaluation: needs an image that can be read (got none). Check --data.")
    return score_from_counts(counts, classes, of)


def _unwrap_ddp(model: nn.Module) -> nn.Module:
    """Without DDP: it waits for the others in a forward, and they may have fewer batches."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def _report_progress(
    batches: Iterable[Batch], total: int | None, listener: TrainingListener | None
) -> Iterator[Batch]:
    """The batches; a listener hears of each when it is done."""
    evaluated = 0
    for images, labels in batches:
        yield images, labels
        evaluated += len(labels)
        if listener is not None:
            listener.evaluated(evaluated, total)


def move_batches(
    batches: Iterable[Batch], device: torch.device, channels_last: bool = False
) -> Iterator[Batch]:
    """The batches on a device, images (B, C, H, W) in the memory format asked for."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    for images, labels in batches:
        yield (
            images.to(device, non_blocking=True, memory_format=layout),
            labels.to(device, non_blocking=True),
        )


@contextmanager
def _eval_mode(network: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, and back into its own after the block."""
    before = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def _predict_log_probabilities(
    network: nn.Module, images: Tensor, classes: int, precision: Precision, tta: Tta
) -> Tensor:
    """Of each image and class, (B, C) float64; not finite where the logits are not."""
    views = [images] if tta == "none" else [images, images.flip(-1)]
    per_view = []
    for view in views:
        with autocast(precision, images.device):
            logits: Tensor = network(view)
        if logits.dim() != 2 or logits.shape[1] != classes:
            raise TrainingError(
                f"network: must give one output a class (got {tuple(logits.shape[1:])}, the data "
                f"has {classes} classes). Evaluate it on the data it was trained for."
            )
        per_view.append(logits.double().log_softmax(dim=1))
    if tta == "none":
        return per_view[0]
    both: Tensor = torch.logaddexp(per_view[0], per_view[1]) - math.log(2)
    return both


def _zeros(device: torch.device, *shape: int) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64, device=device)


class _Tally:
    """Counts on the device, so that no batch waits for the one before it."""

    def __init__(self, classes: int, device: torch.device, confusions: bool) -> None:
        self._classes = classes
        self._counts = _zeros(device, classes, 3)  # images, first, among five
        self._rest = _zeros(device, 2)  # loss, nonfinite
        self._confusion = _zeros(device, classes**2 if confusions else 0)

    def add(self, scores: Tensor, labels: Tensor) -> None:
        """Count a batch: scores (B, C), labels (B,).

        Of equal scores the lower index counts as the better one, as in argmax, so that a network
        that says the same of all classes is not right about five of them.
        """
        finite = scores.isfinite().all(dim=1)
        own = scores.gather(1, labels[:, None])  # (B, 1)
        index = torch.arange(self._classes, device=scores.device)
        better = (scores > own) | ((scores == own) & (index < labels[:, None]))
        place = better.sum(dim=1).where(finite, self._classes + _FIVE)  # 0: put first
        hits = torch.stack([torch.ones_like(place), place < 1, place < _FIVE], dim=1)
        self._counts.index_add_(0, labels, hits.double())
        loss = -own[:, 0].where(finite, 0.0).sum()
        self._rest += torch.stack([loss, (~finite).sum().double()])
        if len(self._confusion):
            pair = labels * self._classes + scores.argmax(dim=1)
            self._confusion.index_add_(0, pair, finite.double())

    def reduce(self, group: ProcessGroup) -> Counts:
        """The counts of all processes together."""
        flat = torch.cat([self._counts.flatten(), self._rest, self._confusion])
        sums = np.array(group.all_reduce(*flat.tolist()))
        c = self._classes
        images, first, among5 = sums[: 3 * c].reshape(c, 3).T
        loss, nonfinite = sums[3 * c : 3 * c + 2]
        pairs = sums[3 * c + 2 :].reshape(c, c) if len(self._confusion) else None
        return Counts(images, first, among5, float(loss), int(nonfinite), pairs)
