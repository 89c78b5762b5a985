"""UPerNet's two heads, of the published widths, with weights named as transformers names them.

Xiao et al., "Unified Perceptual Parsing for Scene Understanding", 2018. What transformers leaves
out is here: dropout of whole channels before each classifier.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.costs.heads.head_config import UPerNetConfig
from smt_nas.costs.heads.segmentation_heads import AUX_MAP

_CLASSIFIER_STD = 0.01


class ConvNorm(nn.Module):
    """Convolution without a bias, batch norm, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
        self.batch_norm = nn.BatchNorm2d(c_out)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        return F.relu(self.batch_norm(self.conv(x)))


class UPerNetHead(nn.Module):
    """Pyramid pooling of the deepest map, a top-down pyramid, and their fusion.

    Args:
        config: widths and classes.
        channels: of the maps, shallow to deep.
    """

    def __init__(self, config: UPerNetConfig, channels: Sequence[int]) -> None:
        super().__init__()
        width, last = config.channels, channels[-1]
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(cells), ConvNorm(last, width, 1))
            for cells in config.pools
        )
        self.bottleneck = ConvNorm(last + len(config.pools) * width, width, 3)
        self.lateral_convs = nn.ModuleList(ConvNorm(c, width, 1) for c in channels[:-1])
        self.fpn_convs = nn.ModuleList(ConvNorm(width, width, 3) for _ in channels[:-1])
        self.fpn_bottleneck = ConvNorm(len(channels) * width, width, 3)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = _build_classifier(width, config.classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i) to logits (B, classes, H_1, W_1)."""
        deepest = maps[-1]
        pooled = [resize(pool(deepest), deepest) for pool in self.psp_modules]
        levels = [lateral(x) for lateral, x in zip(self.lateral_convs, maps[:-1], strict=True)]
        levels.append(self.bottleneck(torch.cat([deepest, *pooled], dim=1)))
        for i in range(len(levels) - 1, 0, -1):
            levels[i - 1] = levels[i - 1] + resize(levels[i], levels[i - 1])
        outs = [conv(x) for conv, x in zip(self.fpn_convs, levels[:-1], strict=True)]
        joined = [outs[0], *(resize(x, outs[0]) for x in [*outs[1:], levels[-1]])]
        y: Tensor = self.classifier(self.dropout(self.fpn_bottleneck(torch.cat(joined, dim=1))))
        return y


class AuxiliaryHead(nn.Module):
    """One 3x3 convolution and a classifier over the third map; helps in training alone."""

    def __init__(self, config: UPerNetConfig, channels: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvNorm(channels[AUX_MAP], config.aux, 3))
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = _build_classifier(config.aux, config.classes)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C_i, H_i, W_i) to logits (B, classes, H_3, W_3)."""
        y: Tensor = self.classifier(self.dropout(self.convs(maps[AUX_MAP])))
        return y


def resize(x: Tensor, like: Tensor) -> Tensor:
    """A map (B, C, H, W) at the height and width of another, bilinear."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)


def _build_classifier(width: int, classes: int) -> nn.Conv2d:
    layer = nn.Conv2d(width, classes, 1)
    nn.init.normal_(layer.weight, std=_CLASSIFIER_STD)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer
