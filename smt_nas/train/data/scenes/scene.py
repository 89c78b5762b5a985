"""`Scenes`: images with objects, by index; `SceneSource`: the splits of such a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smt_nas.train.data.examples import ByteArray, IntArray


@dataclass(frozen=True)
class SceneObjects:
    """The n objects of one image.

    Attributes:
        boxes: (n, 4) of x1, y1, x2, y2 in pixels, inside the image, at least 1 px wide and high.
        labels: (n,) classes, from 1; 0 is the background.
        crowd: (n,) regions of many objects: for evaluation, never trained on.
        has_mask: (n,).
        ids: (n,) as the data set numbers them.
    """

    boxes: NDArray[np.float64]
    labels: IntArray
    crowd: NDArray[np.bool_]
    has_mask: NDArray[np.bool_]
    ids: IntArray

    def __len__(self) -> int:
        return len(self.labels)


class Scenes(Protocol):
    """One split. Worker processes get a pickled copy."""

    def __len__(self) -> int: ...

    def image(self, i: int) -> Image.Image:
        """The whole image. Raises OSError, ValueError: it is damaged or of another size."""

    def objects(self, i: int) -> SceneObjects:
        """Its objects."""

    def masks(self, i: int) -> ByteArray:
        """Of its objects, (n, H, W) of 0 and 1; all 0 where an object has none."""

    def name(self, i: int) -> str:
        """A name to find it by."""


@dataclass(frozen=True)
class SceneSource:
    """A data set of scenes.

    Attributes:
        spec: as the user wrote it.
        classes: their names; label k is the name k - 1.
        splits: by what they are for: `train`, `validation`, `test`.
        remarks: lines that a user should read: what is left out or changed, and why.
    """

    spec: str
    classes: tuple[str, ...]
    splits: dict[str, Any]
    remarks: tuple[str, ...] = ()
