"""What is done to a whole batch at once, on its device: crops, flips, normalising, erasing.

What timm's and torchvision's transforms draw for one image is drawn here for all images of an
update, by NumPy, from (seed, AUGMENT, update): the same in every process and after a resume. Only
the noise of erased rectangles is drawn on the device. Images are resized by Pillow's rule, each
pass a product with a matrix of weights, rounded to bytes
(https://github.com/python-pillow/Pillow/blob/main/src/libImaging/Resample.c).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from smt_nas.train.data.batches.transforms import adapt_statistics
from smt_nas.train.data.examples import IntArray, Source
from smt_nas.train.data.memory.decoded_images import DecodedImages
from smt_nas.train.processes.randomness import AUGMENT, derive_seed
from smt_nas.train.recipe import Augment, Recipe

COLUMNS = 10
_TOP, _LEFT, _HEIGHT, _WIDTH, _FLIP, _CUBIC, _ERASE_TOP, _ERASE_LEFT, _ERASE_H, _ERASE_W = range(
    COLUMNS
)
_ATTEMPTS = 10  # to find a rectangle of the drawn shape that fits, as in timm
_CROP_ASPECT = (3 / 4, 4 / 3)  # timm's, as of the next two
_ERASED_AREA = (0.02, 1 / 3)
_ERASED_ASPECT = (0.3, 1 / 0.3)
_CUBIC_A = -0.5  # Pillow's bicubic


@dataclass(frozen=True)
class BatchTransform:
    """The random part of a recipe's training transform.

    Attributes:
        augment: what is drawn.
        flip: chance of a horizontal flip.
        size: pixels a side that the network takes.
        mean: of the network's channels in 0..1, (channels,).
        std: likewise.
        seed: of the training.
    """

    augment: Augment
    flip: float
    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int

    def draw(self, update: int, n: int, height: int, width: int) -> IntArray:
        """What is drawn for the n images (height, width) of an update: (n, COLUMNS)."""
        rng = np.random.default_rng([self.seed, AUGMENT, update])
        drawn = np.zeros((n, COLUMNS), np.int64)
        if self.augment.crop_scale is None:
            spare = 2 * self.augment.padding - self.size + 1
            drawn[:, [_TOP, _LEFT]] = rng.integers(0, [height + spare, width + spare], (n, 2))
        else:
            area = self.augment.crop_scale
            boxes = _draw_boxes(rng, n, (height, width), area, _CROP_ASPECT)
            drawn[:, [_TOP, _LEFT, _HEIGHT, _WIDTH]] = boxes
            words = {"bicubic": np.ones(n, bool), "random": rng.random(n) < 0.5}
            drawn[:, _CUBIC] = words.get(self.augment.interpolation, False)
        if self.flip:
            drawn[:, _FLIP] = rng.random(n) < self.flip
        if self.augment.erasing:
            erased = rng.random(n) < self.augment.erasing
            sides = self.size, self.size
            boxes = _draw_boxes(rng, n, sides, _ERASED_AREA, _ERASED_ASPECT, erasing=True)
            drawn[:, [_ERASE_TOP, _ERASE_LEFT, _ERASE_H, _ERASE_W]] = boxes * erased[:, None]
        return drawn

    def apply(self, images: DecodedImages, indices: Tensor, drawn: Tensor) -> Tensor:
        """Images as the network takes them, but for what is erased: (B, channels, size, size).

        Args:
            images: of the split.
            indices: which of them, (B,) int64.
            drawn: for each, (B, COLUMNS) int64.
        """
        if self.augment.crop_scale is None:
            pixels = self._crop(images, indices, drawn)
        else:
            pixels = _resize(images.pixels[indices], drawn, self.size, self.augment.interpolation)
        return normalize(pixels, self.mean, self.std)

    def erase(self, batch: Tensor, drawn: Tensor, update: int, number: int) -> None:
        """Fill the rectangles with noise, in place.

        Args:
            batch: images (B, channels, size, size).
            drawn: for each, (B, COLUMNS) int64.
            update: of the training.
            number: of the batch in its update, over all processes.
        """
        if not self.augment.erasing:
            return
        generator = torch.Generator(batch.device)
        generator.manual_seed(derive_seed(self.seed, AUGMENT, update, number))
        boxes = drawn[:, [_ERASE_TOP, _ERASE_LEFT, _ERASE_H, _ERASE_W]]
        if batch.device.type == "cpu":
            _erase_each(batch, boxes, generator)
        else:
            _erase_all(batch, boxes, generator)

    def _crop(self, images: DecodedImages, indices: Tensor, drawn: Tensor) -> Tensor:
        """A part of each image, padded with black: (B, size, size, C) uint8."""
        pad, size = self.augment.padding, self.size
        if not (pad or self.flip) and images.height == size == images.width:
            return images.pixels[indices]
        along = torch.arange(size, device=drawn.device)
        rows = drawn[:, _TOP, None] - pad + along  # (B, size)
        across = torch.where(drawn[:, _FLIP, None] > 0, size - 1 - along, along)
        columns = drawn[:, _LEFT, None] - pad + across
        place = (indices[:, None] * images.height + rows)[:, :, None] * images.width
        place = place + columns[:, None, :]  # (B, size, size), of a row of `images.rows`
        if pad:
            inside = ((rows >= 0) & (rows < images.height))[:, :, None]
            inside = inside & ((columns >= 0) & (columns < images.width))[:, None, :]
            place = torch.where(inside, place, len(images.rows) - 1)
        return images.rows[place.flatten()].view(len(indices), size, size, -1)


def create_batch_transform(
    recipe: Recipe, size: int, channels: int, source: Source, seed: int
) -> BatchTransform:
    """As `create_training_transform`, for images in memory."""
    return BatchTransform(
        augment=recipe.augment,
        flip=recipe.augment.flip if source.mirrors else 0.0,
        size=size,
        mean=adapt_statistics(source.mean, channels),
        std=adapt_statistics(source.std, channels),
        seed=seed,
    )


def normalize(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Bytes (B, H, W, C) as a network takes them: (B, channels, H, W) float32, contiguous.

    Grey images are repeated. In the order of torchvision's steps, so that on a CPU the bits are
    those of `BytesToTensor`.
    """
    planes = pixels.permute(0, 3, 1, 2)
    images = planes.to(torch.float32, memory_format=torch.contiguous_format).div_(255)
    shift, scale = (
        torch.tensor(values, device=images.device).view(-1, 1, 1) for values in (mean, std)
    )
    if images.shape[1] != len(shift):
        return images.sub(shift).div_(scale)
    return images.sub_(shift).div_(scale)


def _draw_boxes(
    rng: np.random.Generator,
    n: int,
    sides: tuple[int, int],
    area: tuple[float, float],
    aspect: tuple[float, float],
    erasing: bool = False,
) -> IntArray:
    """Rectangles of a random area and aspect inside images: (n, 4), top, left, height, width.

    Where none of ten fits: the middle of the image, of the nearest aspect; nothing for erasing,
    whose aspect is height by width.

    Args:
        rng: source of what is drawn.
        n: images.
        sides: their height and width.
        area: least and greatest share of the image's.
        aspect: least and greatest width by height, drawn evenly in the logarithm.
        erasing: rectangles to be erased; they are smaller than the image in both ways.
    """
    height, width = sides
    areas = rng.uniform(*area, (n, _ATTEMPTS)) * height * width
    ratios = np.exp(rng.uniform(math.log(aspect[0]), math.log(aspect[1]), (n, _ATTEMPTS)))
    longer, shorter = (
        np.rint(np.sqrt(x)).astype(np.int64) for x in (areas * ratios, areas / ratios)
    )
    h, w = (longer, shorter) if erasing else (shorter, longer)
    fits = (h < height) & (w < width) if erasing else (h <= height) & (w <= width)
    first = fits.argmax(axis=1)
    h, w = (np.maximum(x[np.arange(n), first], 1) for x in (h, w))
    place = rng.random((2, n))
    top, left = (
        np.floor(u * (s - x + 1)).astype(np.int64)
        for u, s, x in zip(place, sides, (h, w), strict=True)
    )
    boxes = np.stack([top, left, h, w], axis=1)
    none = ~fits.any(axis=1)
    boxes[none] = 0 if erasing else _middle(height, width, aspect)
    return boxes


def _middle(height: int, width: int, aspect: tuple[float, float]) -> tuple[int, int, int, int]:
    """The largest rectangle of an aspect in range in the middle of an image."""
    h, w = height, width
    if width / height < aspect[0]:
        h = round(width / aspect[0])
    elif width / height > aspect[1]:
        w = round(height * aspect[1])
    return (height - h) // 2, (width - w) // 2, h, w


def _erase_each(batch: Tensor, boxes: Tensor, generator: torch.Generator) -> None:
    """Image by image: on a CPU quicker than noise for every pixel."""
    for image, (top, left, height, width) in zip(batch, boxes.tolist(), strict=True):
        image[:, top : top + height, left : left + width].normal_(generator=generator)


def _erase_all(batch: Tensor, boxes: Tensor, generator: torch.Generator) -> None:
    """All at once, with no work of its own for any image, as a GPU wants."""
    noise = torch.empty_like(batch).normal_(generator=generator)
    along = torch.arange(batch.shape[-1], device=batch.device)
    top, left, height, width = (boxes[:, c, None] for c in range(4))
    rows = (along >= top) & (along < top + height)  # (B, size)
    columns = (along >= left) & (along < left + width)
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    batch.copy_(torch.where(inside, noise, batch))


def _resize(pixels: Tensor, drawn: Tensor, size: int, interpolation: str) -> Tensor:
    """The drawn part of each image at another size: (B, size, size, C) of whole numbers.

    Args:
        pixels: (B, H, W, C) uint8.
        drawn: (B, COLUMNS).
        size: pixels a side.
        interpolation: as in `Augment`.
    """
    if pixels.device.type == "cpu":
        return _resize_each(pixels, drawn, size, interpolation)
    return _resize_all(pixels, drawn, size, interpolation)


def _resize_each(pixels: Tensor, drawn: Tensor, size: int, interpolation: str) -> Tensor:
    """By torch's kernel for bytes, which is Pillow's rule and three times as fast on a CPU."""
    b, _, _, channels = pixels.shape
    out = torch.empty((b, size, size, channels), dtype=torch.uint8)
    planes = pixels.permute(0, 3, 1, 2)
    for i, (top, left, height, width, flip, cubic, *_) in enumerate(drawn.tolist()):
        part = planes[i : i + 1, :, top : top + height, left : left + width]
        if interpolation == "nearest":
            resized = F.interpolate(part, (size, size), mode="nearest-exact")
        else:
            mode = "bicubic" if cubic else "bilinear"
            resized = F.interpolate(part, (size, size), mode=mode, antialias=True)
        image = resized[0].permute(1, 2, 0)
        out[i] = image.flip(1) if flip else image
    return out


def _resize_all(pixels: Tensor, drawn: Tensor, size: int, interpolation: str) -> Tensor:
    """Two products with matrices of weights: no work of its own for any image, as a GPU wants."""
    b, height, width, channels = pixels.shape
    cubic = drawn[:, _CUBIC, None, None] > 0 if interpolation in ("bicubic", "random") else None
    nearest = interpolation == "nearest"
    across = _weigh(drawn[:, _LEFT], drawn[:, _WIDTH], width, size, cubic, nearest)
    flipped = drawn[:, _FLIP, None, None] > 0
    across = torch.where(flipped, across.flip(1), across)
    down = _weigh(drawn[:, _TOP], drawn[:, _HEIGHT], height, size, cubic, nearest)
    planes = pixels.permute(0, 3, 1, 2).to(torch.float32).reshape(b, channels * height, width)
    wide = _round_to_bytes(torch.bmm(planes, across.transpose(1, 2)))
    rows = wide.view(b, channels, height, size).transpose(1, 2).reshape(b, height, channels * size)
    whole = _round_to_bytes(torch.bmm(down, rows))
    return whole.view(b, size, channels, size).transpose(2, 3)


def _round_to_bytes(values: Tensor) -> Tensor:
    """To whole numbers in 0..255, a half up, in place."""
    return values.add_(0.5).floor_().clamp_(0, 255)


def _weigh(
    start: Tensor, length: Tensor, side: int, size: int, cubic: Tensor | None, nearest: bool
) -> Tensor:
    """Weights of the pixels of a side in those of a part of it, resized: (B, size, side).

    Args:
        start: of the part, (B,).
        length: of it, (B,).
        side: of the image.
        size: of the result.
        cubic: where to use the cubic filter, (B, 1, 1); None: the triangle for all.
        nearest: take the nearest pixel alone.
    """
    device = start.device
    scale = (length.to(torch.float32) / size)[:, None, None]
    centre = (torch.arange(size, device=device)[None, :, None] + 0.5) * scale  # (B, size, 1)
    pixel = torch.arange(side, device=device)[None, None, :] - start[:, None, None]
    inside = (pixel >= 0) & (pixel < length[:, None, None])  # (B, 1, side)
    if nearest:
        return (pixel == centre.floor()).to(torch.float32)
    distance = ((pixel + 0.5 - centre) / scale.clamp(min=1)).abs_()
    weights = (1 - distance).clamp_(min=0)
    if cubic is not None:
        weights = torch.where(cubic, _cubic(distance), weights)
    weights = weights * inside
    return weights / weights.sum(dim=2, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """The cubic convolution filter (Keys 1981, IEEE Trans. ASSP 29, 1153) of distances."""
    a = _CUBIC_A
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
