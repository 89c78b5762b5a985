"""`coco:DIR`: labels, boxes and masks; what is odd is counted and named, nothing is lost."""

import json

import numpy as np
import pytest
from PIL import Image

from smt_nas.errors import TrainingError
from smt_nas.train.data.scenes import coco_json
from smt_nas.train.data.scenes.coco import load_coco
from smt_nas.train.data.scenes.coco_json import read_coco

SIZE = (6, 8)  # height, width
SQUARE = [[2, 1, 5, 1, 5, 4, 2, 4]]  # columns 2 to 4, rows 1 to 3
CATEGORIES = [{"id": 90, "name": "cat"}, {"id": 7, "name": "dog"}]


def an_image(number, name, **more):
    return {"id": number, "file_name": name, "height": SIZE[0], "width": SIZE[1]} | more


def an_object(number, owner=1, **more):
    usual = {"bbox": [2, 1, 3, 3], "category_id": 7, "segmentation": SQUARE, "iscrowd": 0}
    return {"id": number, "image_id": owner} | usual | more


def run_lengths(mask):
    """Column by column, zeros first."""
    counts, value = [0], 0
    for pixel in mask.T.reshape(-1).tolist():
        if pixel != value:
            counts.append(0)
            value = pixel
        counts[-1] += 1
    return counts


def write(folder, images, objects, categories=CATEGORIES, name="annotations.json", where="images"):
    (folder / where).mkdir(parents=True, exist_ok=True)
    for each in images:
        if not str(each.get("file_name", "absent")).startswith("absent"):
            Image.new("RGB", SIZE[::-1]).save(folder / where / each["file_name"])
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    content = {"images": images, "annotations": objects, "categories": categories}
    file.write_text(json.dumps(content))
    return file


def read(folder, *arguments):
    return read_coco(write(folder, *arguments), folder / "images")


def test_labels_go_from_1_in_the_order_of_ids_with_gaps(tmp_path):
    objects = [an_object(50), an_object(8, category_id=90)]
    content = read(tmp_path, [an_image(300, "b.png"), an_image(1, "a.png")], objects)
    assert (content.classes, content.category_ids) == (("dog", "cat"), (7, 90))
    assert [image.id for image in content.images] == [300, 1]
    assert [[(o.id, o.label) for o in each] for each in content.objects] == [[], [(50, 1), (8, 2)]]
    assert content.findings.names == {coco_json.EMPTY: ["b.png"]}


def test_masks_of_every_kind_are_the_same(tmp_path):
    mask = np.zeros(SIZE, np.uint8)
    mask[1:4, 2:5] = 1
    encoder = pytest.importorskip("pycocotools.mask")
    compressed = encoder.encode(np.asfortranarray(mask))["counts"].decode()
    size = list(SIZE)
    objects = [
        an_object(1),
        an_object(2, segmentation={"size": size, "counts": run_lengths(mask)}),
        an_object(3, segmentation={"size": size, "counts": compressed}),
        an_object(4, segmentation=[[0, 0, 1], *SQUARE]),  # one part is no polygon
        an_object(5, segmentation=None),
    ]
    write(tmp_path, [an_image(1, "a.png")], objects)
    (scenes,) = load_coco("coco:x", str(tmp_path)).splits.values()
    assert scenes.objects(0).has_mask.tolist() == [True] * 4 + [False]
    masks = scenes.masks(0)
    for each in masks[:4]:
        np.testing.assert_array_equal(each, mask)
    assert not masks[4].any()
    assert scenes.image(0).size == SIZE[::-1]


ODD = {
    "a crowd": ({"iscrowd": 1}, coco_json.CROWD, True),
    "no width": ({"bbox": [2, 1, 0, 3]}, coco_json.NO_EXTENT, False),
    "negative height": ({"bbox": [2, 3, 3, -2]}, coco_json.NO_EXTENT, False),
    "outside": ({"bbox": [9, 1, 3, 3]}, coco_json.NO_EXTENT, False),
    "no numbers": ({"bbox": [2, 1, "3", 3]}, coco_json.NO_BOX, False),
    "not finite": ({"bbox": [2, 1, float("nan"), 3]}, coco_json.NO_BOX, False),
    "no box": ({"bbox": None}, coco_json.NO_BOX, False),
    "beyond the border": ({"bbox": [-2, 1, 30, 3]}, coco_json.CLIPPED, True),
    "no such image": ({"image_id": 77}, coco_json.NO_IMAGE, False),
    "an image not on disk": ({"image_id": 2}, coco_json.LEFT_IMAGE, False),
    "no such category": ({"category_id": 1}, coco_json.NO_CATEGORY, False),
    "an unhashable category": ({"category_id": [7]}, coco_json.NO_CATEGORY, False),
    "an id again": ({"id": 1}, coco_json.TWICE, False),
    "no id": ({"id": None}, coco_json.MALFORMED, False),
    "no mask": ({"segmentation": []}, coco_json.NO_MASK, True),
    "two corners": ({"segmentation": [[1, 1, 2, 2]]}, coco_json.BAD_MASK, True),
    "other size": ({"segmentation": {"size": [3, 3], "counts": [9]}}, coco_json.BAD_MASK, True),
    "too short": ({"segmentation": {"size": [6, 8], "counts": [9]}}, coco_json.BAD_MASK, True),
    "no lengths": ({"segmentation": {"size": [6, 8]}}, coco_json.BAD_MASK, True),
}


@pytest.mark.parametrize("what", ODD)
def test_an_odd_object_is_counted_and_the_others_stay(tmp_path, what):
    changes, kind, kept = ODD[what]
    images = [an_image(1, "a.png"), an_image(2, "absent.png")]
    content = read(tmp_path, images, [an_object(1), an_object(2, **changes), an_object(3)])
    assert content.findings.count(kind) == 1
    assert [o.id for o in content.objects[0]] == ([1, 2, 3] if kept else [1, 3])
    expected = {coco_json.NOT_ON_DISK: ["absent.png"]}
    assert {k: v for k, v in content.findings.names.items() if k != kind} == expected
    if what == "beyond the border":
        assert content.objects[0][1].box == (0, 1, 8, 4)
    if what == "a crowd":
        assert [o.crowd for o in content.objects[0]] == [False, True, False]


def test_every_object_is_kept_or_counted(tmp_path):
    """All odd ones in one file; a clipped, a crowd and a maskless object are kept and counted."""
    changed = [an_object(10 + i, **changes) for i, (changes, _, _) in enumerate(ODD.values())]
    images = [an_image(1, "a.png"), an_image(2, "absent.png")]
    content = read(tmp_path, images, [an_object(1), *changed])
    assert len(content.objects[0]) == 1 + sum(kept for _, _, kept in ODD.values())
    dropped = [kind for _, kind, kept in ODD.values() if not kept]
    assert sum(content.findings.count(kind) for kind in set(dropped)) == len(dropped)


def test_remarks_name_the_first_and_count_the_rest(tmp_path):
    images = [an_image(i, f"absent{i}.png") for i in range(2, 7)]
    write(tmp_path, [an_image(1, "a.png"), *images], [an_object(1)])
    (remark,) = load_coco("coco:x", str(tmp_path)).remarks
    assert remark == (
        "coco:x annotations.json: 5 images not on disk, left out with their objects: "
        "absent2.png, absent3.png, absent4.png and 2 more."
    )


def test_the_folders_of_coco(tmp_path):
    for name in ("train2017", "val2017"):
        file = f"annotations/instances_{name}.json"
        write(tmp_path, [an_image(1, "a.png")], [an_object(1)], CATEGORIES, file, name)
    (tmp_path / "annotations/instances_other.json").write_text("{}")
    source = load_coco("coco:x", str(tmp_path))
    assert set(source.splits) == {"train", "validation"}
    assert source.classes == ("dog", "cat")
    assert not source.remarks


def test_splits_must_mean_the_same_by_their_labels(tmp_path):
    for name, categories in (("train", CATEGORIES), ("val", CATEGORIES[:1])):
        file = f"annotations/instances_{name}.json"
        objects = [an_object(1, category_id=90)]
        write(tmp_path, [an_image(1, "a.png")], objects, categories, file, name)
    with pytest.raises(TrainingError, match=r"must list the same categories \(got different dog\)"):
        load_coco("coco:x", str(tmp_path))


def test_an_image_of_another_size_is_refused_when_it_is_read(tmp_path):
    write(tmp_path, [an_image(1, "a.png", width=9)], [an_object(1)])
    (scenes,) = load_coco("coco:x", str(tmp_path)).splits.values()
    with pytest.raises(ValueError, match=r"^it is 6x8 and 6x9 in annotations\.json$"):
        scenes.image(0)


def test_a_size_that_is_not_listed_is_read_from_the_image(tmp_path):
    content = read(tmp_path, [an_image(1, "a.png", width=None)], [an_object(1)])
    assert (content.images[0].height, content.images[0].width) == SIZE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", r"must be JSON \(got: "),
        ("[]", r"must hold the lists images, annotations, categories \(got none for images"),
        ('{"images": [], "annotations": {}, "categories": []}', r"got none for annotations\)"),
        ('{"images": [], "annotations": [], "categories": []}', r"must list a category"),
        (
            '{"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}',
            r"its images must be in .*images \(got none of 0\)",
        ),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path, text, message):
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(TrainingError, match=message) as raised:
        load_coco("coco:x", str(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_folder_without_annotations_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"^coco:x: must hold annotations/instances_train"):
        load_coco("coco:x", str(tmp_path))
