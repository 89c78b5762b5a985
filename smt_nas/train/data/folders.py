"""Images in folders: one folder a class, as in torchvision's ImageFolder.

DIR/train/CLASS/*.jpg  DIR/val/CLASS/*.jpg  DIR/test/CLASS/*.jpg     val and test may be absent
DIR/CLASS/*.jpg                                                      all of it is for training

Splits may be spelt as people spell them: see `split_names` and `layout`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smt_nas.errors import TrainingError, format_count, list_names
from smt_nas.files import to_text
from smt_nas.fingerprint import fingerprint
from smt_nas.train.data.class_order import order_classes, remark_case
from smt_nas.train.data.examples import Examples, IntArray, Source, decode_image
from smt_nas.train.data.file_tree import (
    FileTree,
    Identity,
    count_left_out,
    identify,
    is_hidden,
    join_path,
    remark_left_out,
    scan_folder,
)
from smt_nas.train.data.layout import SplitFolder, read_layout
from smt_nas.train.data.split_names import SPLITS, Split

_PACKED = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
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

    def version(self) -> str | None:
        """See `Versioned`; by the sizes and times of the files, as `make` tells them apart."""
        try:
            stats = [os.stat(self._path(i)) for i in range(len(self))]
        except OSError:
            return None
        stamps = np.array([(stat.st_size, stat.st_mtime_ns) for stat in stats], np.int64)
        names = os.fsencode(self.folder) + self._text + self._bounds.tobytes()
        return fingerprint(names + stamps.tobytes() + self.labels.tobytes())


def load_folder(spec: str, folder: Path) -> Source:
    """Find the images of a folder; none is opened.

    Args:
        spec: as the user wrote it.
        folder: the same as a path.

    Raises:
        TrainingError: there is no such folder, or its layout is another.
    """
    check_folder(folder)
    _refuse_named_set(folder)
    tree = scan_folder(folder)
    layout = read_layout(str(folder), tree)
    first = next(iter(layout.splits))
    classes = {first: _list_classes(folder, layout.splits[first])}
    for split, place in layout.splits.items():
        own = set(place.tree.folders)
        few = bool(own) and own < set(classes[first])  # said with what is missing
        classes[split] = tuple(place.tree.folders) if few else _list_classes(folder, place)
    folders = {split: folder / place.path for split, place in layout.splits.items()}
    for split, names in classes.items():
        _check_same_classes(folders[first], folders[split], classes[first], names)
    examples, remarks = dict[Split, FileExamples](), list(layout.remarks)
    for split, place in layout.splits.items():
        examples[split], lines = _find_examples(folder, place, classes[first], split)
        remarks += lines
    remarks += _remark_links(folder, tree, layout.splits)
    return make_source(spec, classes[first], examples, remarks)


def make_source(
    spec: str,
    classes: Sequence[str],
    examples: Mapping[Split, Examples],
    remarks: Iterable[str] = (),
) -> Source:
    """A source of photographs: mirrored ones keep their class, ImageNet's mean and deviation.

    Whoever has images of another kind sets `augment.flip=0`.
    """
    train, validation, test = (examples.get(split) for split in SPLITS)
    named = tuple(to_text(name) for name in classes)
    all_remarks = (*remarks, *remark_case(spec, named))
    return Source(spec, named, train, validation, test, mirrors=True, remarks=all_remarks)


def check_folder(folder: Path) -> None:
    """Raise TrainingError where `folder` is no folder with something in it."""
    if not folder.exists():
        raise TrainingError(f"{folder}: must be a folder of images (got no such folder).")
    if not folder.is_dir():
        ways = {".tar": f"Use tar:{folder}."} | dict.fromkeys(_PACKED, "Unpack it.")
        way = ways.get(folder.suffix.lower(), "Name the folder it lies in.")
        raise TrainingError(f"{folder}: must be a folder (got a file). {way}")
    try:
        empty = next(_visible_files(folder), None) is None
    except OSError as error:
        raise TrainingError(
            f"{folder}: must be readable (got: {error.strerror}). Check its permissions."
        ) from error
    if empty:
        raise TrainingError(f"{folder}: must hold images (got an empty folder). Name another.")


def _visible_files(folder: Path) -> Iterator[Path]:
    """Whatever is not hidden in a folder."""
    return (path for path in folder.iterdir() if not is_hidden(path.name))


def _refuse_named_set(folder: Path) -> None:
    """Refuse files that another kind of `--data` reads."""
    raw = next((name for file, name in _RAW.items() if (folder / file).exists()), None)
    if raw is None and any(folder.glob("*.parquet")):
        raw = "parquet"
    if raw is not None:
        raise TrainingError(
            f"{folder}: must hold a folder of images per class (got files of a named data set). "
            f"Name it, e.g. {raw}:{folder}."
        )


def _list_classes(root: Path, place: SplitFolder) -> tuple[str, ...]:
    """Names of the class folders, in their order."""
    folder, tree = root / place.path, place.tree
    _refuse_named_set(folder)
    if len(tree.folders) < 2:
        files = len(tree.images) + sum(tree.left_out.values())
        got = f"{format_count(files, 'file')} and no folder"
        way = "Sort the images into class folders."
        packed = sorted(set(tree.left_out) & {".tar", *_PACKED})
        if place.path and files:
            way = f"{way[:-1]}, or move the folder away."
        elif packed:
            way = f"Use tar:{folder}." if packed == [".tar"] else f"Unpack its {packed[0]} files."
        for name, only in tree.folders.items():
            got = f"only {name}"
            if len(only.class_folders) > 1:
                way = f"If its folders are the classes, name {folder / name}."
        raise TrainingError(
            f"{folder}: must hold a folder of images for each of two or more classes (got {got}). "
            f"{way}"
        )
    return order_classes(tree.folders)


def _check_same_classes(
    first: Path, other: Path, classes: tuple[str, ...], others: tuple[str, ...]
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


def _find_examples(
    root: Path, place: SplitFolder, classes: Sequence[str], split: Split
) -> tuple[FileExamples, list[str]]:
    """The images of a split, by class, then by folder and name; and what to say of the others."""
    folder = root / place.path
    paths, labels, repeats = _list_once(folder, place.tree, classes)
    empty = sorted(set(classes) - {classes[i] for i in set(labels)})
    if empty and (split == "train" or not labels):
        words = count_left_out(place.tree.folders[name] for name in empty)
        others = f" They hold {words}." if words else ""
        raise TrainingError(
            f"{folder}: every class folder must hold an image (got none in {list_names(empty)}). "
            f"Add images of a format that Pillow reads, or remove the folders.{others}"
        )
    remarks = remark_left_out(str(folder), place.tree)
    if repeats:
        remarks.append(
            f"{folder}: counted once, as links lead to them again: {list_names(repeats, 3)}."
        )
    return FileExamples(folder, paths, np.array(labels, np.int64)), remarks


def _list_once(
    folder: Path, tree: FileTree, classes: Sequence[str]
) -> tuple[list[str], list[int], list[str]]:
    """Images of a split, each once, whatever links lead to it.

    Returns: paths from the folder, label of each, and the paths of what came again.

    Raises:
        TrainingError: links lead to the images of one class from another.
    """
    linked = any(inside.links for _, inside in tree.walk())
    met: dict[Identity, tuple[str, str]] = {}
    repeats = list[str]()

    def is_new(identity: Identity | None, name: str, path: str) -> bool:
        if identity is None:
            return True
        first_name, first = met.setdefault(identity, (name, path))
        if first_name != name:
            raise TrainingError(
                f"{folder}: an image must be of one class (got a link that makes {path} the same "
                f"as {first}). Remove the link."
            )
        if first != path:
            repeats.append(path)
        return first == path

    paths, labels = list[str](), list[int]()
    for label, name in enumerate(classes):
        for place, inside in tree.folders[name].walk(name):
            if not is_new(inside.identity, name, place):
                continue
            for image in inside.images:
                path = f"{place}/{image}"
                if not linked or is_new(identify(folder / path), name, path):
                    paths.append(path)
                    labels.append(label)
    return paths, labels, repeats


def _remark_links(folder: Path, tree: FileTree, splits: Mapping[Split, SplitFolder]) -> list[str]:
    """Links that lead back, and folders that two splits share."""
    loops = [join_path(path, name) for path, inside in tree.walk() for name in inside.loops]
    remarks = [
        f"{folder}: not followed, as they lead back to where they lie: {list_names(loops, 3)}."
    ] * bool(loops)
    seen: dict[Identity | None, tuple[Split, str]] = {}
    for split, place in splits.items():
        for path, inside in place.tree.walk(place.path):
            other, first = seen.setdefault(inside.identity, (split, path))
            if other != split:
                remarks.append(f"{folder}: {first} and {path} are one folder, by a link.")
                break
    return remarks
