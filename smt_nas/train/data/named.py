"""Data sets of small images by name, all of it in memory; read where they lie, never downloaded."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from smt_nas.errors import TrainingError, list_names, one_line
from smt_nas.runtime.torchvision_ops import import_torchvision
from smt_nas.train.data.examples import (
    ArrayExamples,
    ByteArray,
    IntArray,
    Source,
    compute_statistics,
)
from smt_nas.train.data.folders import check_folder

_DIGITS = tuple("0123456789")
_TEST_EVERY = 5  # of digits: the 5th, 10th, ... image of each class is a test image
_ImagesAndLabels = tuple[ByteArray, IntArray]  # images (n, H, W) or (n, H, W, 3); labels (n,)


@dataclass(frozen=True)
class NamedDataset:
    """How a named data set is read.

    Attributes:
        of: torchvision's class of it.
        read: its parts "train" and "test", and its classes, from the class and a folder.
        mirrors: whether a mirrored image keeps its class.
    """

    of: str
    read: Callable[[Any, Path], tuple[dict[str, _ImagesAndLabels], tuple[str, ...]]]
    mirrors: bool


def load_named(named: NamedDataset, spec: str, place: str) -> Source:
    """Read a named data set.

    Args:
        named: of `NAMED`.
        spec: as the user wrote it, `NAME:DIR`.
        place: the folder.

    Raises:
        TrainingError: the folder or a file in it is missing or damaged; says which.
    """
    folder = Path(place).expanduser()
    check_folder(folder)
    parts, classes = named.read(getattr(import_torchvision().datasets, named.of), folder)
    return _make_source(spec, parts, classes, named.mirrors)


def load_digits() -> Source:
    """scikit-learn's 1,797 grey digits of 8x8 pixels, a fifth of each class for testing.

    Which ones those are is part of the data set: every fifth of a class, in its order.
    """
    from sklearn.datasets import load_digits as load

    bunch = load()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)  # (n, 8, 8), 0..16 before
    labels = bunch.target.astype(np.int64)
    test = np.zeros(len(labels), bool)
    for label in range(len(_DIGITS)):
        test[np.flatnonzero(labels == label)[_TEST_EVERY - 1 :: _TEST_EVERY]] = True
    parts = {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}
    return _make_source("digits", parts, _DIGITS, mirrors=False)


def _make_source(
    spec: str, parts: Mapping[str, _ImagesAndLabels], classes: tuple[str, ...], mirrors: bool
) -> Source:
    train, test = (ArrayExamples(*parts[part], f"{spec} {part}") for part in ("train", "test"))
    mean, std = compute_statistics(train.images)
    return Source(spec, classes, train, None, test, mirrors, mean, std)


def _read_mnist(of: Any, folder: Path) -> tuple[dict[str, _ImagesAndLabels], tuple[str, ...]]:
    """Files of MNIST's format, gzipped or not, in the folder or where torchvision has them."""
    names = {
        (part, what): f"{prefix}-{what}-ubyte"
        for part, prefix in (("train", "train"), ("test", "t10k"))
        for what in ("images-idx3", "labels-idx1")
    }
    places = [folder, folder / "raw", folder / of.__name__ / "raw"]
    by_place = [{key: _find_file(place, name) for key, name in names.items()} for place in places]
    best = max(by_place, key=lambda files: sum(file is not None for file in files.values()))
    missing = [names[key] for key, file in best.items() if file is None]
    if missing:
        raise _missing_files(folder, missing)
    files = {key: file for key, file in best.items() if file is not None}
    parts = {}
    for part in ("train", "test"):
        images, labels = files[part, "images-idx3"], files[part, "labels-idx1"]
        pixels, classes = read_idx(images, 3), read_idx(labels, 1)
        if len(pixels) != len(classes) or not len(classes):
            raise TrainingError(
                f"{images}: must hold as many images as there are labels (got {len(pixels)} and "
                f"{len(classes)}). Fetch both files anew."
            )
        if classes.max() >= len(of.classes):
            raise TrainingError(
                f"{labels}: labels must be below {len(of.classes)} (got {classes.max()}). Is it "
                "another data set?"
            )
        parts[part] = pixels, classes.astype(np.int64)
    return parts, tuple(of.classes)


def _find_file(folder: Path, name: str) -> Path | None:
    return next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)


def read_idx(path: Path, dimensions: int) -> ByteArray:
    """Read an IDX file of bytes: two zeros, type 8, the number of dimensions, sizes, values.

    torchvision's reader opens no gzip, checks nothing of the head but by `assert`, and takes a file
    that is too long.

    Args:
        path: ends in `.gz` where it is compressed.
        dimensions: that it must have.

    Raises:
        TrainingError: it is cut off, damaged, or something else.
    """
    try:
        raw = path.read_bytes()
        content = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (OSError, EOFError, zlib.error) as error:
        raise TrainingError(
            f"{path}: cannot be read (got: {one_line(error)}). Fetch it anew."
        ) from error
    head = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < head:
        raise TrainingError(
            f"{path}: must be an IDX file of bytes in {dimensions} dimensions (got "
            f"{content[:4].hex(' ') or 'nothing'} at its start). Fetch it anew."
        )
    shape = np.frombuffer(content, ">u4", dimensions, offset=4).tolist()
    expected = head + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise TrainingError(
            f"{path}: must be {expected} bytes long by its head (got {len(content)}). Fetch it "
            "anew."
        )
    return np.frombuffer(content, np.uint8, offset=head).reshape(shape)


def _read_cifar(of: Any, folder: Path) -> tuple[dict[str, _ImagesAndLabels], tuple[str, ...]]:
    files = [name for name, _ in of.train_list + of.test_list] + [of.meta["filename"]]
    root = _find_root(folder, of.base_folder, files)
    sets = {
        part: _open_part(root, partial(of, root, train=part == "train"))
        for part in ("train", "test")
    }
    parts = {part: (s.data, np.array(s.targets, np.int64)) for part, s in sets.items()}
    return parts, tuple(sets["train"].classes)


def _read_svhn(of: Any, folder: Path) -> tuple[dict[str, _ImagesAndLabels], tuple[str, ...]]:
    root = _find_root(folder, "", [of.split_list[part][1] for part in ("train", "test")])
    return _read_channels_first(of, root), _DIGITS


def _read_stl10(of: Any, folder: Path) -> tuple[dict[str, _ImagesAndLabels], tuple[str, ...]]:
    files = [name for name, _ in of.train_list + of.test_list] + [of.class_names_file]
    root = _find_root(folder, of.base_folder, files)
    classes = (root / of.base_folder / of.class_names_file).read_text("utf-8").split()
    return _read_channels_first(of, root), tuple(classes)


def _read_channels_first(of: Any, root: Path) -> dict[str, _ImagesAndLabels]:
    """Parts of a set of torchvision's whose images are (n, 3, H, W)."""
    sets = {part: _open_part(root, partial(of, root, split=part)) for part in ("train", "test")}
    return {
        part: (s.data.transpose(0, 2, 3, 1), np.asarray(s.labels, np.int64))
        for part, s in sets.items()
    }


def _find_root(folder: Path, base: str, files: list[str]) -> Path:
    """The folder that torchvision is to be given, where all files are there."""
    root = folder.resolve().parent if base and folder.resolve().name == base else folder
    missing = [str(Path(base) / name) for name in files if not (root / base / name).is_file()]
    if missing:
        raise _missing_files(root, missing)
    return root


def _open_part(root: Path, read: Callable[[], Any]) -> Any:
    """One part, read and checked by torchvision; it downloads nothing unless told to."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, of how old pickles spell a dtype
            return read()
    except Exception as error:  # a checksum, a pickle, a .mat file
        reason = one_line(error).partition(" You can use download")[0]
        raise TrainingError(
            f"{root}: the files must be whole (got: {reason}). Fetch them anew."
        ) from error


def _missing_files(folder: Path, files: list[str]) -> TrainingError:
    return TrainingError(
        f"{folder}: must hold the files of the data set (got no {list_names(files)}). Fetch them; "
        "nothing is downloaded here."
    )


NAMED: Mapping[str, NamedDataset] = {
    "fashion-mnist": NamedDataset("FashionMNIST", _read_mnist, mirrors=True),
    "mnist": NamedDataset("MNIST", _read_mnist, mirrors=False),
    "kmnist": NamedDataset("KMNIST", _read_mnist, mirrors=False),
    "cifar10": NamedDataset("CIFAR10", _read_cifar, mirrors=True),
    "cifar100": NamedDataset("CIFAR100", _read_cifar, mirrors=True),
    "svhn": NamedDataset("SVHN", _read_svhn, mirrors=False),
    "stl10": NamedDataset("STL10", _read_stl10, mirrors=True),
}
"""By the word before the colon; digits and characters have no mirror image of their class."""
