"""COCO's average precision: perfect, shifted and empty answers, crowds, classes of odd ids."""

import json

import numpy as np
import pytest
from PIL import Image

from smt_nas.errors import TrainingError
from smt_nas.train.data.scenes.coco import load_coco
from smt_nas.train.scores.coco_precision import Detections, score_detections

pytest.importorskip("pycocotools", reason="pip install 'smt-nas[detect]'")

BOXES = {1: [(10, 20, 50, 60, 90), (60, 5, 90, 95, 7)], 5: [(0, 0, 20, 20, 90)]}


def polygon(x1, y1, x2, y2):
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def load(folder, masks=True, crowd=(), boxes=BOXES):
    (folder / "images").mkdir()
    images, objects = [], []
    for number, rows in boxes.items():
        Image.new("RGB", (100, 100)).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 100, "width": 100})
        for x1, y1, x2, y2, category in rows:
            each = {
                "id": len(objects),
                "image_id": number,
                "category_id": category,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": int(len(objects) in crowd),
            }
            objects.append(each | ({"segmentation": polygon(x1, y1, x2, y2)} if masks else {}))
    categories = [{"id": 90, "name": "cat"}, {"id": 7, "name": "dog"}]
    content = {"images": images, "annotations": objects, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return load_coco("coco:x", str(folder)).splits["train"]


def answer(scenes, shift=0.0, masks=True):
    """What is there, moved to the right."""
    answers = []
    for i in range(len(scenes)):
        objects = scenes.objects(i)
        answers.append(
            Detections(
                objects.boxes + np.array([shift, 0, shift, 0]),
                objects.labels,
                np.full(len(objects), 0.9),
                scenes.masks(i) if masks else None,
            )
        )
    return answers


def test_a_perfect_answer_has_all_of_it(tmp_path, capsys):
    scenes = load(tmp_path)
    scores = score_detections(scenes, answer(scenes))
    for each in scores.values():
        assert (each.ap, each.ap50, each.ap75) == pytest.approx((100, 100, 100))
        assert each.ap_small == pytest.approx(100)
    assert set(scores) == {"box", "mask"}
    assert capsys.readouterr().out == ""


def test_a_shifted_answer_counts_up_to_its_overlap(tmp_path):
    """40 wide, shifted by 10: 30 / 50 = 0.6, so right at 0.50, 0.55 and 0.60 of ten overlaps."""
    scenes = load(tmp_path, boxes={3: [(10, 20, 50, 60, 7)]})
    scores = score_detections(scenes, answer(scenes, 10.0, masks=False))
    assert set(scores) == {"box"}
    assert scores["box"].ap == pytest.approx(30)
    assert (scores["box"].ap50, scores["box"].ap75) == pytest.approx((100, 0))
    assert scores["box"].ap_small is None  # no object is small
    assert scores["box"].ap_medium == pytest.approx(30)


def test_an_answer_of_another_class_is_wrong_and_a_silent_one_too(tmp_path):
    scenes = load(tmp_path)
    swapped = [Detections(d.boxes, 3 - d.labels, d.scores) for d in answer(scenes)]
    assert score_detections(scenes, swapped)["box"].ap == pytest.approx(0)
    none = [Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))] * 2
    assert score_detections(scenes, none)["box"].ap == pytest.approx(0)


def test_a_crowd_is_neither_demanded_nor_held_against(tmp_path):
    scenes = load(tmp_path, crowd=(2,))
    answers = answer(scenes)
    assert score_detections(scenes, answers)["box"].ap == pytest.approx(100)
    silent = [answers[0], Detections(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))]
    assert score_detections(scenes, silent)["box"].ap == pytest.approx(100)


def test_masks_are_judged_where_all_have_them(tmp_path):
    scenes = load(tmp_path, masks=False)
    assert set(score_detections(scenes, answer(scenes))) == {"box"}


def test_a_split_of_crowds_alone_is_refused(tmp_path):
    scenes = load(tmp_path, crowd=(0, 1, 2))
    with pytest.raises(TrainingError, match=r"must have an object to find \(got none\)"):
        score_detections(scenes, answer(scenes))
