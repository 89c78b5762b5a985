"""What is held in memory, what is not and why, and that it is decoded once."""

from dataclasses import replace

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from smt_nas.train.data.examples import ArrayExamples, Source
from smt_nas.train.data.memory import decoded_images, holding
from smt_nas.train.data.memory.decoded_images import CannotHold
from smt_nas.train.data.memory.holding import HoldingOptions, find_obstacle, hold_images
from smt_nas.train.data.sources import Splits, load_source, make_splits
from smt_nas.train.recipe import Augment, EvalTransform, Recipe
from tests.fakes.images import array, folder, jpeg, pixels

SOURCE = Source("x", tuple("abcd"), None, None, None, mirrors=True)
OPTIONS = HoldingOptions(torch.device("cpu"), 32, 3)
DIRECT = EvalTransform(resize="direct")


class Counted:
    """A split that counts how often an image is read."""

    def __init__(self, examples):
        self.examples, self.labels, self.reads = examples, examples.labels, 0

    def __len__(self):
        return len(self.examples)

    def image(self, i):
        self.reads += 1
        return self.examples.image(i)

    def name(self, i):
        return self.examples.name(i)

    def version(self):
        return self.examples.version()


def recipe(**augment):
    values = {"crop_scale": None} | augment
    return Recipe(epochs=1, augment=Augment(**values), evaluation=DIRECT)


def hold(train, how, validation=None, options=OPTIONS):
    return hold_images(Splits(train, validation or array(6)), SOURCE, how, 0, options)


def reason(train, how, options=OPTIONS):
    """Why not, by both ways of asking."""
    with pytest.raises(CannotHold) as raised:
        hold(train, how, options=options)
    assert find_obstacle(Splits(train, array(6)), how, options) == str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("augment", "told"),
    [
        (
            {"auto_augment": "rand-m9"},
            "augment.auto_augment (rand-m9) is not done on whole batches",
        ),
        ({"color_jitter": 0.4}, "augment.color_jitter (0.4) is not done on whole batches"),
    ],
)
def test_what_is_not_done_in_memory(augment, told):
    assert reason(array(8), recipe(**augment)) == told


def test_images_of_several_sizes_of_which_parts_are_resized(tmp_path):
    folder(tmp_path / "a", {"x": 3, "y": 3})
    (tmp_path / "a" / "y" / "wide.jpg").write_bytes(jpeg(9, (20, 10)))
    train = load_source(str(tmp_path / "a")).train
    told = reason(train, recipe(crop_scale=(0.3, 1.0)))
    assert told == "the images are of several sizes, 12 x 10 and 20 x 10 among them"
    assert hold(train, recipe()).train.height == 32  # all are resized before
    assert find_obstacle(Splits(train, array(6)), recipe(), OPTIONS) is None


def test_an_odd_size_that_no_probe_meets():
    class Odd:
        labels = np.zeros(100, np.int64)

        def __len__(self):
            return 100

        def image(self, i):
            return Image.fromarray(pixels(i, 9 if i == 50 else 8, 8))

        def name(self, i):
            return str(i)

    with pytest.raises(CannotHold, match="8 x 8 and 8 x 9 among them"):
        hold(Odd(), recipe(crop_scale=(0.3, 1.0)))


def test_images_that_do_not_fit_memory(monkeypatch):
    monkeypatch.setattr(decoded_images, "_MOST_BYTES", 8 * 32 * 32 * 3 - 1)
    told = reason(array(8), recipe())
    assert told.startswith("8 images of 32 x 32 pixels take 0.0 GB, and at most 0.0 GB of memory")
    hold(array(7), recipe())


def test_images_take_a_share_of_the_memory_that_is_free(monkeypatch):
    free = type(psutil.virtual_memory())
    values = dict.fromkeys(free._fields, 0)
    for available, fits in ((4 * 8 * 3072 + 4, True), (4 * 8 * 3072 - 4, False)):
        memory = free(**values | {"available": available})
        monkeypatch.setattr(decoded_images.psutil, "virtual_memory", lambda memory=memory: memory)
        obstacle = find_obstacle(Splits(array(8), array(6)), recipe(), OPTIONS)
        assert (obstacle is None) == fits
    two = replace(OPTIONS, processes=2)
    assert find_obstacle(Splits(array(3), array(3)), recipe(), two) is None
    assert find_obstacle(Splits(array(4), array(3)), recipe(), two) is not None


def test_a_process_decodes_images_once_for_all_its_trainings():
    train = Counted(array(40, 8, title="once"))
    first = hold(train, recipe())
    reads = train.reads
    assert reads >= 40
    again = hold(train, recipe(flip=0.0, padding=4))  # what is drawn does not matter
    assert again.train is first.train and train.reads == reads
    assert hold(train, recipe(interpolation="nearest")).train is not first.train
    other = hold(train, recipe(), options=replace(OPTIONS, size=64))
    assert other.train.height == 64


def test_other_images_under_the_same_name_are_decoded_anew():
    one, other = (ArrayExamples(pixels(i, 8, 8, 8), np.arange(8) % 4, "x") for i in (1, 2))
    assert not torch.equal(hold(one, recipe()).train.rows, hold(other, recipe()).train.rows)


def test_a_file_that_changed_is_decoded_anew(tmp_path):
    root = folder(tmp_path / "a", {"x": 4, "y": 4}, (32, 32))
    splits = make_splits(load_source(str(root)), 0.25, 0)
    before = hold_images(splits, SOURCE, recipe(), 0, OPTIONS)
    assert hold_images(splits, SOURCE, recipe(), 0, OPTIONS).train is before.train
    for path in (root / "x").iterdir():
        path.write_bytes(jpeg(77, (32, 30)))
    after = hold_images(splits, SOURCE, recipe(), 0, OPTIONS)
    assert not torch.equal(before.train.rows, after.train.rows)


def test_images_whose_version_is_not_known_are_not_kept():
    class Nameless(Counted):
        version = None

    train = Nameless(array(8, title="nameless"))
    hold(train, recipe())
    reads = train.reads
    hold(train, recipe())
    assert train.reads == 2 * reads


def test_threads_decode_the_same():
    train = ArrayExamples(pixels(5, 20, 100, 100, 3), np.arange(20) % 4, "large")
    how = recipe(crop_scale=(0.2, 1.0))
    one = hold(train, how)
    many = holding.hold_images(
        Splits(ArrayExamples(train.images, train.labels, "again"), array(6)),
        SOURCE,
        how,
        0,
        replace(OPTIONS, threads=4),
    )
    assert torch.equal(one.train.rows, many.train.rows)


def test_a_hidden_block_of_inference_does_not_mark_the_images():
    with torch.inference_mode():
        held = hold(array(8, title="inference"), recipe())
    assert not held.train.rows.is_inference()


def test_more_images_than_ever_fit_are_not_asked_for_their_versions_nor_decoded(monkeypatch):
    """Of millions of files on a slow disk that takes minutes."""
    monkeypatch.setattr(decoded_images, "_MOST_BYTES", 25 * 32 * 32 * 3)
    monkeypatch.setattr(decoded_images, "_MANY", 20)
    train, validation = Counted(array(30)), Counted(array(4))
    monkeypatch.setattr(Counted, "version", lambda self: pytest.fail("was asked"))
    with pytest.raises(CannotHold, match="30 images of 32 x 32 pixels take"):
        hold(train, recipe(), validation)
    assert (train.reads, validation.reads) == (1, 0)
