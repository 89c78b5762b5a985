"""`Examples`: labelled images by index; `Source`: the splits of a data set."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from smt_nas.errors import one_line
from smt_nas.fingerprint import fingerprint

IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB in 0..1, as all networks of ImageNet take them
IMAGENET_STD = (0.229, 0.224, 0.225)


class Examples(Protocol):
    """One split: labelled images, by index from 0. Worker processes get a pickled copy."""

    @property
    def labels(self) -> IntArray:
        """Indices of classes, (n,)."""

    def __len__(self) -> int: ...

    def image(self, i: int) -> Image.Image:
        """The whole image, in the mode it is stored in.

        Raises:
            OSError: its file cannot be opened or is cut off.
            ValueError: what is in it is no image.
        """

    def name(self, i: int) -> str:
        """A name to find the image by: its path, or `digits train image 17`."""


@runtime_checkable
class Versioned(Protocol):
    """Images that can tell whether they are still the same."""

    def version(self) -> str | None:
        """A text that differs where the images or their order do; None where that is not known."""


class Subset:
    """Some of the images of a split.

    Args:
        examples: the split.
        indices: of its images, (k,).
    """

    def __init__(self, examples: Examples, indices: IntArray) -> None:
        self.examples = examples
        self.indices = indices
        self.labels = examples.labels[indices]

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, i: int) -> Image.Image:
        """See `Examples`."""
        return self.examples.image(int(self.indices[i]))

    def name(self, i: int) -> str:
        """See `Examples`."""
        return self.examples.name(int(self.indices[i]))

    def version(self) -> str | None:
        """See `Versioned`."""
        whole = self.examples.version() if isinstance(self.examples, Versioned) else None
        if whole is None:
            return None
        return fingerprint(whole.encode() + self.indices.tobytes() + self.labels.tobytes())


class ArrayExamples:
    """Images in memory.

    Args:
        images: (n, H, W) grey or (n, H, W, 3) RGB.
        labels: (n,).
        title: what the images are called, before `image 17`.
    """

    def __init__(self, images: ByteArray, labels: IntArray, title: str) -> None:
        assert len(images) == len(labels)
        self.images = np.ascontiguousarray(images)
        self.labels = labels
        self.title = title

    def __len__(self) -> int:
        return len(self.images)

    def image(self, i: int) -> Image.Image:
        """See `Examples`."""
        return Image.fromarray(self.images[i])

    def name(self, i: int) -> str:
        """See `Examples`."""
        return f"{self.title} image {i}"

    def version(self) -> str:
        """See `Versioned`."""
        shape = str(self.images.shape).encode()
        return fingerprint(shape + self.images.tobytes() + self.labels.tobytes())


@dataclass(frozen=True)
class Source:
    """A data set.

    Attributes:
        spec: as the user wrote it.
        classes: their names; a label is an index of these.
        train: what a network may learn from; None where there is only a test split.
        validation: as the data set names it; None where it is to be held out of `train`.
        test: never seen by a search or a training.
        mirrors: whether a mirrored image keeps its class; no digit does.
        mean: of R, G and B in 0..1.
        std: likewise.
        remarks: lines that a user should read: what is not used, and why.
    """

    spec: str
    classes: tuple[str, ...]
    train: Examples | None
    validation: Examples | None
    test: Examples | None
    mirrors: bool
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    remarks: tuple[str, ...] = ()


def decode_image(file: Path | BinaryIO) -> Image.Image:
    """Read a whole image; of several in one file, the first.

    Pillow's warnings, of odd metadata and of large images, are not for the user of a training: they
    would be printed once for each image.

    Raises:
        OSError: it cannot be opened, or is cut off.
        ValueError: it is damaged in another way, or too large to be meant (Pillow's limit, twice
            `Image.MAX_IMAGE_PIXELS`).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                image.load()
    except (OSError, ValueError):
        raise
    except Exception as error:  # decoders on anybody's bytes: SyntaxError, struct.error, ...
        raise ValueError(one_line(error)) from error
    return image


def compute_statistics(images: ByteArray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of R, G and B in 0..1; three equal ones where they are grey.

    Args:
        images: (n, H, W) or (n, H, W, 3).
    """
    channels = images[..., None] if images.ndim == 3 else images
    counts = np.zeros((channels.shape[-1], 256), np.int64)
    for start in range(0, len(images), 1000):  # bincount makes eight bytes of each
        for c in range(len(counts)):
            part = channels[start : start + 1000, ..., c]
            counts[c] += np.bincount(part.ravel(), minlength=256)
    values = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ values
    std = np.sqrt(share @ values**2 - mean**2).clip(min=1 / 255)  # a blank data set has none
    repeat = 3 // len(counts)
    return tuple(mean.tolist()) * repeat, tuple(std.tolist()) * repeat
