"""How well a network recognises labelled images: counted exactly over all processes, then scored.

Accuracies are shares in 0..1. Every interval is Wilson's, at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from smt_nas.errors import TrainingError
from smt_nas.runtime.progress import EvalWarning, TrainingListener
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.recipe import Precision
from smt_nas.train.steps.update_parts import Batch, autocast

Floats = NDArray[np.float64]
Tta = Literal["none", "flip"]

MOST_CONFUSIONS = 1000  # classes, beyond which who is taken for whom is not counted: C^2 numbers

_FIVE = 5
FEWEST_FOR_TOP5 = 6  # classes; with five, the label is always among the first five
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


@dataclass(frozen=True)
class Counts:
    """What was counted over a split; sums of it over processes are counts again.

    Attributes:
        images: of each class, (C,).
        first: images whose class the network put first, (C,).
        among5: images whose class is among its first five, (C,).
        loss: sum of the cross entropies, natural logarithm, of the images with finite outputs.
        nonfinite: images with an output that is no finite number.
        confusion: images of class i (row) that were taken for class j, (C, C); None: not counted.
        squared_loss: sum of the squares of the cross entropies that `loss` sums.
    """

    images: Floats
    first: Floats
    among5: Floats
    loss: float
    nonfinite: int
    confusion: Floats | None = None
    squared_loss: float = 0.0


@dataclass(frozen=True)
class ClassScore:
    """How well one class is recognised.

    Attributes:
        name: of the class.
        n: its images.
        top1: share put first; None where it has no image.
        top1_low, top1_high: 95 % interval.
        confused_with: the other class it is most often taken for; None for none, or not counted.
        confused: how often.
    """

    name: str
    n: int
    top1: float | None
    top1_low: float | None
    top1_high: float | None
    confused_with: str | None = None
    confused: int = 0


@dataclass(frozen=True)
class Score:
    """How well a network recognises the images of a split.

    Attributes:
        n: images evaluated.
        top1: share whose class the network put first.
        top1_low, top1_high: 95 % interval.
        top5: share whose class is among its first five; None with fewer than six classes.
        loss: mean cross entropy, natural logarithm, of the images with finite outputs; None where
            there is none.
        per_class: one for each class, in their order.
        nonfinite: images with an output that is no finite number; they count as wrong.
        unreadable: images left out, as they could not be read; None where that was not asked.
        loss_error: standard error of `loss`, from how it differs from image to image; None as that,
            and with one image.
    """

    n: int
    top1: float
    top1_low: float
    top1_high: float
    top5: float | None
    loss: float | None
    per_class: tuple[ClassScore, ...]
    nonfinite: int = 0
    unreadable: int | None = None
    loss_error: float | None = None

    def warnings(self) -> tuple[EvalWarning, ...]:
        """What a reader must know of the figures."""
        classes = len(self.per_class) if self.top5 is None else 0
        warnings = (
            EvalWarning("nonfinite", self.nonfinite, self.n),
            EvalWarning("no_top5", classes, self.n),
            EvalWarning("unreadable", self.unreadable or 0, self.n),
        )
        return tuple(warning for warning in warnings if warning.count)


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
        self._rest = _zeros(device, 3)  # loss, its squares, nonfinite
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
        losses = -own[:, 0].where(finite, 0.0)
        sums = [losses.sum(), losses.square().sum(), (~finite).sum().double()]
        self._rest += torch.stack(sums)
        if len(self._confusion):
            pair = labels * self._classes + scores.argmax(dim=1)
            self._confusion.index_add_(0, pair, finite.double())

    def reduce(self, group: ProcessGroup) -> Counts:
        """The counts of all processes together."""
        flat = torch.cat([self._counts.flatten(), self._rest, self._confusion])
        sums = np.array(group.all_reduce(*flat.tolist()))
        c = self._classes
        images, first, among5 = sums[: 3 * c].reshape(c, 3).T
        loss, squared, nonfinite = sums[3 * c : 3 * c + 3].tolist()
        pairs = sums[3 * c + 3 :].reshape(c, c) if len(self._confusion) else None
        return Counts(images, first, among5, loss, int(nonfinite), pairs, squared)


def score_from_counts(counts: Counts, classes: Sequence[str], of: int | None = None) -> Score:
    """The score that counts of at least one image stand for.

    Args:
        counts: over the whole split.
        classes: their names, (C,).
        of: images of the split; those not in the counts could not be read. None: not known.
    """
    n, hits = int(counts.images.sum()), int(counts.first.sum())
    low, high = wilson_interval(hits, n)
    finite = n - counts.nonfinite
    return Score(
        n=n,
        top1=hits / n,
        top1_low=low,
        top1_high=high,
        top5=float(counts.among5.sum()) / n if len(classes) >= FEWEST_FOR_TOP5 else None,
        loss=counts.loss / finite if finite else None,
        per_class=tuple(_score_class(counts, i, classes) for i in range(len(classes))),
        nonfinite=counts.nonfinite,
        unreadable=None if of is None else of - n,
        loss_error=_find_loss_error(counts, finite),
    )


def _find_loss_error(counts: Counts, finite: int) -> float | None:
    """Standard error of the mean loss over so many images (n - 1)."""
    if finite < 2:
        return None
    spread = counts.squared_loss - counts.loss**2 / finite
    return math.sqrt(max(spread, 0.0) / (finite - 1) / finite)


def _score_class(counts: Counts, i: int, classes: Sequence[str]) -> ClassScore:
    n, hits = int(counts.images[i]), int(counts.first[i])
    if n == 0:
        return ClassScore(classes[i], 0, None, None, None)
    low, high = wilson_interval(hits, n)
    confused_with, confused = None, 0
    if counts.confusion is not None:
        row = counts.confusion[i].copy()
        row[i] = 0
        confused = int(row.max())
        confused_with = classes[int(row.argmax())] if confused else None
    return ClassScore(classes[i], n, hits / n, low, high, confused_with, confused)


def wilson_interval(hits: float, n: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson 1927, J. Am. Stat. Assoc. 22, 209-212).

    The shares p that lie within 1.96 of their own standard errors of hits / n:
    (hits + z^2 / 2 -+ z sqrt(hits (n - hits) / n + z^2 / 4)) / (n + z^2).

    Args:
        hits: 0 to n; a mean of several counts may be no whole number.
        n: at least 1.

    Returns: low and high end, in 0..1.
    """
    if n < 1 or not 0 <= hits <= n:
        raise ValueError(f"hits must be from 0 to n, n at least 1 (got {hits} of {n})")
    middle, squared = hits + _Z**2 / 2, _Z**2
    half = _Z * math.sqrt(hits * (n - hits) / n + squared / 4)
    low, high = (middle - half) / (n + squared), (middle + half) / (n + squared)
    return (0.0 if hits == 0 else low, 1.0 if hits == n else high)  # exactly, whatever rounds


def standard_error(share: float, n: int) -> float:
    """Of a share of `n` images, by the width of Wilson's interval: not nothing at 0 and 1."""
    low, high = wilson_interval(share * n, n)
    return (high - low) / (2 * _Z)
