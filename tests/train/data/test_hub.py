"""Hugging Face's data sets, by a stand-in for its package: nothing is downloaded in a test."""

import importlib.machinery
import sys
import types

import pytest
from PIL import Image

from smt_nas.errors import TrainingError
from smt_nas.train.data.sources import load_source
from tests.fakes.images import pixels


class Picture:
    """A feature: a column of images."""


class ClassLabel:
    """A feature: a column of indices of names."""

    def __init__(self, names):
        self.names = names


class Rows:
    """As much of datasets.Dataset as is used."""

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    def select_columns(self, names):
        return Rows({name: self.columns[name] for name in names}, self.features)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return {name: values[key] for name, values in self.columns.items()}
        return {name: values[key] for name, values in self.columns.items()}


FEATURES = {"file": str, "img": Picture(), "label": ClassLabel(["cat", "dog"])}


def rows(labels, features=FEATURES):
    images = [Image.fromarray(pixels(i, 6, 5)) for i in range(len(labels))]
    columns = {"file": ["x"] * len(labels), "img": images, "label": labels, "coarse": labels}
    return Rows({name: columns[name] for name in features}, features)


@pytest.fixture
def hub(monkeypatch):
    """The package, which loads what a test puts into `sets`."""
    module = types.ModuleType("datasets")
    module.__spec__ = importlib.machinery.ModuleSpec("datasets", None)
    module.Image, module.ClassLabel, module.sets, module.asked = Picture, ClassLabel, {}, []

    def load(how):
        def loaded(place):
            module.asked.append((how, place))
            if place not in module.sets:
                raise FileNotFoundError(f"Dataset '{place}' doesn't exist on the Hub\nnor here")
            return module.sets[place]

        return loaded

    module.load_dataset, module.load_from_disk = load("hub"), load("disk")
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def refusal(spec):
    with pytest.raises(TrainingError) as raised:
        load_source(spec)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_columns_are_found_by_what_they_hold(hub):
    hub.sets["me/pets"] = {"train": rows([0, 1, 1]), "valid": rows([1]), "extra": rows([0])}
    source = load_source("hf:me/pets")
    assert source.classes == ("cat", "dog")
    assert source.train.labels.tolist() == [0, 1, 1]
    assert source.validation.labels.tolist() == [1] and source.test is None
    assert source.train.image(2).tobytes() == pixels(2, 6, 5).tobytes()
    assert source.train.name(2) == "hf:me/pets train image 2"
    assert list(source.train.rows.columns) == ["img"]


def test_one_split_alone_is_for_training(hub):
    hub.sets["flat"] = rows([0, 1])
    assert len(load_source("hf:flat").train) == 2


def test_a_test_split_without_labels_is_none(hub):
    hub.sets["hidden"] = {"train": rows([0, 1]), "test": rows([-1, -1])}
    assert load_source("hf:hidden").test is None


def test_of_two_columns_of_labels_the_finer_one(hub):
    features = {"coarse": ClassLabel(["x", "y"]), "img": Picture()}
    finer = features | {"label": ClassLabel(["a", "b", "c"])}
    hub.sets["two"] = {"train": rows([0, 1], finer)}
    assert load_source("hf:two").classes == ("a", "b", "c")
    hub.sets["one"] = {"train": rows([0, 1], features)}
    assert load_source("hf:one").classes == ("x", "y")


def test_a_folder_is_loaded_from_where_it_is(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    saved = tmp_path / "saved"
    saved.mkdir()
    hub.sets[str(saved)] = {"train": rows([0, 1])}
    load_source("hf:~/saved")
    (saved / "dataset_dict.json").write_text("{}")
    load_source(f"hf:{saved}")
    assert hub.asked == [("hub", str(saved)), ("disk", str(saved))]


def test_an_image_that_is_none_is_unreadable(hub):
    broken = rows([0, 1])
    broken.columns["img"][1] = None
    hub.sets["broken"] = broken
    with pytest.raises(ValueError, match="NoneType"):
        load_source("hf:broken").train.image(1)


def test_rows_are_known_by_their_fingerprint(hub):
    versions = []
    for known in ("1a", "1a", "2b"):
        hub.sets["me/pets"] = {"train": rows([0, 1])}
        train = load_source("hf:me/pets").train
        assert train.version() is None
        train.rows._fingerprint = known
        versions.append(train.version())
    assert versions[0] == versions[1] != versions[2]


def test_what_cannot_be_used(hub):
    assert "datasets cannot load it (got: FileNotFoundError" in refusal("hf:me/none")
    hub.sets["text"] = {"train": rows([0], {"file": str})}
    assert "a column of images and one of class labels (got file)" in refusal("hf:text")
    hub.sets["extra"] = {"extra": rows([0])}
    assert "must have a train, validation or test split with labels (got extra)" in refusal(
        "hf:extra"
    )
    other = FEATURES | {"label": ClassLabel(["cat", "cow"])}
    hub.sets["mixed"] = {"train": rows([0]), "test": rows([0], other)}
    assert "all splits must have the same classes" in refusal("hf:mixed")


def test_without_the_package(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'smt-nas[hf]'" in refusal("hf:me/pets")


def test_splits_are_found_however_they_are_spelt(hub):
    hub.sets["odd"] = {"Training": rows([0, 1]), "eval": rows([1]), "hold_out": rows([0])}
    source = load_source("hf:odd")
    assert [len(part) for part in (source.train, source.validation, source.test)] == [2, 1, 1]
    hub.sets["more"] = {"train": rows([0]), "train_extra": rows([1]), "unlabelled": rows([0])}
    source = load_source("hf:more")
    assert len(source.train) == 1
    assert source.remarks == ("hf:more: splits that are not used: train_extra, unlabelled.",)
    hub.sets["two"] = {"test_a": rows([0]), "test_b": rows([0]), "train": rows([0])}
    assert "one test split (got test_a and test_b)" in refusal("hf:two")
