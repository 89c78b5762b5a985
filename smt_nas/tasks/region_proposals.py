"""The region proposal network with the published settings, on torchvision's.

What differs from torchvision's own: L1 in place of smooth L1, 1,000 proposals in training too, and
anchors and their assignment as in `box_anchors`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from smt_nas.tasks.box_anchors import SHAPES, OverlapMatcher, StrideAnchors, detection

_SCALE = 8.0  # an anchor's side over its map's stride
_SAMPLED, _POSITIVE = 256, 0.5


class ProposalNetwork(detection.rpn.RegionProposalNetwork):  # type: ignore[misc]
    """Boxes that may hold an object, whatever it is.

    Args:
        width: channels of the pyramid.
        strides: pixels per position of its maps.
        proposals: kept per image; twice as many a map are looked at in training.
    """

    def __init__(self, width: int, strides: Sequence[int], proposals: int) -> None:
        super().__init__(
            StrideAnchors(strides, (_SCALE,)),
            detection.rpn.RPNHead(width, len(SHAPES)),
            fg_iou_thresh=0.7,
            bg_iou_thresh=0.3,
            batch_size_per_image=_SAMPLED,
            positive_fraction=_POSITIVE,
            pre_nms_top_n={"training": 2 * proposals, "testing": proposals},
            post_nms_top_n={"training": proposals, "testing": proposals},
            nms_thresh=0.7,
        )
        self.proposal_matcher = OverlapMatcher(0.7, 0.3, least=0.3)

    def compute_loss(
        self,
        objectness: Tensor,
        pred_bbox_deltas: Tensor,
        labels: Sequence[Tensor],
        regression_targets: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Cross entropy and L1 over the anchors sampled, both divided by their number.

        Args:
            objectness: logits (n, 1) of all images.
            pred_bbox_deltas: (n, 4).
            labels: by image; 1 for objects, 0 for background, -1 for neither.
            regression_targets: by image, (n_b, 4).
        """
        positive, negative = (torch.cat(list(m)).bool() for m in self.fg_bg_sampler(labels))
        sampled = positive | negative
        count = sampled.sum().clamp(min=1)
        wanted = torch.cat(list(regression_targets))
        boxes = F.l1_loss(pred_bbox_deltas[positive], wanted[positive], reduction="sum")
        objects = F.binary_cross_entropy_with_logits(
            objectness.flatten()[sampled], torch.cat(list(labels))[sampled], reduction="sum"
        )
        return objects / count, boxes / count
