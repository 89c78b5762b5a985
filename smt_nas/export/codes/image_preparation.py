"""How images are prepared for a network that is handed over, and the words for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource
    from smt_nas.train.recipe import EvalTransform

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std, as timm has them


@dataclass(frozen=True)
class ImagePreparation:
    """What is done to an image before the network sees it.

    Attributes:
        size: pixels of a side that the network takes.
        transform: resizing and cropping.
        mean: of the channels in 0..1, that is taken away.
        std: that is divided by.
        is_stated: the weights say so; else it is the family's usual one on ImageNet.
    """

    size: int
    transform: EvalTransform
    mean: tuple[float, ...]
    std: tuple[float, ...]
    is_stated: bool

    @property
    def resized_to(self) -> int:
        """Pixels of the short side before the crop, rounded as timm does."""
        if self.transform.resize == "direct":
            return self.size
        return math.floor(self.size / self.transform.crop_pct)

    def describe(self) -> str:
        """In one sentence."""
        how = f"resized to {self.size} x {self.size} pixels"
        if self.transform.resize == "center":
            how = f"their short side is resized to {self.resized_to} pixels"
            how += f" and the middle {self.size} x {self.size} taken"
        mean, std = (", ".join(f"{v:.4g}" for v in values) for values in (self.mean, self.std))
        return (
            f"Images: {how} ({self.transform.interpolation}); values in 0..1, less the mean "
            f"({mean}), over the deviation ({std})."
        )


def find_image_preparation(source: ExportSource) -> ImagePreparation:
    """As the weights were trained, where they say; else as SMT is published for ImageNet."""
    from smt_nas.train.recipe import EvalTransform

    channels = source.arch.in_channels
    mean, std = source.mean or _IMAGENET[0], source.std or _IMAGENET[1]
    return ImagePreparation(
        size=source.arch.image_size,
        transform=source.transform or EvalTransform(),
        mean=_adapt(mean, channels),
        std=_adapt(std, channels),
        is_stated=source.transform is not None,
    )


def _adapt(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Statistics of RGB for other numbers of channels, as the training's transforms adapt them."""
    return values if len(values) == channels else (sum(values) / len(values),) * channels
