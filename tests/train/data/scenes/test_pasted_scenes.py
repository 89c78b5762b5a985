"""Pasted scenes: both layouts tell the same, unseen things to judge by, the same for a seed."""

import numpy as np
import pytest

from smt_nas.errors import TrainingError
from smt_nas.train.data.examples import ArrayExamples, Source
from smt_nas.train.data.scenes.pasted_scenes import (
    PastedScenes,
    list_run_lengths,
    write_pasted_scenes,
)
from smt_nas.train.data.scenes.scene_sources import load_scenes

HOW = PastedScenes(size=32, items=(2, 3), sides=(8, 16), seed=5)


def make_source(test=True):
    """Class 0 is a full square, class 1 its left half; test pictures are darker."""
    shapes = np.zeros((2, 8, 8), np.uint8)
    shapes[0], shapes[1, :, :4] = 255, 255
    parts = [ArrayExamples(shapes // shade, np.arange(2), "shapes") for shade in (1, 4)]
    return Source("shapes", ("square", "half"), parts[0], None, parts[1] if test else None, True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes") / "new"
    write_pasted_scenes(make_source(), folder, 6, 3, HOW)
    return folder


@pytest.mark.parametrize("split", ["train", "validation"])
def test_boxes_masks_and_pixels_agree(folder, split):
    pytest.importorskip("pycocotools", reason="masks of COCO: pip install 'smt-nas[detect]'")
    things = load_scenes("detect", f"coco:{folder}")
    pixels = load_scenes("segment", f"masks:{folder}")
    assert things.classes == ("square", "half")
    assert pixels.classes == ("background", "square", "half")
    assert not [line for line in (*things.remarks, *pixels.remarks) if "background" not in line]
    scenes, labelled = things.splits[split], pixels.splits[split]
    assert len(scenes) == len(labelled) == {"train": 6, "validation": 3}[split]
    for i in range(len(scenes)):
        objects, masks, labels = scenes.objects(i), scenes.masks(i), labelled.labels(i)
        assert masks.sum(axis=0).max() == 1  # what is covered is of one thing alone
        for box, label, mask in zip(objects.boxes, objects.labels, masks, strict=True):
            rows, columns = np.nonzero(mask)
            extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert box.tolist() == extent
            assert (labels[mask == 1] == label).all()
        np.testing.assert_array_equal(np.asarray(scenes.image(i)), np.asarray(labelled.image(i)))


def test_scenes_to_judge_by_show_other_pictures(folder):
    """Those of the test split are too dark to be taken for the others."""
    scenes = load_scenes("detect", f"coco:{folder}").splits
    brightest = {
        name: max(np.asarray(s.image(i)).max() for i in range(len(s))) for name, s in scenes.items()
    }
    assert brightest["train"] > 100 > brightest["validation"]


def test_a_seed_gives_the_same_scenes_however_many(folder, tmp_path):
    write_pasted_scenes(make_source(), tmp_path / "again", 2, 1, HOW)
    other = PastedScenes(size=32, items=(2, 3), sides=(8, 16), seed=6)
    write_pasted_scenes(make_source(), tmp_path / "other", 2, 1, other)
    name = "images/train/000002.png"
    assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    assert (tmp_path / "other" / name).read_bytes() != (folder / name).read_bytes()


def test_run_lengths_go_down_the_columns():
    mask = np.array([[0, 1, 1], [0, 1, 0]], bool)
    assert list_run_lengths(mask) == [2, 3, 1]
    assert list_run_lengths(mask[:, 1:2]) == [0, 2]
    assert list_run_lengths(mask & False) == [6]


def test_a_source_without_test_pictures_and_a_full_folder_are_refused(folder, tmp_path):
    with pytest.raises(TrainingError, match=r"^shapes: must have a training and a test split"):
        write_pasted_scenes(make_source(test=False), tmp_path / "x", 1, 1)
    with pytest.raises(TrainingError, match=r"must be a new or empty folder"):
        write_pasted_scenes(make_source(), folder, 1, 1)
