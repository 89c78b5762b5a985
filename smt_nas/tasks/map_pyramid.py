"""`MapPyramid`: the maps of an SMT, joined top-down to maps of one width (Lin et al. 2017)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from smt_nas.models import SMT
from smt_nas.runtime.torchvision_ops import import_torchvision

fpn: Any = import_torchvision().ops.feature_pyramid_network


class LinearExtraMaps(fpn.ExtraFPNBlock):  # type: ignore[misc]
    """P6 from the backbone's last map, P7 from P6; no ReLU between, unlike torchvision's."""

    def __init__(self, c_in: int, width: int) -> None:
        super().__init__()
        self.p6 = nn.Conv2d(c_in, width, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(width, width, 3, stride=2, padding=1)
        for layer in (self.p6, self.p7):
            nn.init.kaiming_uniform_(layer.weight, a=1)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(
        self, p: list[Tensor], c: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        """Maps of the pyramid and of the backbone; the former with two more."""
        p6 = self.p6(c[-1])
        return [*p, p6, self.p7(p6)], [*names, "p6", "p7"]


class MapPyramid(nn.Module):
    """A backbone as torchvision's detectors take it.

    Args:
        body: gives four maps.
        width: channels of the pyramid.
        first: the shallowest map taken.
        extra: makes what comes on top.

    Attributes:
        out_channels: of every map.
        strides: pixels per position of every map.
    """

    def __init__(self, body: SMT, width: int, first: int, extra: nn.Module, extras: int) -> None:
        super().__init__()
        self.body = body
        self.first = first
        self.out_channels = width
        self.fpn = fpn.FeaturePyramidNetwork(
            [s.dim for s in body.arch.stages[first:]], width, extra
        )
        self.strides = list_strides(body, first, extras)

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """Images (B, C, H, W) to maps (B, width, H_i, W_i), shallow to deep."""
        maps: Sequence[Any] = self.body(images)
        named = OrderedDict((f"{i}", x) for i, x in enumerate(maps) if i >= self.first)
        pyramid: OrderedDict[str, Tensor] = self.fpn(named)
        return pyramid


def list_strides(body: SMT, first: int, extras: int) -> list[int]:
    """Pixels per position of the maps from one on, and of so many on top."""
    return [body.arch.stem.stride * 2**i for i in range(first, len(body.arch.stages) + extras)]
