"""Folders of images: what is found, and what is wrong in one line."""

import os
import pickle

import pytest

from smt_nas.errors import TrainingError
from smt_nas.train.data.sources import load_source, make_splits
from tests.fakes.images import folder, jpeg


def refusal(spec):
    with pytest.raises(TrainingError) as raised:
        load_source(str(spec))
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_a_flat_folder_is_all_for_training(tmp_path):
    folder(tmp_path, {"cat": 3, "ant": 2})
    source = load_source(str(tmp_path))
    assert source.classes == ("ant", "cat")
    assert source.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert source.train.name(2) == str(tmp_path / "cat" / "0.jpg")
    assert source.train.image(0).size == (12, 10)
    assert (source.validation, source.test) == (None, None)
    assert source.mirrors and source.mean == (0.485, 0.456, 0.406)


def test_splits_have_the_classes_of_training(tmp_path):
    for name, counts in {"train": (3, 2), "val": (0, 1), "test": (2, 0)}.items():
        folder(tmp_path / name, dict(zip(("b", "a"), counts, strict=True)))
    (tmp_path / "README").write_text("photographs")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "train" / ".thumbnails").mkdir()
    source = load_source(f"{tmp_path}/")
    assert source.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert source.validation.labels.tolist() == [0]
    assert source.test.labels.tolist() == [1, 1]
    assert make_splits(source, 0.1, 0).validation is source.validation


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_usual_names_of_the_validation_split(tmp_path, name):
    folder(tmp_path / "train", {"a": 1, "b": 1})
    folder(tmp_path / name, {"a": 1, "b": 1})
    assert len(load_source(str(tmp_path)).validation) == 2


def test_a_test_split_alone_can_be_evaluated_but_not_trained_on(tmp_path):
    folder(tmp_path / "test", {"a": 2, "b": 1})
    source = load_source(str(tmp_path))
    assert len(source.test) == 3 and source.train is None
    with pytest.raises(TrainingError, match="no training split"):
        make_splits(source, 0.1, 0)


def test_a_class_may_be_called_test(tmp_path):
    folder(tmp_path, {"practice": 1, "test": 1})
    assert load_source(str(tmp_path)).classes == ("practice", "test")


def test_examples_go_to_workers_with_odd_names_whole(tmp_path):
    folder(tmp_path, {"a": 0, "b": 1, "é": 1})
    odd = os.fsencode(tmp_path / "a") + b"/\xff x.jpg"
    try:
        with open(odd, "wb") as file:
            file.write(jpeg(9))
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    examples = pickle.loads(pickle.dumps(load_source(str(tmp_path)).train))
    assert [examples.image(i).size for i in range(3)] == [(12, 10)] * 3
    assert os.fsencode(examples.name(0)) == odd


def test_missing_empty_and_a_file(tmp_path):
    assert refusal(tmp_path / "nowhere").endswith("(got no such folder).")
    assert "got an empty folder" in refusal(tmp_path)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert "must be a folder (got a file)" in refusal(tmp_path / "a.jpg")
    (tmp_path / "a.tar").write_bytes(b"")
    assert f"Use tar:{tmp_path}/a.tar" in refusal(tmp_path / "a.tar")
    (tmp_path / "a.zip").write_bytes(b"")
    assert refusal(tmp_path / "a.zip").endswith("(got a file). Unpack it.")


def test_images_without_class_folders(tmp_path):
    for i in range(3):
        (tmp_path / f"{i}.jpg").write_bytes(jpeg(i))
    assert "(got 3 files and no folder)" in refusal(tmp_path)
    folder(tmp_path, {"alone": 1})
    assert "(got only alone). Sort" in refusal(tmp_path)
    folder(tmp_path / "alone", {"a": 1, "b": 1})
    assert refusal(tmp_path).endswith(f"If its folders are the classes, name {tmp_path}/alone.")


def test_a_class_without_images_is_named(tmp_path):
    folder(tmp_path / "train", {"a": 1, "b": 0, "c": 0})
    assert "got none in b, c" in refusal(tmp_path)


def test_a_split_without_any_image(tmp_path):
    folder(tmp_path / "train", {"a": 1, "b": 1})
    folder(tmp_path / "val", {"a": 0, "b": 0})
    assert refusal(tmp_path).startswith(f"{tmp_path}/val: every class folder")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"a": 1, "c": 1}, "got no b, also c"),
        ({"a": 1, "b": 1, "c": 1}, "got also c"),
    ],
)
def test_other_class_folders_are_named(tmp_path, counts, told):
    folder(tmp_path / "train", {"a": 1, "b": 1})
    folder(tmp_path / "test", counts)
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}/test: must hold the class folders of {tmp_path}/train")
    assert told in message


def test_two_validation_splits(tmp_path):
    for name in ("train", "val", "valid"):
        folder(tmp_path / name, {"a": 1, "b": 1})
    assert "(got val and valid)" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("train-images-idx3-ubyte.gz", "fashion-mnist"),
        ("MNIST/raw", "mnist"),
        ("data_batch_1", "cifar10"),
    ],
)
def test_files_of_a_named_set_want_its_name(tmp_path, name, spec):
    (tmp_path / name).mkdir(parents=True)
    assert f"Name it, e.g. {spec}:{tmp_path}" in refusal(tmp_path)


def test_a_class_may_have_the_name_of_a_set(tmp_path):
    folder(tmp_path, {"KMNIST": 1, "MNIST": 1})
    assert load_source(str(tmp_path)).classes == ("KMNIST", "MNIST")


def test_a_test_split_without_some_classes_or_without_any(tmp_path):
    folder(tmp_path / "a", {"train/cat": 1, "train/dog": 1, "test/cat": 1})
    assert "a/train (got no dog). Rename or add folders" in refusal(tmp_path / "a")
    folder(tmp_path / "b", {"train/cat": 1, "train/dog": 1, "test": 2})
    assert "Sort the images into class folders, or move the folder away." in refusal(tmp_path / "b")


def test_a_lone_split_inside_what_would_be_a_class(tmp_path):
    folder(tmp_path, {f"{d}/train/{c}": 1 for d in ("photo", "sketch") for c in ("cat", "dog")})
    assert "a train split must stand above classes (got photo/train with" in refusal(tmp_path)


@pytest.mark.parametrize(
    ("name", "way_out"), [("set.tar", "Use tar:"), ("set.zip", "Unpack its .zip files.")]
)
def test_a_folder_of_archives_says_what_to_do_with_them(tmp_path, name, way_out):
    (tmp_path / name).write_bytes(b"x")
    assert way_out in refusal(tmp_path)
