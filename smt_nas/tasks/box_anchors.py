"""Anchors at the strides of the maps, and which of them stand for which object.

torchvision takes a stride to be the image's size over the map's, rounded down: 61 pixels for the
13 rows of P6 over 800, where the map has one position per 64. It rounds anchors to whole pixels.
And it gives every object its best anchor, however little they overlap; the published assignment
asks for an overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from smt_nas.runtime.torchvision_ops import import_torchvision

detection: Any = import_torchvision().models.detection

SHAPES = (0.5, 1.0, 2.0)
"""Height over width."""


class StrideAnchors(detection.anchor_utils.AnchorGenerator):  # type: ignore[misc]
    """Anchors of three shapes around every position.

    Args:
        strides: pixels per position of each map.
        scales: sides of the anchors as multiples of the stride.
    """

    def __init__(self, strides: Sequence[int], scales: Sequence[float]) -> None:
        sizes = tuple(tuple(stride * scale for scale in scales) for stride in strides)
        super().__init__(sizes, (SHAPES,) * len(sizes))
        self.strides = tuple(strides)

    def generate_anchors(
        self,
        scales: Sequence[float],
        aspect_ratios: Sequence[float],
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> Tensor:
        """Boxes around the origin, (shapes * scales, 4)."""
        sides = torch.tensor(scales, dtype=dtype, device=device)
        roots = torch.tensor(aspect_ratios, dtype=dtype, device=device).sqrt()
        halves = torch.stack([sides / roots[:, None], sides * roots[:, None]], dim=-1) / 2
        halves = halves.reshape(-1, 2)
        return torch.cat([-halves, halves], dim=1)

    def forward(self, image_list: Any, feature_maps: Sequence[Tensor]) -> list[Tensor]:
        """The anchors of each image, (n, 4): the same ones."""
        like = feature_maps[0]
        self.set_cell_anchors(like.dtype, like.device)
        sizes = [list(x.shape[-2:]) for x in feature_maps]
        steps = [[torch.tensor(s, device=like.device)] * 2 for s in self.strides]
        anchors = torch.cat(self.grid_anchors(sizes, steps))
        return [anchors for _ in image_list.image_sizes]


class OverlapMatcher(detection._utils.Matcher):  # type: ignore[misc]
    """Assigns boxes to objects as published (mmdet's MaxIoUAssigner).

    A box belongs to the object it overlaps most, from `high` on; it is background below `low`. An
    object's best boxes belong to it where they overlap it by `least` at least; a box that is the
    best of several belongs to the last of them.

    Args:
        high: intersection over union from which a box is an object's.
        low: below which it is background.
        least: that an object's best box must have.
    """

    def __init__(self, high: float, low: float, least: float) -> None:
        super().__init__(high, low, allow_low_quality_matches=True)
        self.least = least

    def set_low_quality_matches_(
        self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor
    ) -> None:
        """Give objects their best boxes, in place.

        Args:
            matches: (n,) object of each box, negative for none.
            all_matches: not used.
            match_quality_matrix: overlaps (objects, n).
        """
        best = match_quality_matrix.amax(dim=1, keepdim=True)
        pairs = (match_quality_matrix == best) & (best >= self.least) & (best > 0)
        numbers = torch.arange(1, len(best) + 1, device=matches.device)
        last = (pairs * numbers[:, None]).amax(dim=0)  # (n,), from 1
        matches[last > 0] = last[last > 0] - 1
