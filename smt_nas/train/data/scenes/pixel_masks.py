"""Masks that give every pixel a class: reading one, and finding what is wrong with many.

A mask is a PNG of one channel. Of a palette PNG the index is the label, not its colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from smt_nas.errors import one_line
from smt_nas.tasks.segmenter import IGNORED
from smt_nas.train.data.examples import ByteArray, decode_image
from smt_nas.train.data.scenes.findings import Findings

_MODES = ("1", "L", "P", "I", "I;16")
MOST_CLASSES = IGNORED

UNREADABLE = "that cannot be read as an image of one channel, left out with their images"
OTHER_SIZE = "of another size than their image, left out"
OUT_OF_RANGE = "with labels out of range, whose pixels are ignored"


@dataclass(frozen=True)
class LabelRule:
    """How the numbers in a mask are read.

    Attributes:
        first: the number of class 0; what is less is ignored, as ADE20K's 0.
        classes: how many there are; None where any number below 255 is one.
    """

    first: int = 0
    classes: int | None = None

    def apply(self, numbers: np.ndarray) -> tuple[ByteArray, int]:
        """Labels (H, W) from 0, `IGNORED` where there is none, and how many were out of range.

        Args:
            numbers: of the mask, (H, W).
        """
        labels = numbers.astype(np.int64) - self.first
        least = -self.first
        most = MOST_CLASSES if self.classes is None else self.classes
        ignored = (numbers == IGNORED) | ((labels < 0) & (labels >= least))
        outside = ~ignored & ((labels < 0) | (labels >= most))
        labels[ignored | outside] = IGNORED
        return labels.astype(np.uint8), int(outside.sum())


def read_numbers(path: Path) -> np.ndarray:
    """The numbers of a mask, (H, W).

    Raises:
        OSError: it cannot be opened, or is cut off.
        ValueError: it is damaged, or has several channels.
    """
    mask = decode_image(path)
    if mask.mode not in _MODES:
        raise ValueError(f"a mask must have one channel (got {mask.mode})")
    return np.asarray(mask)


def survey_masks(
    pairs: list[tuple[Path, Path]], rule: LabelRule
) -> tuple[list[tuple[Path, Path]], int, Findings]:
    """Read every mask of a split.

    Args:
        pairs: image and mask.
        rule: how numbers are read.

    Returns: the pairs that fit, one more than the highest label, and what is odd.
    """
    kept, classes, findings = [], 0, Findings()
    for image, mask in pairs:
        try:
            numbers = read_numbers(mask)
        except (OSError, ValueError) as error:
            findings.add("mask", UNREADABLE, f"{mask.name} ({one_line(error)})")
            continue
        if numbers.shape != _read_shape(image):
            findings.add("mask", OTHER_SIZE, mask.name)
            continue
        labels, outside = rule.apply(numbers)
        if outside:
            findings.add("mask", OUT_OF_RANGE, f"{mask.name} ({outside:,} pixels)")
        kept.append((image, mask))
        seen = labels[labels != IGNORED]
        if seen.size:
            classes = max(classes, int(seen.max()) + 1)
    return kept, classes, findings


def _read_shape(image: Path) -> tuple[int, int] | None:
    """Height and width, of the file's head; None where it is no image, which its reader tells."""
    try:
        with Image.open(image) as opened:
            return opened.height, opened.width
    except (OSError, ValueError):
        return None
