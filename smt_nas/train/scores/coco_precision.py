"""Average precision as COCO counts it, by pycocotools: of boxes, and of masks.

What is judged against is a split as it was read: boxes are clipped to their images, and those of
less than a pixel, which the read left out, are not looked for. Crowd regions are neither demanded
nor held against a detection.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.errors import TrainingError
from smt_nas.train.data.examples import ByteArray, IntArray
from smt_nas.train.data.scenes.coco import CocoScenes, encode_segmentation, import_coco

_STATS = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")


@dataclass(frozen=True)
class Detections:
    """What a detector says of one image.

    Attributes:
        boxes: (n, 4) of x1, y1, x2, y2 in pixels.
        labels: (n,) classes, from 1.
        scores: (n,).
        masks: (n, H, W) of 0 and 1; None of a detector of boxes.
    """

    boxes: NDArray[np.float64]
    labels: IntArray
    scores: NDArray[np.float64]
    masks: ByteArray | None = None


@dataclass(frozen=True)
class AveragePrecision:
    """COCO's figures, in percent; None where no object is of that size.

    Attributes:
        ap: mean over overlaps of 0.50, 0.55, ... 0.95.
        ap50: at an overlap of 0.5.
        ap75: at 0.75.
        ap_small: of objects below 32 x 32 pixels.
        ap_medium: below 96 x 96.
        ap_large: of larger ones.
    """

    ap: float | None
    ap50: float | None
    ap75: float | None
    ap_small: float | None
    ap_medium: float | None
    ap_large: float | None


def score_detections(
    scenes: CocoScenes, detections: Sequence[Detections]
) -> dict[str, AveragePrecision]:
    """Judge the detections of a whole split.

    Args:
        scenes: the split.
        detections: of each image, in its order.

    Returns: of `box`, and of `mask` where all detections and all objects have masks.

    Raises:
        MeasurementError: pycocotools is not installed.
        TrainingError: the split has no object to find.
    """
    assert len(detections) == len(scenes)
    whole = all(o.segmentation is not None for i in range(len(scenes)) for o in scenes.entries(i))
    masked = whole and all(each.masks is not None for each in detections)
    kinds = {"box": "bbox"} | ({"mask": "segm"} if masked else {})
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pycocotools 2.0.11 beside numpy 2
        truth = _build_truth(scenes)
        rows = [row for i, d in enumerate(detections) for row in _list_rows(scenes, i, d, masked)]
        results = _load_results(truth, rows)
        return {kind: _evaluate(truth, results, name) for kind, name in kinds.items()}


def _build_truth(scenes: CocoScenes) -> Any:
    """pycocotools' index of the objects of a split."""
    truth = import_coco("coco").COCO()
    objects: list[dict[str, Any]] = []
    for i, image in enumerate(scenes.image_ids):
        size = scenes.size(i)
        for each in scenes.entries(i):
            x1, y1, x2, y2 = each.box
            row: dict[str, Any] = {
                "id": len(objects) + 1,  # pycocotools takes 0 for "no match"
                "image_id": image,
                "category_id": scenes.category_ids[each.label - 1],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": each.area,
                "iscrowd": int(each.crowd),
            }
            if each.segmentation is not None:
                row["segmentation"] = encode_segmentation(each.segmentation, *size)
            objects.append(row)
    if not any(not row["iscrowd"] for row in objects):
        raise TrainingError(
            f"{scenes.file}: must have an object to find (got none). Evaluate on other images."
        )
    images = [
        {"id": image, "height": scenes.size(i)[0], "width": scenes.size(i)[1]}
        for i, image in enumerate(scenes.image_ids)
    ]
    categories = [{"id": number} for number in scenes.category_ids]
    truth.dataset = {"images": images, "annotations": objects, "categories": categories}
    truth.createIndex()
    return truth


def _list_rows(
    scenes: CocoScenes, i: int, detections: Detections, masked: bool
) -> list[dict[str, Any]]:
    """The detections of one image, as results in COCO's format."""
    rows = []
    for k, (box, label, score) in enumerate(
        zip(detections.boxes, detections.labels, detections.scores, strict=True)
    ):
        x1, y1, x2, y2 = map(float, box)
        row: dict[str, Any] = {
            "image_id": scenes.image_ids[i],
            "category_id": scenes.category_ids[int(label) - 1],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": float(score),
        }
        if masked and detections.masks is not None:
            mask = np.asfortranarray(detections.masks[k], dtype=np.uint8)
            row["segmentation"] = import_coco("mask").encode(mask)
        rows.append(row)
    return rows


def _load_results(truth: Any, rows: list[dict[str, Any]]) -> Any:
    """pycocotools' index of the results; it takes none for an error."""
    if rows:
        return truth.loadRes(rows)
    empty = import_coco("coco").COCO()
    empty.dataset = {**truth.dataset, "annotations": []}
    empty.createIndex()
    return empty


def _evaluate(truth: Any, results: Any, kind: str) -> AveragePrecision:
    evaluation = import_coco("cocoeval").COCOeval(truth, results, kind)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    values = [float(value) for value in evaluation.stats[: len(_STATS)]]
    known = [None if value < 0 else 100 * value for value in values]  # -1: no such object
    return AveragePrecision(**dict(zip(_STATS, known, strict=True)))
