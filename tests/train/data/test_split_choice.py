"""Which images weights are judged by: never those they were chosen or trained by, if it can be."""

import numpy as np
import pytest

from smt_nas.errors import TrainingError
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import make_splits
from smt_nas.train.data.split_choice import choose_split
from tests.fakes.images import array
from tests.fakes.weights import card

TRAIN, VALIDATION, TEST = array(40, title="train"), array(8, title="val"), array(12, title="test")
CLASSES = ("a", "b", "c", "d")


def source(train=TRAIN, validation=None, test=None, spec="digits"):
    return Source(spec, CLASSES, train, validation, test, mirrors=True)


def names(part):
    return [part.name(i) for i in range(len(part))]


@pytest.mark.parametrize(
    ("given", "of", "expected", "n"),
    [
        ({"validation": VALIDATION, "test": TEST}, "digits", "test", 12),
        ({"validation": VALIDATION}, "digits", "validation", 8),
        ({}, "digits", "validation", 4),  # the tenth that this very training held out
        ({}, "elsewhere", "all", 40),
        ({"train": None, "test": TEST}, "digits", "test", 12),
    ],
)
def test_auto(given, of, expected, n):
    found = choose_split(source(**given), "auto", card(data=of))
    assert (found.split, len(found)) == (expected, n)
    assert not found.seen


def test_auto_of_weights_without_a_card_or_a_held_out_part():
    for weights in (None, card(data="digits", split=None)):
        assert choose_split(source(), "auto", weights).split == "all"


def test_the_carved_split_is_the_trainings():
    found = choose_split(source(), "validation", card(split={"fraction": 0.25, "seed": 3}))
    own = make_splits(source(), 0.25, 3)
    assert found.carved and names(found.parts[0]) == names(own.validation)
    kept = choose_split(source(), "train", card(split={"fraction": 0.25, "seed": 3}))
    assert names(kept.parts[0]) == names(own.train)
    assert kept.seen and kept.carved
    assert not set(names(kept.parts[0])) & set(names(found.parts[0]))


def test_of_other_data_nothing_is_held_out_unless_asked():
    other = card(data="elsewhere")
    whole = choose_split(source(), "train", other)
    assert len(whole) == 40 and not whole.seen
    assert len(choose_split(source(), "validation", other)) == 4


def test_all_is_everything_once():
    found = choose_split(source(validation=VALIDATION, test=TEST), "all", card(data="digits"))
    assert found.parts == (TRAIN, VALIDATION, TEST) and len(found) == 60 and found.seen


def test_the_same_folder_by_another_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here = source(spec=f"{tmp_path}/images/")
    assert choose_split(here, "auto", card(data="images")).carved
    assert not choose_split(here, "auto", card(data="cifar10:images")).carved


@pytest.mark.parametrize(
    ("wanted", "given", "told"),
    [
        ("test", {"validation": VALIDATION}, r"has no test split \(got train, validation\)"),
        ("validation", {}, r"has no validation split \(got train\)"),
        ("train", {"train": None, "test": TEST}, r"has no train split \(got test\)"),
    ],
)
def test_a_split_that_is_not_there(wanted, given, told):
    with pytest.raises(TrainingError, match=told):
        choose_split(source(**given), wanted, None)


def test_labels_stay_with_their_images():
    (held,) = choose_split(source(), "validation", card()).parts
    for i in range(len(held)):
        number = int(held.name(i).rpartition(" ")[2])
        assert held.labels[i] == TRAIN.labels[number]
        assert np.array_equal(np.asarray(held.image(i)), TRAIN.images[number])
