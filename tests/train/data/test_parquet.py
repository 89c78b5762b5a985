"""Parquet files: what is read of them, and one line on each way in which they may be wrong."""

import io
import json
import os
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from smt_nas.errors import TrainingError
from smt_nas.train.data.examples import IMAGENET_MEAN
from smt_nas.train.data.parquet import load_parquet
from smt_nas.train.data.sources import load_source, make_splits
from tests.fakes.images import jpeg, pixels

pa = pytest.importorskip("pyarrow", reason="pyarrow (extra parquet) is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow (extra parquet) is not installed")

NAMES = ("cat", "dog", "eel")


def png(seed, shape=(8, 8, 3)):
    file = io.BytesIO()
    Image.fromarray(pixels(seed, *shape)).save(file, "PNG")
    return file.getvalue()


def metadata(names=NAMES, image="image", label="label"):
    features = {image: {"_type": "Image"}, label: {"_type": "ClassLabel", "names": list(names)}}
    return {b"huggingface": json.dumps({"info": {"features": features}}).encode()}


def write(path, labels, contents=None, *, meta=None, image="image", label="label", rows=4):
    """A file as `datasets` writes it; `rows` in a row group."""
    contents = [png(i) for i in range(len(labels))] if contents is None else contents
    images = [{"bytes": b, "path": f"{i}.png"} for i, b in enumerate(contents)]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {image: pa.array(images, struct), label: pa.array(labels)}
    meta = metadata(image=image, label=label) if meta is None else meta
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns).replace_schema_metadata(meta), path, row_group_size=rows)
    return path


def refused(place):
    with pytest.raises(TrainingError) as raised:
        load_parquet(f"parquet:{place}", str(place))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_folder_of_shards_is_read_in_order(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", [0, 1, 2, 0, 1], [png(i) for i in range(5)])
    write(tmp_path / "train-00001-of-00002.parquet", [2, 2], [png(5), jpeg(6)])
    write(tmp_path / "validation-00000-of-00001.parquet", [1], [png(7)])
    write(tmp_path / "test-00000-of-00001.parquet", [2, 0], [png(8), png(9, (8, 8))])
    source = load_source(f"parquet:{tmp_path}")
    assert source.classes == NAMES and source.mirrors
    assert source.train.labels.tolist() == [0, 1, 2, 0, 1, 2, 2]
    for i in range(6):
        assert np.array_equal(np.asarray(source.train.image(i)), pixels(i, 8, 8, 3))
    assert source.train.image(6).format == "JPEG"
    assert np.array_equal(np.asarray(source.validation.image(0)), pixels(7, 8, 8, 3))
    assert source.test.image(1).mode == "L"
    assert source.train.name(6) == f"{tmp_path} train image 6"
    assert source.mean != IMAGENET_MEAN
    copy = pickle.loads(pickle.dumps(source.train))
    assert copy.image(3) == source.train.image(3) and copy.version() == source.train.version()


def test_a_file_alone_is_the_split_of_its_name_or_for_training(tmp_path):
    test = write(tmp_path / "test-00000-of-00003.parquet", [0, 1])
    assert load_source(f"parquet:{test}").train is None
    assert len(load_source(f"parquet:{test}").test) == 2
    mine = write(tmp_path / "my pets.parquet", [0, 1, 2])
    assert len(load_source(str(mine)).train) == 3  # no word of the kind is needed


def test_a_folder_without_the_word_works_and_so_does_one_as_on_the_hub(tmp_path):
    write(tmp_path / "plain" / "train.parquet", [0, 1, 2])
    assert len(load_source(str(tmp_path / "plain")).train) == 3
    write(tmp_path / "hub" / "data" / "train-00000-of-00001.parquet", [0, 1])
    assert len(load_source(f"parquet:{tmp_path / 'hub'}").train) == 2


def test_columns_are_found_by_type(tmp_path):
    """As in CIFAR-100 on the hub: another name of the images, two columns of classes."""
    features = {
        "img": {"_type": "Image"},
        "coarse": {"_type": "ClassLabel", "names": ["x", "y"]},
        "fine": {"_type": "ClassLabel", "names": list("abcd")},
    }
    meta = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    images = pa.array([{"bytes": png(0)}], pa.struct([("bytes", pa.binary())]))
    table = pa.table({"img": images, "coarse": pa.array([1]), "fine": pa.array([3])})
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "train.parquet")
    source = load_source(f"parquet:{tmp_path}")
    assert source.classes == tuple("abcd") and source.train.labels.tolist() == [3]


def test_without_names_the_classes_are_numbers(tmp_path):
    write(tmp_path / "train.parquet", [0, 2, 1], meta={})
    assert load_source(f"parquet:{tmp_path}").classes == ("0", "1", "2")
    write(tmp_path / "train.parquet", [0, 2, 1], meta={b"huggingface": b"not json"})
    assert load_source(f"parquet:{tmp_path}").classes == ("0", "1", "2")


def test_other_splits_are_said_not_to_be_used(tmp_path):
    for name in ("train", "test", "unsupervised"):
        write(tmp_path / f"{name}-00000-of-00001.parquet", [0, 1, 2])
    assert load_source(f"parquet:{tmp_path}").remarks == (
        f"{tmp_path}: splits that are not used: unsupervised.",
    )


def test_a_test_split_with_hidden_labels_is_not_used(tmp_path):
    write(tmp_path / "train.parquet", [0, 1, 2])
    write(tmp_path / "test.parquet", [-1, -1])
    source = load_source(f"parquet:{tmp_path}")
    assert source.test is None
    assert source.remarks == (
        f"{tmp_path}: the test split is not used, as its labels are hidden (-1).",
    )


def test_an_image_that_is_none_is_the_loaders_to_count(tmp_path):
    contents = [png(0), b"no image", None, png(3)[:60]]
    write(tmp_path / "train.parquet", [0, 1, 2, 0], contents)
    train = load_source(f"parquet:{tmp_path}").train
    assert train.image(0).size == (8, 8)
    for i in (1, 2, 3):
        with pytest.raises((OSError, ValueError)):
            train.image(i)


def test_images_of_many_pixels_keep_imagenets_mean(tmp_path):
    write(tmp_path / "train.parquet", [0, 1], [png(0, (120, 100, 3)), png(1)])
    assert load_source(f"parquet:{tmp_path}").mean == IMAGENET_MEAN


def test_mean_of_grey_images_is_one_number(tmp_path):
    write(tmp_path / "train.parquet", [0, 1], [png(0, (8, 8)), png(1, (8, 8))])
    mean = load_source(f"parquet:{tmp_path}").mean
    assert len(set(mean)) == 1
    both = np.concatenate([pixels(0, 8, 8), pixels(1, 8, 8)])
    assert mean[0] == pytest.approx(both.mean() / 255)


def test_validation_images_are_held_out_of_a_sample(tmp_path):
    write(tmp_path / "train.parquet", [0, 1, 2] * 8)
    splits = make_splits(load_source(f"parquet:{tmp_path}"), 0.25, 0)
    assert (len(splits.train), len(splits.validation)) == (18, 6)


def test_no_such_file_and_no_parquet_file(tmp_path):
    assert "(got no such file)" in refused(tmp_path / "none")
    (tmp_path / "a.txt").touch()
    assert "must be a .parquet file or a folder of them (got none)" in refused(tmp_path)
    assert "must be a .parquet file or a folder of them (got none)" in refused(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("image", "label", "lacking"),
    [("photo", "label", "no image.bytes;"), ("image", "kind", "no label;")],
)
def test_a_missing_column_is_named_with_those_there_are(tmp_path, image, label, lacking):
    write(tmp_path / "train.parquet", [0, 1], image=image, label=label, meta={})
    message = refused(tmp_path)
    assert lacking in message and f"its columns: {image}, {label}" in message


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["cat", "dog"], "must hold whole numbers, indices of classes (got string)"),
        ([0.0, 1.0], "must hold whole numbers, indices of classes (got double)"),
        ([0, 3], "must be from 0 to 2 (got 3, in 1 of 2 rows)"),
        ([0, -1], "-1 stands for a hidden one."),
        ([0, None], "every row must have a label (got 1 without)"),
        ([-2, 0], "must be from 0 to 2 (got -2, in 1 of 2 rows)"),
    ],
)
def test_labels_that_are_no_indices(tmp_path, labels, told):
    write(tmp_path / "train.parquet", labels)
    assert told in refused(tmp_path)


def test_hidden_labels_only(tmp_path):
    write(tmp_path / "test.parquet", [-1, -1])
    assert "must have a split with labels" in refused(tmp_path)


def test_an_empty_split(tmp_path):
    write(tmp_path / "train.parquet", pa.array([], pa.int64()), [])
    assert "must hold images (got no row)" in refused(tmp_path)


def test_shards_of_two_data_sets(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", [0, 1])
    other = tmp_path / "train-00001-of-00002.parquet"
    write(other, [0, 1], meta=metadata(("cat", "dog")))
    assert f"{other}: must have the columns and classes of train-00000" in refused(tmp_path)
    write(other, [0, 1], meta=metadata(("cat", "dog", "emu")))
    assert "by other names" in refused(tmp_path)
    write(other, [0, 1], image="img")
    assert "(got img.bytes, label, 3 classes; there image.bytes, label" in refused(tmp_path)


def test_a_shard_that_is_missing(tmp_path):
    write(tmp_path / "train-00000-of-00002.parquet", [0, 1])
    assert "must hold every file of train (got 1, by their names there are 2)" in refused(tmp_path)


@pytest.mark.parametrize("keep", [0, 3, 0.5, 0.99])
def test_a_file_that_is_cut_off(tmp_path, keep):
    file = write(tmp_path / "train.parquet", [0, 1] * 8)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole)) if keep < 1 else keep])
    assert f"{file}: must be a whole Parquet file" in refused(tmp_path)


def test_a_file_that_is_damaged_inside(tmp_path):
    file = write(tmp_path / "train.parquet", [0, 1] * 40, [png(i) for i in range(80)])
    content = bytearray(file.read_bytes())
    content[4:4000] = bytes(3996)  # the head of pages, not the footer
    file.write_bytes(content)
    assert f"{file}: must be a whole Parquet file" in refused(tmp_path)


def test_a_file_that_another_takes_the_place_of(tmp_path):
    file = write(tmp_path / "test.parquet", [0, 1])
    test = load_source(f"parquet:{tmp_path}").test
    write(file, [0, 1, 2])
    with pytest.raises(TrainingError, match="must have the rows that it began with"):
        test.image(0)


def test_files_that_were_written_anew_have_another_version(tmp_path):
    file = write(tmp_path / "train.parquet", [0, 1])
    before, same = (load_source(f"parquet:{tmp_path}").train.version() for _ in range(2))
    write(file, [0, 1], [png(7), png(8)])
    os.utime(file, ns=(0, 10**18))
    assert before == same != load_source(f"parquet:{tmp_path}").train.version()


def test_images_that_do_not_fit_memory(tmp_path, monkeypatch):
    """All shards of a split together, though each alone would."""
    from smt_nas.train.data import parquet

    for shard in range(2):
        path = write(tmp_path / f"train-0000{shard}-of-00002.parquet", [0, 1])
    size = parquet._count_bytes(pq, parquet._stamp(path), "image.bytes")
    for shards, fits in ((2.5, True), (1.5, False)):
        free = SimpleNamespace(available=shards * size / parquet._MEMORY_SHARE)
        monkeypatch.setattr(parquet.psutil, "virtual_memory", lambda free=free: free)
        parquet._read_files.cache_clear()
        if fits:
            assert len(load_source(f"parquet:{tmp_path}").train) == 4
        else:
            assert "must fit a quarter of the free memory" in refused(tmp_path)


def test_two_names_for_one_split(tmp_path):
    for name in ("training", "trainset"):
        write(tmp_path / f"{name}.parquet", [0, 1])
    assert "must hold one train split (got training and trainset)" in refused(tmp_path)
