"""Splits and classes among folders, on disk and in archives: the same rules for both."""

import tarfile

import pytest

from smt_nas.errors import TrainingError
from smt_nas.train.data.sources import load_source
from tests.fakes.images import jpeg

CLASSES = ("circle", "square")


def write(root, files):
    """Images at paths; a path that ends in `/` is an empty folder."""
    for i, name in enumerate(files):
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(i, (4, 4)))
    return root


def sorted_into(*folders, n=1, classes=CLASSES):
    return [f"{f}/{c}/{i}.jpg" for f in folders for c in classes for i in range(n)]


@pytest.fixture(params=["folder", "tar", "tar with ./"])
def load(request, tmp_path):
    """Loads files from a folder, or from an archive of it."""

    def load_files(files):
        root = write(tmp_path / "data", files)
        if request.param == "folder":
            return load_source(str(root))
        archive = tmp_path / "set.tar"
        with tarfile.open(archive, "w") as tar:
            before = "./" if "./" in request.param else ""
            for path in sorted(root.rglob("*")):
                tar.add(path, f"{before}{path.relative_to(root)}", recursive=False)
        return load_source(f"tar:{archive}")

    return load_files


def counts(source):
    parts = (source.train, source.validation, source.test)
    return tuple(None if part is None else len(part) for part in parts)


def refusal(load, files):
    with pytest.raises(TrainingError) as raised:
        load(files)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("train", "other", "is_test"),
    [
        ("Training", "Testing", True),
        ("TRAIN", "TEST", True),
        ("Train", "Val", False),
        ("train_set", "val_set", False),
        ("trn", "tst", True),
        ("train", "testing", True),
        ("train", "hold_out", True),
        ("dataset_train", "dataset_test", True),
        ("images/train", "images/val", False),
        ("set/data/training", "set/data/validation", False),
        ("seg_train/seg_train", "seg_test/seg_test", True),
        ("train/images", "test/images", True),
        ("train", "test1", True),
        ("tr", "te", True),
        ("flowers_train", "petals_test", True),
    ],
)
def test_splits_as_people_spell_them(load, train, other, is_test):
    source = load(sorted_into(train, n=3) + sorted_into(other, n=2))
    assert source.classes == CLASSES
    assert counts(source) == ((6, None, 4) if is_test else (6, 4, None))


def test_three_splits_and_what_lies_beside_them(load):
    files = [*sorted_into("seg_train", "seg_val", "seg_test"), "seg_pred/0.jpg", "readme.jpg"]
    source = load(files)
    assert counts(source) == (2, 2, 2)
    (said,) = source.remarks
    assert "not used, as they are in no split: 1 image in seg_pred, 1 image in no folder" in said


@pytest.mark.parametrize(
    "classes",
    [
        ("bus", "car", "train"),
        ("practice", "test"),
        ("beaker", "flask", "test_tubes"),
        ("test_tubes", "train_station"),
        ("trainer", "valley", "contest"),
        ("test1", "test2", "test3"),
        ("de", "te", "tr"),
    ],
)
def test_classes_whose_names_hold_such_words(load, classes):
    source = load([f"{c}/{i}.jpg" for c in classes for i in range(2)])
    assert source.classes == tuple(sorted(classes))
    assert counts(source) == (2 * len(classes), None, None)


def test_below_a_split_folders_may_have_any_name(load):
    source = load([f"{s}/{c}/0.jpg" for s in ("train", "val") for c in ("plane", "test", "train")])
    assert source.classes == ("plane", "test", "train")
    assert counts(source) == (3, 3, None)


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (["train/0.jpg", "test/0.jpg"], "as in train/CLASS/*.jpg. If these are classes, put all"),
        (
            ["train_cat/0.jpg", "train_dog/0.jpg", "test_cat/0.jpg", "test_dog/0.jpg"],
            "got test_cat, train_cat with images in none). Sort the images, as in train/cat/*.jpg",
        ),
        (sorted_into("train", "test1", "test2"), "must hold one test split (got test1 and test2)"),
        (sorted_into("negative_test", "positive_test"), "If these are classes, put them into a"),
        (sorted_into("fold0", "fold_1"), "folds must be made splits (got fold0, fold_1, each with"),
        (
            [f"wild/{c}/{s}/0.jpg" for s in ("train", "test") for c in CLASSES],
            "Move the images, as to train/circle and test/circle",
        ),
        (
            [*sorted_into("set/train", "set/test"), "cover.jpg"],
            "(got set/test and set/train). Give ",
        ),
        (sorted_into("train", "prueba"), "prueba: looks like a split, as it holds class folders"),
        (sorted_into("train", "val", "fold7"), "Rename it to train, val or test, or move it away"),
        (
            [f"{c}/{s}/0.jpg" for s in ("train", "test") for c in CLASSES],
            "splits must stand above classes (got circle/test and circle/train)",
        ),
        (
            [*sorted_into("train"), "bus/0.jpg", "car/0.jpg"],
            "train must be a split or a class (got images in bus, car too)",
        ),
        (
            [*sorted_into("all/train", "all/val"), *sorted_into("test")],
            "test must be a split or a class (got images in all too). If it is a split, move",
        ),
        (
            [*sorted_into("train/train", "train/val"), *sorted_into("test")],
            "train: a split must hold class folders (got the splits train, val). Move them up",
        ),
    ],
)
def test_what_looks_like_a_split_and_cannot_be_used(load, files, told):
    assert told in refusal(load, files)


def test_classes_that_all_hold_the_same_folders_may_be_splits(tmp_path):
    source = load_source(str(write(tmp_path, sorted_into("prueba", "entrenamiento"))))
    assert source.classes == ("entrenamiento", "prueba")
    assert "each with the folders circle, square. If they are splits" in source.remarks[0]


def test_numbers_stand_in_their_order(load):
    source = load([f"{i}/0.jpg" for i in range(12)])
    assert source.classes == tuple(map(str, range(12)))
    names = [source.train.name(i) for i in range(12)]
    by_label = sorted(zip(source.train.labels.tolist(), names, strict=True))
    assert [name.rsplit("/", 2)[-2].rpartition(":")[2] for _, name in by_label] == list(
        map(str, range(12))
    )


def test_hidden_files_are_none_of_the_images(load):
    files = [
        *sorted_into("train", n=2),
        "train/circle/._0.jpg",
        "train/circle/.ipynb_checkpoints/0.jpg",
        "train/.thumbs/x.jpg",
        "__MACOSX/train/circle/._0.jpg",
        "train/square/@eaDir/0.jpg",
        ".trash/0.jpg",
    ]
    source = load(files)
    assert source.classes == CLASSES and counts(source) == (4, None, None)
    assert any(said.endswith(": 3 hidden.") for said in source.remarks)


def test_what_is_not_read_is_counted_by_extension(load):
    files = [*sorted_into("train", n=2), "train/circle/a.heic", "train/circle/b.heic"]
    files += ["train/square/notes.TXT", "train/square/Makefile", "train/0.jpg"]
    left_out, beside = load(files).remarks
    assert left_out.endswith("no images by their names: 2 .heic, 1 .txt, 1 without extension.")
    assert beside.endswith("not read, as they lie in no class folder: 1 image.")


@pytest.mark.parametrize("name", ["a.JFIF", "a.gif", "a.webp", "a.bmp", "a.TIF", "a.jpe", "a.pgm"])
def test_formats_that_pillow_reads_are_read(load, name):
    assert counts(load([*sorted_into("train"), f"train/circle/{name}"])) == (3, None, None)


def test_classes_that_differ_by_case_are_told(load):
    source = load(["Cat/0.jpg", "cat/0.jpg", "dog/0.jpg"])
    assert source.classes == ("Cat", "cat", "dog")
    assert "upper and lower case alone: Cat and cat" in source.remarks[0]
