"""Classes of the pixels of one image, at one scale or averaged over several, as published.

An image is resized to fit into 2048 x 512 with its proportions kept, whichever way it lies, run as
a whole, and its logits are resized to the image as it was. At several scales the box is that many
times as large, each is run mirrored too, and probabilities are averaged before the best is taken
(mmsegmentation's test-time augmentation of ADE20K). Resizing is bilinear, without antialiasing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from smt_nas.costs.parts import Size
from smt_nas.tasks.segmenter import Segmenter

_LEAST_SIDE = 32  # pixels that a network takes


@dataclass(frozen=True)
class ScaleRule:
    """At which sizes an image is looked at.

    Attributes:
        long: most pixels of the long side.
        short: most of the short one.
        ratios: multiples of both.
        mirror: whether each is looked at mirrored, too.
    """

    long: int = 2048
    short: int = 512
    ratios: tuple[float, ...] = (1.0,)
    mirror: bool = False

    def resized(self, size: Size, ratio: float) -> Size:
        """Height and width at a ratio, proportions kept, rounded to whole pixels."""
        factor = ratio * min(self.long / max(size), self.short / min(size))
        height, width = (max(int(side * factor + 0.5), _LEAST_SIDE) for side in size)
        return height, width


SINGLE_SCALE = ScaleRule()
MULTI_SCALE = ScaleRule(ratios=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75), mirror=True)


def predict_pixels(network: Segmenter, image: Tensor, rule: ScaleRule = SINGLE_SCALE) -> Tensor:
    """The class of every pixel.

    Args:
        network: in eval mode.
        image: (C, H, W), normalised.
        rule: the sizes.

    Returns: classes from 0, (H, W).
    """
    assert not network.training
    size = (image.shape[1], image.shape[2])
    total: Tensor | None = None
    with torch.no_grad():
        for ratio in rule.ratios:
            scaled = _resize(image[None], rule.resized(size, ratio))
            for mirrored in (False, True)[: 1 + rule.mirror]:
                logits = network(scaled.flip(-1) if mirrored else scaled)
                logits = _resize(logits.flip(-1) if mirrored else logits, size)
                share = logits.softmax(dim=1)
                total = share if total is None else total + share
    assert total is not None, "a rule has a ratio"
    return total[0].argmax(dim=0)


def _resize(x: Tensor, size: Size) -> Tensor:
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
