"""Classes in the order of a head's rows."""

import numpy as np
import pytest

from smt_nas.errors import TrainingError
from smt_nas.train.data.class_order import match_classes, order_classes, read_class_names
from smt_nas.train.data.examples import Source
from smt_nas.train.data.sources import load_source, make_splits
from tests.fakes.images import array, folder

NUMBERS = [str(i) for i in range(12)]


def source(classes):
    return Source("pets", tuple(classes), array(24, classes=len(classes)), None, None, True)


def test_whole_numbers_stand_by_number_and_all_else_as_text():
    assert order_classes(sorted(NUMBERS)) == tuple(NUMBERS)
    assert order_classes(["10", "9", "009"]) == ("009", "9", "10")
    assert order_classes(["10", "-1", "2"]) == ("-1", "2", "10")
    assert order_classes(["n10", "n9"]) == ("n10", "n9")
    assert order_classes(["10", "9", "x"]) == ("10", "9", "x")


def test_the_same_names_in_another_order():
    match = match_classes("w", ("c", "a", "b"), source("abc"))
    assert match.how == "reordered" and match.source.classes == ("c", "a", "b")
    own = source("abc").train
    assert [match.source.classes[i] for i in match.source.train.labels] == [
        "abc"[i] for i in own.labels
    ]
    assert match.source.train.image(5).tobytes() == own.image(5).tobytes()


def test_numbers_match_however_they_are_written():
    match = match_classes("w", [f"{i:02d}" for i in range(12)], source(NUMBERS))
    assert match.how == "by_number" and match.source.classes == tuple(NUMBERS)


def test_without_names_the_order_is_assumed():
    assert match_classes("w", (), source("abc")).how == "assumed"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ("abd", "got 'c' in the data only, 'd' in the weights only"),
        (["0", "1", "1"], "'a' and 2 others in the data only"),
    ],
)
def test_other_names_are_refused(names, told):
    with pytest.raises(TrainingError, match="must name its classes as pets does") as raised:
        match_classes("w", names, source("abc"))
    assert told in str(raised.value)


def test_images_of_folders_are_held_out_as_when_they_were_sorted_as_text(tmp_path):
    folder(tmp_path, dict.fromkeys(NUMBERS, 4), size=(2, 2))
    now = load_source(str(tmp_path))
    assert now.classes == tuple(NUMBERS)
    then = match_classes("w", sorted(NUMBERS), now).source
    paths = [p.relative_to(tmp_path) for p in sorted(tmp_path.glob("*/*.jpg"))]
    paths.sort(key=lambda path: (path.parts[0], path.parts[1]))
    assert [then.train.name(i) for i in range(48)] == [str(tmp_path / path) for path in paths]
    assert then.train.labels.tolist() == np.repeat(np.arange(12), 4).tolist()
    assert len(make_splits(then, 0.25, 0).validation) == 12


def test_a_file_of_names(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("cat\n big dog \n\n")
    assert read_class_names(path, 2) == ("cat", "big dog")
    with pytest.raises(TrainingError, match=r"each of the 3 classes on a line \(got 2 lines\)"):
        read_class_names(path, 3)
    with pytest.raises(TrainingError, match="must be a text file"):
        read_class_names(tmp_path / "none.txt", 2)
