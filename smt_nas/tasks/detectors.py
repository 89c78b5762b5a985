"""Mask R-CNN and RetinaNet over an SMT, with the published settings.

Both take a list of images (C, H, W) in 0..1 and, in training, a target for each: `boxes` (n, 4) as
x1, y1, x2, y2 in pixels, `labels` (n,) from 1, Mask R-CNN `masks` (n, H, W) too. They resize images
to 800 on the short side and at most 1,333 on the long one, normalise them, and fill up with zeros
below and right to a multiple of 32. In training they return losses by name, else detections.

What stays torchvision's: its resizing (bilinear, not antialiased), and that RetinaNet divides each
image's losses by its own number of objects, where the published code divides by that of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from smt_nas.costs.heads.detection_heads import PROPOSALS
from smt_nas.costs.heads.head_config import MaskRCNNConfig, RetinaNetConfig
from smt_nas.models import SMT
from smt_nas.tasks.box_anchors import OverlapMatcher, StrideAnchors, detection
from smt_nas.tasks.map_pyramid import LinearExtraMaps, MapPyramid, fpn
from smt_nas.tasks.region_heads import RegionHeads
from smt_nas.tasks.region_proposals import ProposalNetwork

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SHORT, _LONG = (800,), 1333
_SAMPLED = 512  # proposals of an image in training
_OCTAVES = (4.0, 4 * 2 ** (1 / 3), 4 * 2 ** (2 / 3))  # a RetinaNet anchor's side over the stride


class MaskRCNN(detection.generalized_rcnn.GeneralizedRCNN):  # type: ignore[misc]
    """He et al. 2017, over a pyramid of four maps and one on top.

    Args:
        body: gives four maps.
        config: widths and classes.
        short: pixels of the short side; in training one of them is drawn.
        long: most pixels of the long side.
        proposals: kept of an image.
        sampled: that training looks at.
    """

    def __init__(
        self,
        body: SMT,
        config: MaskRCNNConfig,
        short: Sequence[int] = _SHORT,
        long: int = _LONG,
        proposals: int = PROPOSALS,
        sampled: int = _SAMPLED,
    ) -> None:
        pyramid = MapPyramid(body, config.neck, 0, fpn.LastLevelMaxPool(), extras=1)
        super().__init__(
            pyramid,
            ProposalNetwork(config.neck, pyramid.strides, proposals),
            RegionHeads(config, pyramid.strides[:-1], sampled),
            _build_transform(body, short, long),
        )


class RetinaNet(detection.retinanet.RetinaNet):  # type: ignore[misc]
    """Lin et al. 2017, over a pyramid of three maps and two on top.

    Args:
        body: gives four maps.
        config: widths and classes.
        short: pixels of the short side; in training one of them is drawn.
        long: most pixels of the long side.
    """

    def __init__(
        self,
        body: SMT,
        config: RetinaNetConfig,
        short: Sequence[int] = _SHORT,
        long: int = _LONG,
    ) -> None:
        extra = LinearExtraMaps(body.arch.stages[-1].dim, config.neck)
        pyramid = MapPyramid(body, config.neck, 1, extra, extras=2)
        super().__init__(
            pyramid,
            config.classes,
            anchor_generator=StrideAnchors(pyramid.strides, _OCTAVES),
            proposal_matcher=OverlapMatcher(0.5, 0.4, least=0.0),
            detections_per_img=100,
        )
        keep = slice(config.convs)
        for head in (self.head.classification_head, self.head.regression_head):
            head.conv = head.conv[keep]
        self.transform = _build_transform(body, short, long)

    def compute_loss(
        self, targets: Sequence[dict[str, Tensor]], head_outputs: Any, anchors: Any
    ) -> dict[str, Tensor]:
        """Focal loss and L1; torchvision's classes begin at 0."""
        shifted = [{**target, "labels": target["labels"] - 1} for target in targets]
        losses: dict[str, Tensor] = super().compute_loss(shifted, head_outputs, anchors)
        return losses

    def postprocess_detections(
        self, head_outputs: Any, anchors: Any, image_shapes: Any
    ) -> list[dict[str, Tensor]]:
        """Boxes, scores and labels from 1, by image."""
        detections = super().postprocess_detections(head_outputs, anchors, image_shapes)
        return [{**each, "labels": each["labels"] + 1} for each in detections]


def _build_transform(body: SMT, short: Sequence[int], long: int) -> Any:
    """Resizing, normalisation and padding to whole positions of the deepest map."""
    multiple = 8 * body.arch.stem.stride
    return detection.transform.GeneralizedRCNNTransform(
        tuple(short), long, list(_MEAN), list(_STD), size_divisible=multiple
    )
