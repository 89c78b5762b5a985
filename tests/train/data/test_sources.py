"""A data set by its spec, and what a training sees of it."""

import numpy as np
import pytest

from smt_nas.errors import TrainingError, UnknownName
from smt_nas.train.data import sources
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source, make_splits, shorten_spec
from tests.fakes.images import array, folder


@pytest.mark.parametrize(
    ("spec", "meant"),
    [("digit", "digits"), ("fashion_mnist:/data", "fashion-mnist"), ("CIFAR10:x", "cifar10")],
)
def test_an_unknown_name_has_a_nearest_one(spec, meant):
    with pytest.raises(UnknownName, match=f"Did you mean {meant!r}?") as raised:
        load_source(spec)
    assert "A folder of images works too." in str(raised.value)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("fashion-mnist", "Use fashion-mnist:PATH."),
        ("hf:", "Use hf:PATH."),
        ("digits:/data", "Use digits alone."),
        (" ", "must be named"),
        ("./digits", "got no such folder"),
        ("/no/such:folder", "got no such folder"),
    ],
)
def test_a_spec_that_is_not_one(spec, told):
    with pytest.raises(TrainingError) as raised:
        load_source(spec)
    assert told in str(raised.value)


def test_parquet_files_without_pyarrow(tmp_path, monkeypatch):
    from smt_nas.train.data import parquet

    monkeypatch.setattr(parquet.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TrainingError) as raised:
        load_source(f"parquet:{tmp_path}")
    assert str(raised.value) == (
        f"parquet:{tmp_path}: needs the package pyarrow (got none). "
        "`pip install 'smt-nas[parquet]'`."
    )


def test_a_folder_may_have_a_colon(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder(tmp_path / "my:images", {"a": 1, "b": 1})
    assert load_source("my:images").classes == ("a", "b")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("fashion-mnist:/data", "fashion-mnist"),
        ("parquet:/data/cifar10", "cifar10"),
        ("parquet:pets.parquet", "pets.parquet"),
        ("/data/pets/", "pets"),
        ("digits", "digits"),
    ],
)
def test_a_data_set_is_known_without_its_place(spec, name):
    assert shorten_spec(spec) == name


def test_a_home_folder_may_be_written_short(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    folder(tmp_path / "pets", {"a": 1, "b": 1})
    assert load_source("~/pets").spec == "~/pets"


def test_every_kind_is_in_the_head_of_the_module():
    assert all(f"{kind}:" in sources.__doc__ for kind in sources._LOADERS)


def test_a_training_never_sees_the_test_split():
    train, test = array(40), array(12, title="secret")
    parts = make_splits(Source("x", tuple("abcd"), train, None, test, mirrors=True), 0.25, 3)
    names = [p.name(i) for p in (parts.train, parts.validation) for i in range(len(p))]
    assert sorted(names) == sorted(train.name(i) for i in range(40))
    assert np.bincount(parts.validation.labels).tolist() == [3, 3, 3, 3]
