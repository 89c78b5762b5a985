"""Closed forms of UPerNet: pyramid pooling, top-down pyramid, fusion; the auxiliary head beside."""

from __future__ import annotations

from collections.abc import Iterator

from smt_nas.costs.heads.head_config import UPerNetConfig
from smt_nas.costs.heads.head_part import HeadPart, Layer, Maps, add_up_layers, count_layer

AUX_MAP = 2
"""Which map the auxiliary head takes."""


def count_upernet(config: UPerNetConfig, maps: Maps) -> list[HeadPart]:
    """The parts of a UPerNet over four maps; the auxiliary head has MACs in training alone."""
    n, last, width = maps.positions, maps.channels[-1], config.channels
    fuse = (
        _count_norm_layer(n[0], len(n) * width, width, 3),
        count_layer(n[0], width, config.classes),
    )
    aux = (
        _count_norm_layer(n[AUX_MAP], maps.channels[AUX_MAP], config.aux, 3),
        count_layer(n[AUX_MAP], config.aux, config.classes),
    )
    training = add_up_layers("", "head", aux)
    pooled = last + len(config.pools) * width
    pooling = [_count_norm_layer(cells**2, last, width) for cells in config.pools]
    pooling.append(_count_norm_layer(n[-1], pooled, width, 3))
    return [
        add_up_layers("pyramid pooling", "neck", pooling),
        add_up_layers("top-down pyramid", "neck", _list_laterals(maps, width)),
        add_up_layers("fusion and classifier", "head", fuse),
        HeadPart("auxiliary head", "head", training.params, 0, training.macs),
    ]


def _list_laterals(maps: Maps, width: int) -> Iterator[Layer]:
    """Of each map but the last the lateral 1x1 and the 3x3 after the sum."""
    for n, channels in list(zip(maps.positions, maps.channels, strict=True))[:-1]:
        yield _count_norm_layer(n, channels, width)
        yield _count_norm_layer(n, width, width, 3)


def _count_norm_layer(positions: int, c_in: int, c_out: int, kernel: int = 1) -> Layer:
    """Convolution without a bias, batch norm, ReLU."""
    return count_layer(positions, c_in, c_out, kernel, bias=False, norm=True)
