"""`FileTree`: images by folder, on disk or in an archive; which files are images, which are hidden.

One rule for both: what begins with a dot (notebook checkpoints, the AppleDouble files of a Mac) or
is kept by a system for itself (`__MACOSX`, `Thumbs.db`) is hidden, and everything in it. Of the
rest, what has an extension that Pillow reads here is an image. What is left out is counted.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, features

from smt_nas.errors import TrainingError, format_count, list_names

Identity = tuple[int, int]  # device and inode: the same for all paths to a folder or file

HIDDEN = "hidden"  # beside extensions in counts of files left out

_SYSTEM = frozenset(  # folded; https://github.com/github/gitignore, Global
    name.casefold()
    for name in (
        *("__MACOSX", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r", "@eaDir", "#recycle"),
        *("$RECYCLE.BIN", "System Volume Information", "lost+found", "__pycache__"),
    )
)
_NO_PICTURES = frozenset(  # formats that Pillow only identifies, or reads with another program
    ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
)
_OPTIONAL = {"AVIF": "avif", "JPEG2000": "jpg_2000", "WEBP": "webp"}  # parts of a build of Pillow


@dataclass(frozen=True)
class FileTree:
    """A folder and what is in it, without what is hidden.

    Attributes:
        folders: by name, in their order; empty ones too.
        images: names of image files, in their order.
        left_out: files that are no images, by extension; and what is `HIDDEN`.
        links: whether images are links to files.
        loops: names of links to a folder that this one lies in; not followed.
        identity: of the folder on disk; None in an archive.
    """

    folders: Mapping[str, FileTree]
    images: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    links: bool = False
    loops: tuple[str, ...] = ()
    identity: Identity | None = None

    @functools.cached_property
    def count(self) -> int:
        """Images in it and below."""
        return len(self.images) + sum(child.count for child in self.folders.values())

    @functools.cached_property
    def class_folders(self) -> frozenset[str]:
        """Names of the folders in it that hold images, at any depth."""
        return frozenset(name for name, child in self.folders.items() if child.count)

    def walk(self, path: str = "") -> Iterator[tuple[str, FileTree]]:
        """This folder and all below with their paths, sorted by path.

        What lies below a folder that several links lead to comes once.
        """
        return iter(sorted(self._descend(path, set()), key=lambda pair: pair[0]))

    def _descend(self, path: str, seen: set[int]) -> Iterator[tuple[str, FileTree]]:
        yield path, self
        if id(self) in seen:  # two links in each of n folders would make 2^n paths
            return
        seen.add(id(self))
        for name, child in self.folders.items():
            yield from child._descend(join_path(path, name), seen)


def join_path(folder: str, name: str) -> str:
    """A path below a folder; `""` is the folder that all paths start from."""
    return f"{folder}/{name}" if folder else name


def split_path(path: str) -> list[str]:
    """Its folders and its name, without the `./` and `../` that some archives write before."""
    return [part for part in path.split("/") if part not in ("", ".", "..")]


def is_hidden(name: str) -> bool:
    """Whether a file or folder is nobody's image by its name."""
    return name.startswith(".") or name.casefold() in _SYSTEM


@functools.cache
def image_extensions() -> frozenset[str]:
    """Extensions of the formats that Pillow reads here, e.g. `.jpg`; in lower case."""
    Image.init()
    missing = {name for name, part in _OPTIONAL.items() if not features.check(part)}
    unread = missing | _NO_PICTURES
    extensions = Image.registered_extensions().items()
    return frozenset(e for e, name in extensions if name in Image.OPEN and name not in unread)


def get_extension(name: str) -> str:
    """`.jpg` of `a.JPG`; `without extension` where there is none."""
    return os.path.splitext(name)[1].lower() or "without extension"


def identify(path: Path | str) -> Identity | None:
    """What a path leads to; None where that is nowhere."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def count_left_out(trees: Iterable[FileTree]) -> str:
    """`12 .txt, 3 .heic, 2 hidden`, of trees and all below; empty for none."""
    total = Counter[str]()
    for tree in trees:
        for _, inside in tree.walk():
            total.update(inside.left_out)
    hidden = total.pop(HIDDEN, 0)
    counts = [f"{n} {name}" for name, n in sorted(total.items(), key=lambda kind: (-kind[1], kind))]
    return list_names(counts + [f"{hidden} {HIDDEN}"] * bool(hidden), 8)


def remark_left_out(where: str, split: FileTree) -> list[str]:
    """Lines on what lies in a split and is not read: in class folders, and beside them."""
    counts = count_left_out(split.folders.values())
    beside = len(split.images)
    return [f"{where}: not read, as no images by their names: {counts}."] * bool(counts) + [
        f"{where}: not read, as they lie in no class folder: {format_count(beside, 'image')}."
    ] * bool(beside)


def scan_folder(folder: Path) -> FileTree:
    """Find what is in a folder; links are followed, but none to a folder it lies in.

    A folder that several links lead to is listed once, and stands in each place.

    Raises:
        TrainingError: a folder cannot be read.
    """
    return _Scan().scan(str(folder), ())


class _Scan:
    """Keeps the folders that were listed, by identity."""

    def __init__(self) -> None:
        self.listed: dict[Identity, FileTree] = {}

    def scan(self, path: str, above: tuple[Identity, ...]) -> FileTree:
        identity = identify(path)
        if identity is not None and identity in self.listed:
            return self.listed[identity]
        folders: dict[str, FileTree] = {}
        images, loops, links = list[str](), list[str](), False
        left_out = Counter[str]()
        here = above if identity is None else (*above, identity)
        for entry in _list_entries(path):
            if is_hidden(entry.name):
                left_out[HIDDEN] += 1
            elif _is_folder(entry):
                if entry.is_symlink() and identify(entry.path) in here:
                    loops.append(entry.name)
                else:
                    folders[entry.name] = self.scan(entry.path, here)
            elif get_extension(entry.name) in image_extensions():
                images.append(entry.name)
                links = links or entry.is_symlink()
            else:
                left_out[get_extension(entry.name)] += 1
        tree = FileTree(folders, tuple(images), left_out, links, tuple(loops), identity)
        if identity is not None:
            self.listed[identity] = tree
        return tree


def build_tree(paths: Iterable[str]) -> FileTree:
    """The tree of the paths of an archive; each is split at `/`, as archives write them."""
    root = _Draft()
    for path in paths:
        *parents, name = split_path(path)
        at: _Draft | None = root
        for parent in parents:
            at = None if at is None else at.enter(parent)
        if at is not None:
            at.add(name)
    return root.finish()


class _Draft:
    """A folder of an archive while its files are read."""

    def __init__(self) -> None:
        self.folders: dict[str, _Draft] = {}
        self.images: set[str] = set()
        self.hidden: set[str] = set()
        self.left_out: Counter[str] = Counter()

    def enter(self, name: str) -> _Draft | None:
        if is_hidden(name):
            self.hidden.add(name)
            return None
        return self.folders.setdefault(name, _Draft())

    def add(self, name: str) -> None:
        if is_hidden(name):
            self.hidden.add(name)
        elif get_extension(name) in image_extensions():
            self.images.add(name)
        else:
            self.left_out[get_extension(name)] += 1

    def finish(self) -> FileTree:
        folders = {name: self.folders[name].finish() for name in sorted(self.folders)}
        if self.hidden:
            self.left_out[HIDDEN] = len(self.hidden)
        return FileTree(folders, tuple(sorted(self.images)), self.left_out)


def _list_entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise TrainingError(
            f"{path}: must be readable (got: {error.strerror}). Check its permissions."
        ) from error


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a chain of links without end
        return False
