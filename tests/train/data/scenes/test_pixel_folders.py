"""`ade20k:DIR`, `masks:DIR`: numbers to labels; what does not fit is counted and named."""

import numpy as np
import pytest
from PIL import Image

from smt_nas.errors import TrainingError, UnknownName
from smt_nas.train.data.scenes import pixel_folders
from smt_nas.train.data.scenes.pixel_masks import LabelRule
from smt_nas.train.data.scenes.scene_sources import load_scenes

NUMBERS = np.array([[0, 1, 2], [255, 1, 0]], np.uint8)


def write_pair(root, name, numbers=NUMBERS, split="", masks="masks", size=None, mode=None):
    for folder in ("images", masks):
        (root / folder / split).mkdir(parents=True, exist_ok=True)
    height, width = size or np.shape(numbers)
    Image.new("RGB", (width, height)).save(root / "images" / split / f"{name}.jpg")
    mask = Image.fromarray(np.asarray(numbers).astype(np.uint16 if mode == "I;16" else np.uint8))
    if mode == "P":
        mask = Image.fromarray(np.asarray(numbers), "L")
        mask.putpalette([7, 8, 9] * 256)
    elif mode in ("1", "RGB"):
        mask = mask.convert(mode)
    mask.save(root / masks / split / f"{name}.png")


def test_numbers_become_labels():
    numbers = np.array([[0, 1, 3, 4, 255]])
    labels, outside = LabelRule(0, 4).apply(numbers)
    assert (labels.tolist(), outside) == ([[0, 1, 3, 255, 255]], 1)
    labels, outside = LabelRule(1, 3).apply(numbers)  # as ADE20K: 0 is none, 1 the first
    assert (labels.tolist(), outside) == ([[255, 0, 2, 255, 255]], 1)
    labels, outside = LabelRule().apply(np.array([[-1, 254, 256, 70000]]))
    assert (labels.tolist(), outside) == ([[255, 254, 255, 255]], 3)


def test_ade20k_leaves_number_0_out(tmp_path):
    for split in ("training", "validation"):
        write_pair(tmp_path, "ADE_1", NUMBERS, split, "annotations")
    source = load_scenes("segment", f"ade20k:{tmp_path}")
    assert set(source.splits) == {"train", "validation"}
    assert len(source.classes) == 150
    assert source.splits["train"].labels(0).tolist() == [[255, 0, 1], [255, 0, 255]]
    assert source.splits["train"].image(0).size == (3, 2)
    assert not source.remarks


@pytest.mark.parametrize("masks", ["masks", "annotations", "labels"])
def test_a_folder_counts_the_classes_that_masks_show(tmp_path, masks):
    write_pair(tmp_path, "a", masks=masks)
    write_pair(tmp_path, "b", NUMBERS * 0 + 4, masks=masks)
    source = load_scenes("segment", f"masks:{tmp_path}")
    assert source.classes == tuple(f"class {i}" for i in range(5))
    assert source.splits["train"].labels(0).tolist() == NUMBERS.tolist()


@pytest.mark.parametrize("mode", ["L", "P", "I;16", "1"])
def test_masks_of_one_channel_are_read_by_number(tmp_path, mode):
    numbers = np.array([[0, 255], [255, 0]], np.uint8) if mode == "1" else NUMBERS
    write_pair(tmp_path, "a", numbers, mode=mode)
    (tmp_path / "classes.txt").write_text("sky\nsea\n\nland\n")
    source = load_scenes("segment", f"masks:{tmp_path}")
    assert source.classes == ("sky", "sea", "land")
    wanted = [[0, 1], [1, 0]] if mode == "1" else NUMBERS.tolist()
    assert source.splits["train"].labels(0).tolist() == wanted


def test_what_does_not_fit_is_counted_named_and_left_out(tmp_path):
    write_pair(tmp_path, "good")
    write_pair(tmp_path, "high", NUMBERS + 7 * (NUMBERS == 2))
    write_pair(tmp_path, "large", size=(4, 4))
    write_pair(tmp_path, "colour", mode="RGB")
    write_pair(tmp_path, "torn")
    (tmp_path / "masks/torn.png").write_bytes(b"no picture")
    write_pair(tmp_path, "alone")
    (tmp_path / "masks/alone.png").rename(tmp_path / "masks/other.png")
    (tmp_path / "images/.hidden.jpg").write_bytes(b"")
    (tmp_path / "classes.txt").write_text("sky\nsea\nland\n")
    source = load_scenes("segment", f"masks:{tmp_path}")
    scenes = source.splits["train"]
    assert [scenes.name(i).rpartition("/")[2] for i in range(len(scenes))] == [
        "good.jpg",
        "high.jpg",
    ]
    assert scenes.labels(1).tolist() == [[0, 1, 255], [255, 1, 0]]
    start = f"masks:{tmp_path} train: "
    told = [line.removeprefix(start) for line in source.remarks]
    assert told[0] == "1 image without a mask, left out: alone.jpg."
    assert told[1] == "1 mask without an image, left out: other.png."
    assert told[2].startswith("2 masks that cannot be read as an image of one channel")
    assert "colour.png (ValueError: a mask must have one channel (got RGB))" in told[2]
    assert (
        told[3] == "1 mask with labels out of range, whose pixels are ignored: high.png (1 pixels)."
    )
    assert told[4] == "1 mask of another size than their image, left out: large.png."
    assert len(told) == 5


def test_masks_of_large_data_are_checked_as_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(pixel_folders, "_SURVEYED", 0)
    write_pair(tmp_path, "large", size=(4, 4))
    (tmp_path / "classes.txt").write_text("sky\nsea\nland\n")
    scenes = load_scenes("segment", f"masks:{tmp_path}").splits["train"]
    with pytest.raises(ValueError, match=r"^its mask is 2x3, the image 4x4$"):
        scenes.labels(0)


@pytest.mark.parametrize(
    ("task", "spec", "message"),
    [
        ("segment", "coco:x", r"must be data to segment by: ade20k:DIR, masks:DIR .*--task detect"),
        ("detect", "masks:x", r"--task segment"),
        ("segment", "masks:", r"must say where its files are"),
        ("segment", "masks:/nowhere", r"must hold the folders images and masks \(got no /nowhere"),
    ],
)
def test_what_is_no_such_data_is_refused(task, spec, message):
    with pytest.raises(TrainingError, match=message):
        load_scenes(task, spec)


def test_an_unknown_kind_of_data_is_named(tmp_path):
    with pytest.raises(UnknownName, match=r"No data to segment by named 'ade2k'.*'ade20k'"):
        load_scenes("segment", "ade2k:x")


def test_a_split_without_pairs_and_too_many_names_are_refused(tmp_path):
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    with pytest.raises(TrainingError, match=r"train must hold images with masks \(got none in "):
        load_scenes("segment", f"masks:{tmp_path}")
    (tmp_path / "classes.txt").write_text("x\n" * 300)
    with pytest.raises(TrainingError, match=r"must name 1 to 255 classes, one a line \(got 300\)"):
        load_scenes("segment", f"masks:{tmp_path}")
