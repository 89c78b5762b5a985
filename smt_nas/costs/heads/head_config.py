"""What a head is: widths and classes, with the published values as defaults.

Formulas (`detection_heads`, `segmentation_heads`) and modules (`smt_nas.tasks`) read the same
value, so that what is counted is what is built.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from smt_nas.fingerprint import Value

Width = Annotated[int, Field(strict=True, ge=1, le=4096)]
Number = Annotated[int, Field(strict=True, ge=1, le=64)]
Classes = Annotated[int, Field(strict=True, ge=1, le=100_000)]

MASK_RCNN_ANCHORS = 3
"""Boxes at each position: three shapes of one size."""

RETINANET_ANCHORS = 9
"""Three shapes of three sizes."""

BOX_POOL, MASK_POOL = 7, 14
"""Cells across, of what a box and a mask head take of each region."""


class MaskRCNNConfig(Value):
    """He et al., "Mask R-CNN", 2017, over a feature pyramid.

    Attributes:
        classes: of things; the background is one more.
        neck: channels of the pyramid.
        fc: width of the box head's two linear layers.
        mask: channels of the mask head.
        mask_convs: its 3x3 convolutions.
    """

    classes: Classes = 80
    neck: Width = 256
    fc: Width = 1024
    mask: Width = 256
    mask_convs: Number = 4


class RetinaNetConfig(Value):
    """Lin et al., "Focal Loss for Dense Object Detection", 2017.

    Attributes:
        classes: of things; none for the background.
        neck: channels of the pyramid and of both heads.
        convs: 3x3 convolutions before each of the two outputs.
    """

    classes: Classes = 80
    neck: Width = 256
    convs: Number = 4


class UPerNetConfig(Value):
    """Xiao et al., "Unified Perceptual Parsing for Scene Understanding", 2018.

    Attributes:
        classes: of pixels.
        channels: of the decoder.
        aux: channels of the auxiliary head, which helps in training alone.
        pools: cells across of the pyramid pooling.
        dropout: before each classifier, in training.
    """

    classes: Classes = 150
    channels: Width = 512
    aux: Width = 256
    pools: Annotated[tuple[Number, ...], Field(min_length=1)] = (1, 2, 3, 6)
    dropout: Annotated[float, Field(strict=True, ge=0, lt=1)] = 0.1


HeadConfig = MaskRCNNConfig | RetinaNetConfig | UPerNetConfig
