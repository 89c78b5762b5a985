"""Networks of given depths and of given MACs: the widths are chosen so that the MACs fit."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from smt_nas import costs
from smt_nas.arch import OFFICIAL_KERNELS, Architecture, Stage, Stem
from smt_nas.space import SearchSpace

Four = tuple[float, float, float, float]
Depths = tuple[int, int, int, int]

STEPS = (4, 4, 4, 8)
"""Widths of the stages are multiples of these: so kernels and heads divide them."""
NARROWEST = 8
TOLERANCE = 0.01  # of the MACs; so any two networks of a target are within 2 %
_HEADS = (2, 2, 4, 8)  # as in the spaces of small images
_ATTENTION = (0.0, 0.0, 0.5, 1.0)  # as published: SAM, SAM, in turn, MSA
_UNITS = (4.0, 1024.0)  # where the width of the first stage is looked for


@dataclass(frozen=True)
class Design:
    """All of a network but how wide it is.

    Attributes:
        depths: blocks of the stages.
        ratios: hidden over own width of their FFNs.
        growth: their widths, in units of the first.
    """

    depths: Depths
    ratios: Four = (2.0, 2.0, 2.0, 1.0)
    growth: Four = (1.0, 2.0, 4.0, 8.0)

    def build(self, space: SearchSpace, widths: Sequence[int]) -> Architecture:
        """The network of these widths, for the images and classes of a space."""
        config = space.config
        stages = (
            Stage(
                dim=widths[i],
                depth=self.depths[i],
                mlp_ratio=self.ratios[i],
                kernels=OFFICIAL_KERNELS,
                attention_ratio=_ATTENTION[i],
                head_dim=widths[i] // _HEADS[i],
            )
            for i in range(4)
        )
        s1, s2, s3, s4 = stages
        return Architecture(
            image_size=config.image_size,
            num_classes=config.num_classes,
            in_channels=config.in_channels,
            stem=Stem(kernel=3, stride=config.stem.stride),
            stages=(s1, s2, s3, s4),
            layer_scale=config.layer_scale,
        )


def fit_widths(space: SearchSpace, design: Design, macs: float) -> Architecture | None:
    """The network of a design whose MACs are within `TOLERANCE` of those asked for.

    Of several, that whose widths grow most nearly as the design's; they never shrink. None where
    there is none, e.g. as so many blocks cost more at their narrowest.
    """
    unit = _find_unit(space, design, macs)
    ideal = [unit * growth for growth in design.growth]
    near = [
        {_snap(width + k * step, step) for k in (-2, -1, 0, 1, 2)}
        for width, step in zip(ideal, STEPS, strict=True)
    ]

    def distance(widths: tuple[int, ...]) -> float:
        return sum(math.log(w / best) ** 2 for w, best in zip(widths, ideal, strict=True))

    growing = (w for w in itertools.product(*near) if list(w) == sorted(w))
    for widths in sorted(growing, key=distance):
        arch = design.build(space, widths)
        if abs(costs.of(arch).macs / macs - 1) <= TOLERANCE:
            return arch
    return None


def _find_unit(space: SearchSpace, design: Design, macs: float) -> float:
    """Width of the first stage at which the design, in whole steps, comes to cost so much."""
    low, high = _UNITS
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        widths = [_snap(middle * g, step) for g, step in zip(design.growth, STEPS, strict=True)]
        if costs.of(design.build(space, widths)).macs < macs:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def _snap(width: float, step: int) -> int:
    return max(NARROWEST, step * round(width / step))
