"""`DecodedImages`: all images of a split as bytes in one tensor, on the device that trains.

An image is decoded, and resized where nothing of that is drawn, by the very steps of the plain
loader. A process that trains many networks on the same images decodes them once.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor

from smt_nas.errors import one_line
from smt_nas.train.data.batches.transforms import Preparation
from smt_nas.train.data.examples import ByteArray, Examples, IntArray, Versioned

_MOST_BYTES = 2e9
_FREE_SHARE = 0.25  # of the memory that is free, for the images of one split
_MANY = 100_000  # images, whose files take seconds, or minutes on a network, to tell their times
_PROBED = 16  # images that are looked at before all are decoded
_AHEAD = 256  # images that threads decode at a time
_UNKNOWN = (1, 1)  # shape, until an image can be read
_WORTH_THREADS = 96  # pixels a side; for smaller images threads wait for each other


class CannotHold(Exception):
    """Why images cannot be held in memory; no error, as they can be read one by one."""


@dataclass(frozen=True)
class DecodedImages:
    """Images of one size, n of them.

    Attributes:
        rows: their pixels, (n * height * width + 1, channels) uint8; the last one is black.
        labels: (n,) int64, on the same device.
        height: pixels.
        width: pixels.
        replacements: (n,): the image that is trained on in the place of each: itself, else the next
            that can be read, after the last the first; -1 where none can.
        failures: why images cannot be read.
    """

    rows: Tensor
    labels: Tensor
    height: int
    width: int
    replacements: IntArray
    failures: Mapping[int, str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def pixels(self) -> Tensor:
        """(n, height, width, channels); one channel where all images are grey."""
        return self.rows[:-1].view(len(self), self.height, self.width, -1)


@dataclass(frozen=True)
class DecodingRequest:
    """Images to hold, and how.

    Attributes:
        steps: what `prepare` is made of; images of other steps are others.
        channels: that the network takes.
        device: where they are held.
        share: of the free memory, as other processes of the training need theirs.
        threads: that decode.
        examples: the split.
        prepare: what is done to an image before anything is drawn.
        version: of the images.
    """

    steps: Hashable
    channels: int
    device: torch.device
    share: float = field(compare=False)
    threads: int = field(compare=False)
    examples: Examples = field(compare=False)
    prepare: Preparation = field(compare=False)
    version: str | None = None


def decode_images(request: DecodingRequest) -> DecodedImages:
    """Decode all images of a split; those that this process decoded before are there already.

    Raises:
        CannotHold: they are of several sizes, or too many.
        TrainingError: their files cannot be read at all.
    """
    examples = request.examples
    check_number(request)
    version = examples.version() if isinstance(examples, Versioned) else None
    if version is None:
        return _decode(request)
    return _decode_once(replace(request, version=version))


def check_number(request: DecodingRequest) -> None:
    """Look at one of very many images, whether they fit at all, before any is read or asked for.

    Raises:
        CannotHold: they do not.
        TrainingError: their files cannot be read at all.
    """
    n = len(request.examples)
    images = (_read(request, i) for i in range(_PROBED if n > _MANY else 0))
    shape = next((image.shape for image in images if not isinstance(image, str)), None)
    if shape is not None and _count_bytes(request, shape) > _MOST_BYTES:
        _check_room(request, shape)


@functools.lru_cache(maxsize=4)  # of training, validation and test images, and one to spare
def _decode_once(request: DecodingRequest) -> DecodedImages:
    return _decode(request)


def probe_images(request: DecodingRequest) -> tuple[int, ...] | None:
    """Shape (height, width) or (height, width, 3) of the first of some images over the split.

    Returns: None where none of these can be read.

    Raises:
        CannotHold: they are of several sizes, or all of the split would be too large.
    """
    n = len(request.examples)
    shape: tuple[int, ...] | None = None
    for i in np.unique(np.linspace(0, n - 1, min(n, _PROBED)).astype(int)).tolist():
        image = _read(request, i)
        if isinstance(image, str):
            continue
        if shape is None:
            shape = image.shape
            _check_room(request, shape)
        _check_same_size(shape, image.shape)
    return shape


def _check_room(request: DecodingRequest, shape: tuple[int, ...]) -> None:
    n, size = len(request.examples), _count_bytes(request, shape)
    room, place = _find_room(request)
    if size > room:
        raise CannotHold(
            f"{n:,} images of {shape[1]} x {shape[0]} pixels take {size / 1e9:.1f} GB, and at most "
            f"{room / 1e9:.1f} GB of {place} may be used"
        )


def _count_bytes(request: DecodingRequest, shape: tuple[int, ...]) -> int:
    return len(request.examples) * shape[0] * shape[1] * request.channels


def _find_room(request: DecodingRequest) -> tuple[float, str]:
    """Bytes that the images may take, and of what."""
    free, place = float(psutil.virtual_memory().available), "memory"
    if request.device.type == "cuda":
        free = min(free, float(torch.cuda.mem_get_info(request.device)[0]))
        place = f"{request.device}'s memory"
    return min(_MOST_BYTES, _FREE_SHARE * request.share * free), place


def _check_same_size(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if a[:2] != b[:2]:
        sizes = " and ".join(f"{width} x {height}" for height, width, *_ in (a, b))
        raise CannotHold(f"the images are of several sizes, {sizes} among them")


def _decode(request: DecodingRequest) -> DecodedImages:
    n = len(request.examples)
    shape = probe_images(request) or _UNKNOWN
    rows, (height, width), failures = _read_all(request, shape)
    with torch.inference_mode(False):  # they outlive the block that first wants them
        labels = torch.from_numpy(np.array(request.examples.labels, np.int64))
        return DecodedImages(
            rows=torch.from_numpy(rows).to(request.device),
            labels=labels.to(request.device),
            height=height,
            width=width,
            replacements=_find_replacements(n, failures),
            failures=failures,
        )


def _read_all(
    request: DecodingRequest, shape: tuple[int, ...]
) -> tuple[ByteArray, tuple[int, int], dict[int, str]]:
    """Rows as of `DecodedImages`, the images' height and width, and why some cannot be read."""
    n, failures = len(request.examples), dict[int, str]()
    rows = _allocate(n, shape)
    threads = request.threads if max(shape) >= _WORTH_THREADS else 1
    with ThreadPoolExecutor(max(1, threads)) as pool:
        for start in range(0, n, _AHEAD):
            numbers = range(start, min(n, start + _AHEAD))
            read = functools.partial(_read, request)
            images = map(read, numbers) if threads <= 1 else pool.map(read, numbers)
            for i, image in zip(numbers, images, strict=True):
                if isinstance(image, str):
                    failures[i] = image
                    continue
                if len(failures) == i and shape == _UNKNOWN:  # the first that can be read
                    shape = image.shape
                    _check_room(request, shape)
                    rows = _allocate(n, shape)
                _check_same_size(shape, image.shape)
                if image.ndim == 3 and rows.shape[1] == 1:
                    rows = np.repeat(rows, image.shape[2], axis=1)
                pixels = rows[:-1].reshape(n, *shape[:2], -1)  # a view
                pixels[i] = image if image.ndim == 3 else image[..., None]
    return rows, (shape[0], shape[1]), failures


def _allocate(n: int, shape: tuple[int, ...]) -> ByteArray:
    """Rows of n black images, as of `DecodedImages`."""
    channels = shape[2] if len(shape) == 3 else 1
    return np.zeros((n * shape[0] * shape[1] + 1, channels), np.uint8)


def _read(request: DecodingRequest, i: int) -> ByteArray | str:
    """One image (H, W) or (H, W, 3), or why it cannot be read."""
    try:
        return np.asarray(request.prepare(request.examples.image(i)))
    except (OSError, ValueError) as error:
        return one_line(error)


def _find_replacements(n: int, failures: Mapping[int, Any]) -> IntArray:
    """See `DecodedImages`."""
    if len(failures) == n:
        return np.full(n, -1)
    readable = np.setdiff1d(np.arange(n), list(failures))
    return readable[np.searchsorted(readable, np.arange(n)) % len(readable)]
