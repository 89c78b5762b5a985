"""Images in folders: one folder a class, as in torchvision's ImageFolder.

DIR/train/CLASS/*.jpg  DIR/val/CLASS/*.jpg  DIR/test/CLASS/*.jpg     val and test may be absent
DIR/CLASS/*.jpg                                                      all of it is for training
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smt_nas.errors import TrainingError, list_names
from smt_nas.runtime.torchvision_ops import import_torchvision
from smt_nas.train.data.examples import Examples, IntArray, Source, decode_image

SPLITS: Mapping[str, tuple[str, ...]] = {
    "train": ("train",),
    "validation": ("val", "validation", "valid", "dev"),
    "test": ("test",),
}
"""Usual names of the splits."""

_RAW = {  # files of a named set, whose folder was given without the set's name
    "train-images-idx3-ubyte": "fashion-mnist",
    "train-images-idx3-ubyte.gz": "fashion-mnist",
    "FashionMNIST/raw": "fashion-mnist",
    "MNIST/raw": "mnist",
    "KMNIST/raw": "kmnist",
    "cifar-10-batches-py": "cifar10",
    "data_batch_1": "cifar10",
    "cifar-100-python": "cifar100",
    "train_32x32.mat": "svhn",
    "stl10_binary": "stl10",
    "dataset_dict.json": "hf",
}


class FileExamples:
    """Images in files of their own.

    Args:
        folder: that the paths start from.
        paths: of the images, relative to it, n of them.
        labels: (n,).
    """

    def __init__(self, folder: Path, paths: Sequence[str], labels: IntArray) -> None:
        assert len(paths) == len(labels)
        encoded = [os.fsencode(path) for path in paths]
        # one block: a million strings would be copied by every worker that counts references
        self._text = b"".join(encoded)
        self._bounds = np.cumsum([0, *map(len, encoded)])
        self.folder = folder
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def _path(self, i: int) -> Path:
        start, end = self._bounds[i : i + 2]
        return self.folder / os.fsdecode(self._text[start:end])

    def image(self, i: int) -> Image.Image:
        """See `Examples`."""
        return decode_image(self._path(i))

    def name(self, i: int) -> str:
        """See `Examples`."""
        return str(self._path(i))


def load_folder(spec: str, folder: Path) -> Source:
    """Find the images of a folder; none is opened.

    Args:
        spec: as the user wrote it.
        folder: the same as a path.

    Raises:
        TrainingError: there is no such folder, or its layout is another.
    """
    check_folder(folder)
    places = find_splits(folder, (p.name for p in _visible_files(folder) if p.is_dir()))
    classes = {split: _list_classes(folder / place) for split, place in places.items()}
    first = next(iter(classes))
    for split, names in classes.items():
        _check_same_classes(folder / places[first], classes[first], folder / places[split], names)
    examples = {
        split: _find_examples(folder / places[split], names, split)
        for split, names in classes.items()
    }
    return make_source(spec, classes[first], examples)


def make_source(spec: str, classes: Iterable[str], examples: Mapping[str, Examples]) -> Source:
    """A source of photographs: mirrored ones keep their class, ImageNet's mean and deviation.

    Whoever has images of another kind sets `augment.flip=0`.
    """
    train, validation, test = (examples.get(split) for split in SPLITS)
    return Source(spec, tuple(classes), train, validation, test, mirrors=True)


def check_folder(folder: Path) -> None:
    """Raise TrainingError where `folder` is no folder with something in it."""
    if not folder.exists():
        raise TrainingError(f"{folder}: must be a folder of images (got no such folder).")
    if not folder.is_dir():
        way = f"Use tar:{folder}." if folder.suffix == ".tar" else "Name the folder it lies in."
        raise TrainingError(f"{folder}: must be a folder (got a file). {way}")
    try:
        empty = next(_visible_files(folder), None) is None
    except OSError as error:
        raise TrainingError(
            f"{folder}: must be readable (got: {error.strerror}). Check its permissions."
        ) from error
    if empty:
        raise TrainingError(f"{folder}: must hold images (got an empty folder). Name another.")


def find_splits(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Which of the names in a folder are its splits; all of it is `train` where none is.

    Returns: split -> name; `""` stands for the folder itself.

    Raises:
        TrainingError: two names for one split.
    """
    names = set(names)
    places = {}
    for split, usual in SPLITS.items():
        present = sorted(names & set(usual))
        if len(present) > 1:
            raise TrainingError(
                f"{folder}: must hold one {split} split (got {' and '.join(present)}). Keep one."
            )
        if present:
            places[split] = present[0]
    only_splits = names == set(places.values())
    return places if places and ("train" in places or only_splits) else {"train": ""}


def _visible_files(folder: Path) -> Iterator[Path]:
    """Whatever is not hidden in a folder."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))


def _list_classes(folder: Path) -> tuple[str, ...]:
    """Names of the class folders, sorted."""
    inside = sorted(_visible_files(folder))
    classes = tuple(path.name for path in inside if path.is_dir())
    raw = next((name for file, name in _RAW.items() if (folder / file).exists()), None)
    if raw is not None:
        raise TrainingError(
            f"{folder}: must hold a folder of images per class (got files of a named data set). "
            f"Name it, e.g. {raw}:{folder}."
        )
    if len(classes) < 2:
        got = f"only {classes[0]}" if classes else f"{len(inside)} files and no folder"
        raise TrainingError(
            f"{folder}: must hold a folder of images for each of two or more classes (got {got}). "
            "Sort the images into class folders."
        )
    return classes


def _check_same_classes(
    first: Path, classes: tuple[str, ...], other: Path, others: tuple[str, ...]
) -> None:
    missing, extra = (sorted(set(a) - set(b)) for a, b in ((classes, others), (others, classes)))
    differences = [f"no {list_names(missing)}"] * bool(missing) + [
        f"also {list_names(extra)}"
    ] * bool(extra)
    if differences:
        raise TrainingError(
            f"{other}: must hold the class folders of {first} (got {', '.join(differences)}). "
            "Rename or add folders; an empty one will do."
        )


def _find_examples(folder: Path, classes: Sequence[str], split: str) -> FileExamples:
    folder_of_sets = import_torchvision().datasets.folder
    numbers = {name: i for i, name in enumerate(classes)}
    samples = folder_of_sets.make_dataset(
        str(folder), numbers, folder_of_sets.IMG_EXTENSIONS, allow_empty=True
    )
    labels = np.array([label for _, label in samples], np.int64)
    empty = sorted(set(classes) - {classes[i] for i in np.unique(labels)})
    if empty and (split == "train" or not samples):
        raise TrainingError(
            f"{folder}: every class folder must hold an image (got none in {list_names(empty)}). "
            f"Add images ({', '.join(folder_of_sets.IMG_EXTENSIONS)}), or remove the folders."
        )
    prefix = len(str(folder)) + 1
    return FileExamples(folder, [path[prefix:] for path, _ in samples], labels)
