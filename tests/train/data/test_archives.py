"""Images in tar files, by timm's reader."""

import gzip
import os
import pickle
import tarfile

import pytest

from smt_nas.errors import TrainingError
from smt_nas.train.data.sources import load_source
from tests.fakes.images import folder, jpeg


def pack(archive, root):
    """A tar file of what is in a folder."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w") as file:
        for path in sorted(root.rglob("*.*"), reverse=True):
            file.add(path, path.relative_to(root))
    return archive


def refusal(spec):
    with pytest.raises(TrainingError) as raised:
        load_source(spec)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_an_archive_that_was_packed_anew_has_another_version(tmp_path):
    root = folder(tmp_path / "images", {"b": 2, "a": 1})
    archive = pack(tmp_path / "set.tar", root)
    before, same = (load_source(f"tar:{archive}").train.version() for _ in range(2))
    os.utime(archive, ns=(0, 10**18))
    train = load_source(f"tar:{archive}").train
    assert before == same != train.version()
    archive.unlink()
    assert train.version() is None


def test_one_archive_with_class_folders(tmp_path):
    root = folder(tmp_path / "images", {"b": 2, "a": 1})
    source = load_source(f"tar:{pack(tmp_path / 'set.tar', root)}")
    assert source.classes == ("a", "b")
    assert source.train.labels.tolist() == [0, 1, 1]
    assert source.train.name(2) == f"{tmp_path}/set.tar:b/1.jpg"
    copy = pickle.loads(pickle.dumps(source.train))
    assert [copy.image(i).size for i in range(3)] == [(12, 10)] * 3
    assert copy.image(2).tobytes() == source.train.image(2).tobytes()
    assert not list(tmp_path.glob("*.pickle"))  # timm's cache is not written


def test_an_archive_a_class_and_archives_in_an_archive(tmp_path):
    for name in ("b", "a"):
        root = folder(tmp_path / name, {name: 2})
        pack(tmp_path / "flat" / f"{name}.tar", root / name)
    source = load_source(f"tar:{tmp_path}/flat")
    assert source.classes == ("a", "b") and source.train.labels.tolist() == [0, 0, 1, 1]
    nested = pack(tmp_path / "all.tar", tmp_path / "flat")
    inner = load_source(f"tar:{nested}").train
    assert inner.labels.tolist() == [0, 0, 1, 1]
    assert [inner.image(i).tobytes() for i in range(4)] == [
        source.train.image(i).tobytes() for i in range(4)
    ]


def test_splits_are_archives_or_folders_of_them(tmp_path):
    root = folder(tmp_path / "images", {"a": 2, "b": 1})
    small = folder(tmp_path / "few", {"b": 1})
    pack(tmp_path / "set" / "train" / "part0.tar", root)
    pack(tmp_path / "set" / "val.tar", small)
    source = load_source(f"tar:{tmp_path}/set")
    assert source.train.labels.tolist() == [0, 0, 1]
    assert source.validation.labels.tolist() == [1] and source.test is None


def test_bad_archives(tmp_path):
    assert "got no such folder" in refusal(f"tar:{tmp_path}/none.tar")
    root = folder(tmp_path / "images", {"a": 1})
    good = pack(tmp_path / "one.tar", root)
    assert "two or more classes (got 1)" in refusal(f"tar:{good}")
    assert "must hold .tar files (got none)" in refusal(f"tar:{root}")
    squeezed = tmp_path / "squeezed.tar"
    squeezed.write_bytes(gzip.compress(good.read_bytes()))
    assert "squeezed.tar: must be .tar files with images" in refusal(f"tar:{squeezed}")
    named = tmp_path / "set.tar.gz"
    named.write_bytes(b"")
    assert "must end in .tar (got '.gz')" in refusal(f"tar:{named}")
    (root / "a" / "0.jpg").unlink()
    (root / "a" / "notes.txt").write_text("none")
    assert "with images" in refusal(f"tar:{pack(tmp_path / 'text.tar', root)}")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "0.jpg").write_bytes(jpeg())
    assert "class folders (got 0.jpg)" in refusal(f"tar:{pack(tmp_path / 'bare.tar', bare)}")


def test_a_class_that_training_does_not_know(tmp_path):
    pack(tmp_path / "set" / "train.tar", folder(tmp_path / "x", {"a": 1, "b": 1}))
    pack(tmp_path / "set" / "test.tar", folder(tmp_path / "y", {"a": 1, "c": 1}))
    assert "test must hold the classes of train (got also c)" in refusal(f"tar:{tmp_path}/set")


def test_splits_inside_one_archive(tmp_path):
    root = tmp_path / "pets"
    for split, count in (("Training", 2), ("Testing", 1)):
        folder(root / "pets" / split, {"a": count, "b": count})
    source = load_source(f"tar:{pack(tmp_path / 'pets.tar', root)}")
    assert source.classes == ("a", "b")
    assert (len(source.train), len(source.test), source.validation) == (4, 2, None)


def test_shards_of_splits_are_told_where_to_go(tmp_path):
    root = folder(tmp_path / "images", {"a": 1, "b": 1})
    for name in ("train-000", "train-001", "test-000"):
        pack(tmp_path / "set" / f"{name}.tar", root)
    assert "one train split (got train-000 and train-001)" in refusal(f"tar:{tmp_path}/set")


def test_links_in_an_archive_are_counted(tmp_path):
    root = folder(tmp_path / "images", {"a": 1, "b": 1})
    (root / "a" / "x.jpg").symlink_to("0.jpg")
    source = load_source(f"tar:{pack(tmp_path / 'set.tar', root)}")
    assert len(source.train) == 2 and source.remarks[0].endswith("links inside an archive: 1.")


@pytest.mark.parametrize("cut", [600, 1024, 2300])
def test_an_archive_that_was_cut_off_is_refused(tmp_path, cut):
    root = folder(tmp_path / "images", {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1})
    archive = pack(tmp_path / "set.tar", root)
    whole = archive.read_bytes().rstrip(b"\0")
    archive.write_bytes(whole[: -(cut % len(whole))])
    assert "must be whole (got an archive that was cut off)" in refusal(f"tar:{archive}")


def test_one_cut_at_the_end_of_a_file_and_an_inner_one(tmp_path):
    """tarfile reads what is there and says nothing: a whole split may be missing."""
    root = folder(tmp_path / "images", {"a": 2, "b": 2})
    archive = pack(tmp_path / "in" / "set.tar", root)
    with tarfile.open(archive) as tar:
        end = max(info.offset_data + 512 * -(-info.size // 512) for info in tar)
    archive.write_bytes(archive.read_bytes()[:end])
    assert "must be whole" in refusal(f"tar:{archive}")
    outer = pack(tmp_path / "outer.tar", tmp_path / "in")
    assert "must be whole" in refusal(f"tar:{outer}")


def test_labels_in_files_are_no_class_folders(tmp_path):
    root = folder(tmp_path / "images", {"": 1})
    (root / "0.cls").write_text("3")
    pack(tmp_path / "set" / "train-0000.tar", root)
    pack(tmp_path / "set" / "train-0001.tar", root)
    assert "classes must be folders (got labels in files" in refusal(f"tar:{tmp_path}/set")


def test_a_class_is_the_folder_above_one_that_says_nothing(tmp_path):
    root = folder(tmp_path / "images", {"train/n01/images": 1, "train/n02/images": 2})
    source = load_source(f"tar:{pack(tmp_path / 'set.tar', root)}")
    assert source.classes == ("n01", "n02") and source.train.labels.tolist() == [0, 1, 1]
    root = folder(tmp_path / "plain", {"cat": 1, "images": 2})
    assert load_source(f"tar:{pack(tmp_path / 'two.tar', root)}").classes == ("cat", "images")


def test_folders_alike_are_no_classes_where_an_archive_merges_them(tmp_path):
    root = folder(tmp_path / "images", {"photo/a": 1, "photo/b": 1, "sketch/a": 1, "sketch/b": 1})
    source = load_source(f"tar:{pack(tmp_path / 'set.tar', root)}")
    assert source.classes == ("a", "b")
    assert "so all is for training: photo, sketch, each with the folders a, b" in source.remarks[0]
