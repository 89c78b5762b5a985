"""The box head and the mask head of Mask R-CNN, on torchvision's sampling and boxes.

What differs from torchvision's own, each as published: L1 in place of smooth L1, no box and no mask
of the background class, masks of the objects cut out by aligned RoIAlign with all their samples.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smt_nas.costs.heads.head_config import BOX_POOL, MASK_POOL, MaskRCNNConfig
from smt_nas.tasks.box_anchors import OverlapMatcher, detection
from smt_nas.tasks.roi_align import RegionPool, roi_align

_POSITIVE = 0.25
_OVERLAP = 0.5  # from which a proposal is an object's
_BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)

Target = Mapping[str, Tensor]


class BoxOutputs(nn.Module):
    """Scores of the classes and the background, and a box of every class."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, classes + 1)
        self.bbox_pred = nn.Linear(width, 4 * classes)
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            nn.init.normal_(layer.weight, std=std)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(K, width) to scores (K, classes + 1), background first, and boxes (K, 4 * classes)."""
        return self.cls_score(x), self.bbox_pred(x)


class RegionHeads(detection.roi_heads.RoIHeads):  # type: ignore[misc]
    """What each proposal is, where exactly, and its mask.

    Args:
        config: widths and classes.
        strides: pixels per position of the maps that are pooled from.
        sampled: proposals of an image that training looks at.
    """

    def __init__(self, config: MaskRCNNConfig, strides: Sequence[int], sampled: int) -> None:
        masks = (config.mask,) * config.mask_convs
        super().__init__(
            RegionPool(strides, BOX_POOL),
            detection.faster_rcnn.TwoMLPHead(config.neck * BOX_POOL**2, config.fc),
            BoxOutputs(config.fc, config.classes),
            fg_iou_thresh=_OVERLAP,
            bg_iou_thresh=_OVERLAP,
            batch_size_per_image=sampled,
            positive_fraction=_POSITIVE,
            bbox_reg_weights=_BOX_WEIGHTS,
            score_thresh=0.05,
            nms_thresh=0.5,
            detections_per_img=100,
            mask_roi_pool=RegionPool(strides, MASK_POOL),
            mask_head=detection.mask_rcnn.MaskRCNNHeads(config.neck, masks, 1),
            mask_predictor=detection.mask_rcnn.MaskRCNNPredictor(
                config.mask, config.mask, config.classes
            ),
        )
        self.proposal_matcher = OverlapMatcher(_OVERLAP, _OVERLAP, least=_OVERLAP)
        for layer in (self.box_head.fc6, self.box_head.fc7):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        features: OrderedDict[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
        targets: Sequence[Target] | None = None,
    ) -> tuple[list[dict[str, Tensor]], dict[str, Tensor]]:
        """Detections by image in eval mode, losses by name in training.

        Args:
            features: maps of the pyramid.
            proposals: by image, (K_b, 4).
            image_shapes: height and width of each, without padding.
            targets: by image: boxes (n, 4), labels (n,) from 1, masks (n, H, W) of 0 and 1.
        """
        if not self.training:
            return self._detect(features, proposals, image_shapes), {}
        assert targets is not None, "training needs targets"
        chosen, owners, labels, wanted = self.select_training_samples(proposals, targets)
        scores, boxes = self._read_boxes(features, chosen)
        classes = torch.cat(labels)
        return [], {
            "loss_classifier": F.cross_entropy(scores, classes),
            "loss_box_reg": _box_loss(boxes, classes, torch.cat(wanted)),
            "loss_mask": self._mask_loss(features, chosen, owners, labels, targets),
        }

    def _read_boxes(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        out: tuple[Tensor, Tensor] = self.box_predictor(
            self.box_head(self.box_roi_pool(features, proposals))
        )
        return out

    def _read_masks(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Logits (K, classes, 28, 28)."""
        logits: Tensor = self.mask_predictor(self.mask_head(self.mask_roi_pool(features, boxes)))
        return logits

    def _mask_loss(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Tensor],
        owners: Sequence[Tensor],
        labels: Sequence[Tensor],
        targets: Sequence[Target],
    ) -> Tensor:
        """Of proposals that are an object's, each by the mask of its class."""
        chosen = [(each > 0).nonzero()[:, 0] for each in labels]
        boxes = [p[rows] for p, rows in zip(proposals, chosen, strict=True)]
        logits = self._read_masks(features, boxes)
        wanted = [
            cut_masks(target["masks"], box, owner[rows], logits.shape[-1])
            for target, box, owner, rows in zip(targets, boxes, owners, chosen, strict=True)
        ]
        classes = torch.cat([each[rows] for each, rows in zip(labels, chosen, strict=True)])
        if not len(classes):
            return logits.sum() * 0
        own = logits[torch.arange(len(classes), device=logits.device), classes - 1]
        return F.binary_cross_entropy_with_logits(own, torch.cat(wanted).to(own.dtype))

    def _detect(
        self,
        features: Mapping[str, Tensor],
        proposals: list[Tensor],
        image_shapes: list[tuple[int, int]],
    ) -> list[dict[str, Tensor]]:
        scores, boxes = self._read_boxes(features, proposals)
        # torchvision drops the first class, the background, of boxes too
        padded = F.pad(boxes, (4, 0))
        columns = self.postprocess_detections(scores, padded, proposals, image_shapes)
        rows = [
            {"boxes": box, "scores": score, "labels": label}
            for box, score, label in zip(*columns, strict=True)
        ]
        masks = self._read_masks(features, [row["boxes"] for row in rows]).sigmoid()
        labels = torch.cat([row["labels"] for row in rows])
        own = masks[torch.arange(len(labels), device=labels.device), labels - 1][:, None]
        counts = [len(row["labels"]) for row in rows]
        for row, mask in zip(rows, torch.split(own, counts), strict=True):
            row["masks"] = mask
        return rows


def _box_loss(boxes: Tensor, classes: Tensor, wanted: Tensor) -> Tensor:
    """L1 of the boxes of objects (K, 4 * classes), each of its class, over all proposals."""
    rows = (classes > 0).nonzero()[:, 0]
    own = boxes.reshape(len(boxes), -1, 4)[rows, classes[rows] - 1]
    return F.l1_loss(own, wanted[rows], reduction="sum") / max(len(boxes), 1)


def cut_masks(masks: Tensor, boxes: Tensor, owners: Tensor, cells: int) -> Tensor:
    """The mask (n, H, W) of each box's owner inside the box: (K, cells, cells) of 0 and 1."""
    rois = torch.cat([owners[:, None].to(boxes.dtype), boxes], dim=1)
    cut = roi_align(masks[:, None].to(boxes.dtype), rois, cells, 1.0)[:, 0]
    return (cut >= 0.5).to(boxes.dtype)
