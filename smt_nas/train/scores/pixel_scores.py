"""Intersection over union and accuracy of pixels, from a confusion matrix over a whole split."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smt_nas.tasks.segmenter import IGNORED
from smt_nas.train.data.examples import ByteArray, IntArray


@dataclass(frozen=True)
class PixelScores:
    """Figures of a split, in percent.

    Attributes:
        miou: mean over classes of intersection over union; of classes that neither the labels nor
            the predictions show, nothing is taken. None where there is no labelled pixel.
        macc: mean over classes of the share of their pixels that is right.
        aacc: share of all pixels that is right.
        iou: of each class; None where neither shows it.
    """

    miou: float | None
    macc: float | None
    aacc: float | None
    iou: tuple[float | None, ...]


class ConfusionMatrix:
    """Counts of pixels by label and prediction; matrices of parts of a split add up.

    Args:
        classes: how many there are.

    Attributes:
        counts: (classes, classes), a row a label.
    """

    def __init__(self, classes: int) -> None:
        self.classes = classes
        self.counts: IntArray = np.zeros((classes, classes), np.int64)

    def add(self, predictions: IntArray | ByteArray, labels: ByteArray) -> None:
        """Count the pixels of one image; those of `IGNORED` count nowhere.

        Args:
            predictions: classes from 0, (H, W).
            labels: likewise, and `IGNORED`.
        """
        assert predictions.shape == labels.shape
        counted = labels != IGNORED
        pairs = labels[counted].astype(np.int64) * self.classes + predictions[counted]
        size = self.classes**2
        self.counts += np.bincount(pairs, minlength=size).reshape(self.counts.shape)

    def scores(self) -> PixelScores:
        """What the counts come to."""
        right = np.diag(self.counts)
        of_label, of_prediction = self.counts.sum(axis=1), self.counts.sum(axis=0)
        union = of_label + of_prediction - right
        total = int(self.counts.sum())
        if not total:
            return PixelScores(None, None, None, (None,) * self.classes)
        shown = union > 0
        iou = 100 * right / np.maximum(union, 1)
        labelled = of_label > 0
        return PixelScores(
            miou=float(iou[shown].mean()),
            macc=float((100 * right[labelled] / of_label[labelled]).mean()),
            aacc=100 * int(right.sum()) / total,
            iou=tuple(float(v) if s else None for v, s in zip(iou, shown, strict=True)),
        )
