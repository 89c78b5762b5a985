"""What is done to an image before the network sees it: timm's transforms, from a recipe.

A transform takes a PIL image of any mode and size and returns (channels, size, size) float32. What
a training transform draws, it draws from the global generators of Python, NumPy and torch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from smt_nas.errors import ConfigError, TrainingError, one_line
from smt_nas.runtime.torchvision_ops import import_timm
from smt_nas.train.data.batches.pixels import to_bytes
from smt_nas.train.data.examples import Source
from smt_nas.train.recipe import Augment, EvalTransform, Recipe

Transform = Callable[[Image.Image], Tensor]
Preparation = Callable[[Image.Image], Image.Image]
"""Of an image to one that the random part of a transform starts from."""

_MODES = {1: "L", 3: "RGB"}


class ToMode:
    """Bring an image into a mode.

    Args:
        mode: `L` or `RGB`.
        keep_grey: leave grey images grey; `BytesToTensor` repeats them later, which is cheaper.
    """

    def __init__(self, mode: str, keep_grey: bool) -> None:
        self.keep = {mode, "L"} if keep_grey else {mode}
        self.mode = mode

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image in the mode.

        Raises:
            UnknownRange: its values have no known range; see `pixels`.
        """
        if image.mode not in self.keep:
            image = to_bytes(image)
        return image if image.mode in self.keep else image.convert(self.mode)


class BytesToTensor:
    """timm's conversion to a tensor and normalising in one, several times as fast on small images.

    A byte has only 256 values, so what the two make of each is looked up.

    Args:
        to_tensor: timm's step from a PIL image to 0..1.
        normalize: torchvision's step with a mean and deviation per channel.
    """

    def __init__(self, to_tensor: Transform, normalize: Callable[[Tensor], Tensor]) -> None:
        every_byte = to_tensor(Image.fromarray(np.arange(256, dtype=np.uint8)[None]))  # (1, 1, 256)
        channels = len(normalize.mean)  # type: ignore[attr-defined]
        table = normalize(every_byte.expand(channels, -1, -1))
        self.table = table[:, 0].numpy()  # (channels, 256)

    def __call__(self, image: Image.Image) -> Tensor:
        """(channels, H, W); each the same where the image is grey."""
        pixels = np.asarray(image)  # (H, W) or (H, W, channels)
        out = np.empty((len(self.table), *pixels.shape[:2]), np.float32)
        for c, values in enumerate(self.table):
            plane = pixels if pixels.ndim == 2 else pixels[..., c]
            np.take(values, plane, out=out[c], mode="clip")
        return torch.from_numpy(out)


def create_training_transform(
    recipe: Recipe, size: int, channels: int, source: Source
) -> Transform:
    """Random crop, flip, policy, colours and erasing, as the recipe has them.

    With a `crop_scale`: a random part of the image, resized (timm). Without one: the whole image
    resized as in evaluation, padded with black by `padding`, and a random part of it.

    Args:
        recipe: decides what is done.
        size: pixels a side that the network takes.
        channels: that it takes, 1 (grey) or 3 (RGB).
        source: mirrored images only where they keep their class; its mean and deviation.

    Raises:
        ConfigError: timm does not know the policy.
        TrainingError: there are no images of so many channels.
    """
    import_timm()
    from torchvision import transforms

    augment = recipe.augment
    flip = augment.flip if source.mirrors else 0.0
    mean, std = adapt_statistics(source.mean, channels), adapt_statistics(source.std, channels)
    mode = _image_mode(channels)
    crop, policy, (to_tensor, normalize, *erasing) = _create_timm_steps(
        augment, size, flip, mean, std
    )
    if augment.crop_scale is None:
        crop = _create_padded_crop(augment, recipe.evaluation, size, flip)
    in_mode = ToMode(mode, keep_grey=not policy)
    steps = [in_mode, *crop, *policy, BytesToTensor(to_tensor, normalize), *erasing]
    composed: Transform = transforms.Compose(steps)
    return composed


def create_evaluation_transform(
    evaluation: EvalTransform, size: int, channels: int, mean: Sequence[float], std: Sequence[float]
) -> Transform:
    """Resize and crop the middle; nothing random.

    Args:
        evaluation: decides how.
        size: pixels a side that the network takes.
        channels: that it takes, 1 (grey) or 3 (RGB).
        mean: of R, G and B in 0..1, that the network was trained with.
        std: likewise.

    Raises:
        TrainingError: there are no images of so many channels.
    """
    resize, to_tensor, normalize = _create_evaluation_steps(
        evaluation, size, adapt_statistics(mean, channels), adapt_statistics(std, channels)
    )
    from torchvision import transforms

    in_mode = ToMode(_image_mode(channels), keep_grey=True)
    composed: Transform = transforms.Compose(
        [in_mode, *resize, BytesToTensor(to_tensor, normalize)]
    )
    return composed


def create_training_preparation(recipe: Recipe, size: int, channels: int) -> Preparation:
    """What `create_training_transform` does to an image before anything is drawn.

    Raises:
        TrainingError: there are no images of so many channels.
    """
    import_timm()
    from torchvision import transforms

    in_mode = ToMode(_image_mode(channels), keep_grey=True)
    if recipe.augment.crop_scale is not None:
        return in_mode
    resize = _create_resize(recipe.augment, recipe.evaluation, size)
    composed: Preparation = transforms.Compose([in_mode, resize])
    return composed


def create_evaluation_preparation(
    evaluation: EvalTransform, size: int, channels: int
) -> Preparation:
    """What `create_evaluation_transform` does to an image before it becomes a tensor.

    Raises:
        TrainingError: there are no images of so many channels.
    """
    none = (0.0,) * channels
    resize, *_ = _create_evaluation_steps(evaluation, size, none, (1.0,) * channels)
    from torchvision import transforms

    composed: Preparation = transforms.Compose(
        [ToMode(_image_mode(channels), keep_grey=True), *resize]
    )
    return composed


def _create_evaluation_steps(
    evaluation: EvalTransform, size: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[list[Any], Any, Any]:
    """timm's steps: resizing and cropping; tensor; normalising."""
    import_timm()
    from timm.data.transforms_factory import create_transform

    direct = evaluation.resize == "direct"
    *resize, to_tensor, normalize = create_transform(
        size,
        crop_mode="squash" if direct else "center",
        crop_pct=1.0 if direct else evaluation.crop_pct,
        interpolation=evaluation.interpolation,
        mean=mean,
        std=std,
    ).transforms
    return resize, to_tensor, normalize


def _create_timm_steps(
    augment: Augment, size: int, flip: float, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[list[Any], list[Any], list[Any]]:
    """timm's steps: crop and flip; policy and colours; tensor, normalising and erasing."""
    from timm.data.transforms_factory import create_transform

    try:
        parts = create_transform(
            size,
            is_training=True,
            separate=True,
            scale=augment.crop_scale,
            hflip=flip,
            color_jitter=augment.color_jitter or None,
            auto_augment=augment.auto_augment,
            interpolation=augment.interpolation,
            mean=mean,
            std=std,
            re_prob=augment.erasing,
            re_mode="pixel",
            re_count=1,
        )
    except (AssertionError, KeyError, ValueError, IndexError) as error:
        raise ConfigError(
            f"augment.auto_augment: must be a policy of timm (got {augment.auto_augment!r}: "
            f"{one_line(error)}). E.g. rand-m9-mstd0.5-inc1, or null."
        ) from error
    crop, policy, final = (part.transforms for part in parts)
    for step in policy:
        _allow_no_bits(step)
    return crop, policy, final


def _allow_no_bits(step: Any) -> None:
    """Let a policy of timm's posterise to no bits, which Pillow refuses from 13 on."""
    from timm.data.auto_augment import posterize

    for op in itertools.chain(getattr(step, "ops", ()), *getattr(step, "policy", ())):
        if getattr(op, "aug_fn", None) is posterize:
            op.aug_fn = _posterize


def _posterize(image: Image.Image, bits: int, **_: Any) -> Image.Image:
    """Keep the first bits of each byte; none leaves black, as in Pillow before 13."""
    if bits >= 8:
        return image
    return ImageOps.posterize(image, bits) if bits else Image.new(image.mode, image.size)


def _create_padded_crop(
    augment: Augment, evaluation: EvalTransform, size: int, flip: float
) -> list[Any]:
    from torchvision import transforms

    steps = [
        _create_resize(augment, evaluation, size),
        transforms.RandomCrop(size, padding=augment.padding or None),
    ]
    return [*steps, transforms.RandomHorizontalFlip(flip)] if flip else steps


def _create_resize(augment: Augment, evaluation: EvalTransform, size: int) -> Any:
    """Of the whole image, where no part of it is resized."""
    from timm.data.transforms import str_to_interp_mode
    from torchvision import transforms

    # nothing is drawn for resizing here
    word = "bilinear" if augment.interpolation == "random" else augment.interpolation
    whole = (size, size) if evaluation.resize == "direct" else size  # else the short side
    return transforms.Resize(whole, interpolation=str_to_interp_mode(word))


def _image_mode(channels: int) -> str:
    if channels not in _MODES:
        raise TrainingError(
            f"in_channels: must be 3 (RGB) or 1 (grey) to take images (got {channels}). Change it "
            "in the model config."
        )
    return _MODES[channels]


def adapt_statistics(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """Statistics of RGB as those of the network's channels; of grey it is their mean."""
    if channels == len(values):
        return tuple(values)
    return (sum(values) / len(values),) * channels
