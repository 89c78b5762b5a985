"""Accuracy from counts, with the interval that so many images allow. Free of torch.

Accuracies are shares in 0..1. Every interval is Wilson's, at 95 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smt_nas.runtime.progress import EvalWarning

Floats = NDArray[np.float64]

FEWEST_FOR_TOP5 = 6  # classes; with five, the label is always among the first five
_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


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
    """

    images: Floats
    first: Floats
    among5: Floats
    loss: float
    nonfinite: int
    confusion: Floats | None = None


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

    def warnings(self) -> tuple[EvalWarning, ...]:
        """What a reader must know of the figures."""
        classes = len(self.per_class) if self.top5 is None else 0
        warnings = (
            EvalWarning("nonfinite", self.nonfinite, self.n),
            EvalWarning("no_top5", classes, self.n),
            EvalWarning("unreadable", self.unreadable or 0, self.n),
        )
        return tuple(warning for warning in warnings if warning.count)


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
    )


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
