"""Closed forms of detectors: feature pyramid, Mask R-CNN, RetinaNet.

The protocol is the published one (mmdet 2's analysis tool): box head on 1,000 proposals, mask head
on the first 100, no cost of RoIAlign and suppression. n positions, c channels; P6 and P7 are half
as large as what they follow, rounded up.
"""

from __future__ import annotations

from collections.abc import Iterator

from smt_nas.costs.heads.head_config import (
    BOX_POOL,
    MASK_POOL,
    MASK_RCNN_ANCHORS,
    RETINANET_ANCHORS,
    MaskRCNNConfig,
    RetinaNetConfig,
)
from smt_nas.costs.heads.head_part import (
    HeadPart,
    Layer,
    Maps,
    add_up_layers,
    count_layer,
    extra_positions,
)

PROPOSALS, MASKS = 1000, 100
"""Regions that the box head and the mask head are counted on."""


def count_mask_rcnn(config: MaskRCNNConfig, maps: Maps) -> list[HeadPart]:
    """The parts of a Mask R-CNN over four maps; P6 is P5, every second position."""
    width = config.neck
    n = sum(maps.positions) + sum(extra_positions(maps.sizes[-1], 1))
    anchors = MASK_RCNN_ANCHORS
    rpn = (
        count_layer(n, width, width, 3),
        count_layer(n, width, anchors),
        count_layer(n, width, 4 * anchors),
    )
    box = (
        count_layer(PROPOSALS, BOX_POOL**2 * width, config.fc),
        count_layer(PROPOSALS, config.fc, config.fc),
        count_layer(PROPOSALS, config.fc, config.classes + 1),
        count_layer(PROPOSALS, config.fc, 4 * config.classes),
    )
    return [
        add_up_layers("feature pyramid", "neck", _list_pyramid(maps, width)),
        add_up_layers("region proposals", "head", rpn),
        add_up_layers(f"boxes of {PROPOSALS:,} proposals", "head", box),
        add_up_layers(f"masks of {MASKS} proposals", "head", _list_mask_layers(config)),
    ]


def count_retinanet(config: RetinaNetConfig, maps: Maps) -> list[HeadPart]:
    """The parts of a RetinaNet over the three deeper maps; P6 is made from the last one."""
    width = config.neck
    used = Maps(maps.channels[1:], maps.sizes[1:])
    p6, p7 = extra_positions(maps.sizes[-1], 2)
    extra = (count_layer(p6, maps.channels[-1], width, 3), count_layer(p7, width, width, 3))
    n = sum(used.positions) + p6 + p7
    convs = [count_layer(n, width, width, 3)] * config.convs
    outputs = {"classes": config.classes, "boxes": 4}
    return [
        add_up_layers("feature pyramid", "neck", [*_list_pyramid(used, width), *extra]),
        *(
            add_up_layers(
                what, "head", [*convs, count_layer(n, width, RETINANET_ANCHORS * each, 3)]
            )
            for what, each in outputs.items()
        ),
    ]


def _list_pyramid(maps: Maps, width: int) -> Iterator[Layer]:
    """Of each map the lateral 1x1 and the 3x3 after the sum."""
    for n, channels in zip(maps.positions, maps.channels, strict=True):
        yield count_layer(n, channels, width)
        yield count_layer(n, width, width, 3)


def _list_mask_layers(config: MaskRCNNConfig) -> Iterator[Layer]:
    """Convolutions, the transposed one that doubles the size, a 1x1 to the classes."""
    n, width = MASKS * MASK_POOL**2, config.mask
    for i in range(config.mask_convs):
        yield count_layer(n, width if i else config.neck, width, 3)
    yield count_layer(n, width, width, 2)
    yield count_layer(4 * n, width, config.classes)
