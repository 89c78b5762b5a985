"""Files by folder: which are images, and where links lead."""

import pytest
from PIL import Image, features

from smt_nas.errors import TrainingError
from smt_nas.train.data.file_tree import build_tree, image_extensions, is_hidden, scan_folder
from smt_nas.train.data.sources import load_source
from tests.fakes.images import folder, jpeg


def refusal(spec):
    with pytest.raises(TrainingError) as raised:
        load_source(str(spec))
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    "name", ["._a.jpg", ".DS_Store", ".ipynb_checkpoints", "__MACOSX", "thumbs.DB", "@eaDir"]
)
def test_hidden_names(name):
    assert is_hidden(name)


def test_what_pillow_reads_is_an_image():
    read = {".jpg", ".jpeg", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".tga"}
    assert read <= image_extensions()
    assert (".avif" in image_extensions()) == features.check("avif")
    assert (".webp" in image_extensions()) == features.check("webp")
    assert not image_extensions() & {".pdf", ".eps", ".mpg", ".h5", ".txt", ""}


def test_a_format_that_this_pillow_lacks_is_counted(tmp_path, monkeypatch):
    folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "x.avif").write_bytes(b"")
    monkeypatch.setattr(features, "check", lambda part: False)
    image_extensions.cache_clear()
    try:
        assert load_source(str(tmp_path)).remarks[0].endswith(": 1 .avif.")
    finally:
        image_extensions.cache_clear()


def test_paths_of_an_archive_make_the_tree_of_their_folder():
    tree = build_tree(["./b/1.jpg", "b//0.png", "a/c/x.txt", "b/.x/1.jpg", "b/.x/2.jpg"])
    assert tree.folders["b"].images == ("0.png", "1.jpg")
    assert tree.folders["b"].left_out == {"hidden": 1}
    assert tree.folders["a"].folders["c"].left_out == {".txt": 1}
    assert [path for path, _ in tree.walk()] == ["", "a", "a/c", "b"]


def test_a_link_back_is_not_followed_and_told(tmp_path):
    folder(tmp_path / "train", {"a": 2, "b": 1})
    (tmp_path / "train" / "a" / "up").symlink_to(tmp_path / "train")
    (tmp_path / "train" / "all").symlink_to("..")
    (tmp_path / "train" / "b" / "self").symlink_to(".")
    source = load_source(str(tmp_path))
    assert source.classes == ("a", "b")
    assert source.train.labels.tolist() == [0, 0, 1]
    (said,) = source.remarks
    assert "lead back to where they lie: train/all, train/a/up, train/b/self" in said


def test_links_elsewhere_are_followed(tmp_path):
    folder(tmp_path / "store", {"x": 2, "y": 1})
    folder(tmp_path / "set" / "train", {"b": 1})
    (tmp_path / "set" / "train" / "a").symlink_to(tmp_path / "store" / "x")
    (tmp_path / "set" / "train" / "b" / "1.jpg").symlink_to(tmp_path / "store" / "y" / "0.jpg")
    source = load_source(str(tmp_path / "set"))
    assert source.train.labels.tolist() == [0, 0, 1, 1] and not source.remarks


def test_images_reached_twice_are_counted_once(tmp_path):
    folder(tmp_path, {"a": 2, "b": 1})
    folder(tmp_path / "a", {"old": 1})
    (tmp_path / "a" / "older").symlink_to("old")
    (tmp_path / "b" / "again.jpg").symlink_to("0.jpg")
    source = load_source(str(tmp_path))
    assert source.train.labels.tolist() == [0, 0, 0, 1]
    (said,) = source.remarks
    assert "counted once, as links lead to them again: a/older, b/again.jpg" in said


def test_many_links_do_not_multiply_the_work(tmp_path):
    for i in range(40):
        (tmp_path / "a" / f"l{i}").mkdir(parents=True)
        for name in ("x", "y"):
            (tmp_path / "a" / f"l{i}" / name).symlink_to(f"../l{i + 1}")
    (tmp_path / "a" / "l40").mkdir()
    (tmp_path / "a" / "l40" / "0.jpg").write_bytes(jpeg())
    folder(tmp_path, {"b": 1})
    assert load_source(str(tmp_path)).train.labels.tolist() == [0, 1]


@pytest.mark.parametrize("target", ["folder", "image"])
def test_an_image_of_two_classes_is_refused(tmp_path, target):
    folder(tmp_path, {"a": 1, "b": 1})
    if target == "folder":
        (tmp_path / "c").symlink_to("a")
    else:
        (tmp_path / "b" / "x.jpg").symlink_to("../a/0.jpg")
    assert "an image must be of one class (got a link that makes" in refusal(tmp_path)


def test_splits_that_are_one_folder_are_told(tmp_path):
    folder(tmp_path / "train", {"a": 1, "b": 1})
    (tmp_path / "val").symlink_to("train")
    source = load_source(str(tmp_path))
    assert len(source.train) == len(source.validation) == 2
    assert "train and val are one folder, by a link" in source.remarks[0]


def test_a_link_to_nowhere_is_an_image_that_cannot_be_read(tmp_path):
    folder(tmp_path, {"a": 1, "b": 1})
    (tmp_path / "a" / "gone.jpg").symlink_to("/nowhere/x.jpg")
    source = load_source(str(tmp_path))
    assert len(source.train) == 3
    with pytest.raises(OSError, match="No such file"):
        source.train.image(1)


def test_a_large_picture_is_read_and_a_bomb_is_not(tmp_path, monkeypatch, recwarn):
    folder(tmp_path, {"a": 1, "b": 1}, size=(12, 10))
    source = load_source(str(tmp_path))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert source.train.image(0).size == (12, 10)
    assert not recwarn.list
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(ValueError, match="DecompressionBombError"):
        source.train.image(0)


def test_an_empty_folder_has_an_empty_tree(tmp_path):
    assert scan_folder(tmp_path).count == 0
