"""RoIAlign (He et al. 2017, sec. 3), aligned as detectors have it since 2019, over a pyramid.

torchvision's kernel where it loads; else `align_by_sampling`, in plain torch: the same numbers
within the rounding of fp32, and no compiler. torchvision's own fallback compiles anew for every
number of regions, and its pooler over a pyramid neither aligns nor chooses samples by size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.runtime.torchvision_ops import check_torchvision, import_torchvision

_CANONICAL_SIZE, _CANONICAL_STRIDE = 224, 16  # Lin et al., "Feature Pyramid Networks", eq. 1
_EPSILON = 1e-6  # of mmdet and torchvision, before the floor


def roi_align(
    features: Tensor, rois: Tensor, cells: int, scale: float, samples: int = 0, aligned: bool = True
) -> Tensor:
    """Average bilinear samples in each cell of each region.

    Args:
        features: maps (B, C, H, W).
        rois: regions (K, 5): index of the image, x1, y1, x2, y2 in pixels of the image.
        cells: across a region, in both directions.
        scale: positions of the map per pixel.
        samples: per cell and direction; 0: as many as the cell covers positions, rounded up.
        aligned: whether positions stand in the middle of their pixels.

    Returns: (K, C, cells, cells).
    """
    if check_torchvision() == "whole" and features.device.type != "meta":
        align = import_torchvision().ops.roi_align
        pooled: Tensor = align(features, rois, (cells, cells), scale, samples, aligned)
        return pooled
    return align_by_sampling(features, rois, cells, scale, samples, aligned)


def align_by_sampling(
    features: Tensor, rois: Tensor, cells: int, scale: float, samples: int = 0, aligned: bool = True
) -> Tensor:
    """The same in plain torch; regions with as many samples run together."""
    precise = features.float() if features.dtype in (torch.float16, torch.bfloat16) else features
    boxes = rois[:, 1:].to(precise.dtype) * scale - (0.5 if aligned else 0.0)  # (K, 4)
    sides = boxes[:, 2:] - boxes[:, :2]  # (K, 2): x, y
    if not aligned:
        sides = sides.clamp(min=1.0)
    counts = torch.full_like(sides, samples) if samples else (sides / cells).ceil()
    owners = torch.cat([rois[:, :1].to(counts.dtype), counts], dim=1)  # (K, 3): image, x, y
    pooled = precise.new_zeros(len(rois), features.shape[1], cells, cells)
    kinds, kind_of = torch.unique(owners, dim=0, return_inverse=True)
    for i, (image, across, down) in enumerate(kinds.long().tolist()):
        if across < 1 or down < 1:  # a region without an extent has no samples
            continue
        rows = (kind_of == i).nonzero()[:, 0]
        x = _place_samples(boxes[rows, 0], sides[rows, 0], cells, across)
        y = _place_samples(boxes[rows, 1], sides[rows, 1], cells, down)
        pooled = pooled.index_copy(0, rows, _sample(precise[image], x, y, cells))
    return pooled.to(features.dtype)


def _place_samples(start: Tensor, side: Tensor, cells: int, samples: int) -> Tensor:
    """Where samples lie on one axis, (K, cells * samples), in positions of the map."""
    steps = torch.arange(cells * samples, dtype=start.dtype, device=start.device) + 0.5
    return start[:, None] + steps * (side[:, None] / (cells * samples))


def _sample(features: Tensor, x: Tensor, y: Tensor, cells: int) -> Tensor:
    """Bilinear samples of one map (C, H, W) at x (K, nx) and y (K, ny), averaged by cell."""
    channels, height, width = features.shape
    # a sample further out than one position is 0, a nearer one that of the border
    weight = _is_near(y, height)[:, :, None] * _is_near(x, width)[:, None, :]  # (K, ny, nx)
    # with aligned corners -1 and 1 are the first and the last position
    unit_x = x * (2 / max(width - 1, 1)) - 1
    unit_y = y * (2 / max(height - 1, 1)) - 1
    grid = torch.stack(
        [
            unit_x[:, None, :].expand(weight.shape),
            unit_y[:, :, None].expand(weight.shape),
        ],
        dim=-1,
    )  # (K, ny, nx, 2)
    k, ny, nx = weight.shape
    values = F.grid_sample(
        features[None], grid.reshape(1, k * ny, nx, 2), padding_mode="border", align_corners=True
    )
    values = values.reshape(channels, k, ny, nx) * weight
    values = values.reshape(channels, k, cells, ny // cells, cells, nx // cells)
    return values.mean(dim=(3, 5)).transpose(0, 1)


def _is_near(positions: Tensor, size: int) -> Tensor:
    return ((positions >= -1) & (positions <= size)).to(positions.dtype)


class RegionPool(nn.Module):
    """RoIAlign over a pyramid: larger regions from deeper maps (Lin et al. 2017, eq. 1).

    Args:
        strides: pixels per position of the maps that are pooled from, ascending by 2.
        cells: across a region.
    """

    def __init__(self, strides: Sequence[int], cells: int) -> None:
        super().__init__()
        self.strides = tuple(strides)
        self.cells = cells

    def forward(
        self, maps: Mapping[str, Tensor], boxes: Sequence[Tensor], _: object = None
    ) -> Tensor:
        """Pool the regions of each image, (K_b, 4), in the order of the images: (K, C, n, n)."""
        pooled_from = list(maps.values())[: len(self.strides)]
        images = [torch.full_like(b[:, :1], i) for i, b in enumerate(boxes)]
        rois = torch.cat([torch.cat(images), torch.cat(list(boxes))], dim=1)
        levels = self.choose_levels(rois[:, 1:])
        first = pooled_from[0]
        out = first.new_zeros(len(rois), first.shape[1], self.cells, self.cells)
        for level, (features, stride) in enumerate(zip(pooled_from, self.strides, strict=True)):
            rows = (levels == level).nonzero()[:, 0]
            pooled = roi_align(features, rois[rows], self.cells, 1 / stride)
            out = out.index_copy(0, rows, pooled.to(out.dtype))
        return out

    def choose_levels(self, boxes: Tensor) -> Tensor:
        """The map of each region (K, 4), from 0: one of 224 px takes the map of stride 16."""
        side = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).sqrt()
        unit = _CANONICAL_SIZE / _CANONICAL_STRIDE * self.strides[0]
        levels = (side / unit + _EPSILON).log2().floor()
        return levels.clamp(0, len(self.strides) - 1).long()
