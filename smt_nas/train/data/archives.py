"""Images in tar archives: a folder inside for each class, or an archive.

PATH.tar                            with train/CLASS, val/CLASS, test/CLASS inside, or with CLASS
PATH/train.tar  PATH/val.tar  PATH/test.tar     or folders of archives of these names
PATH/*.tar                          all of them are for training

timm's reader lists such archives too, but only their .jpg and .png, hidden ones included, and
without a word on the rest.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smt_nas.errors import TrainingError, list_names, one_line
from smt_nas.fingerprint import fingerprint
from smt_nas.train.data.class_order import order_classes
from smt_nas.train.data.examples import IntArray, Source, decode_image
from smt_nas.train.data.file_tree import (
    build_tree,
    is_hidden,
    join_path,
    remark_left_out,
    split_path,
)
from smt_nas.train.data.folders import check_folder, make_source
from smt_nas.train.data.layout import SplitFolder, read_layout
from smt_nas.train.data.split_names import Split, is_filler, parse_split

_Member = tuple[str, int, int, str]  # archive, first byte, bytes, path inside
_CUT_OFF = ("unexpected end of data", "truncated header")  # as tarfile says where it sees it
_LabelledMember = tuple[_Member, str]  # with the name of its class


class TarExamples:
    """Images in archives that are not compressed.

    A file is opened anew for each image, so that no two processes share a position in one.

    Args:
        members: where the images are, n of them.
        labels: (n,).
    """

    def __init__(self, members: Sequence[_Member], labels: IntArray) -> None:
        self.labels = labels
        self.archives = sorted({member[0] for member in members})
        numbers = {archive: i for i, archive in enumerate(self.archives)}
        self.places = np.array([(numbers[a], start, n) for a, start, n, _ in members], np.int64)
        self.paths = np.array([path for *_, path in members])

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, i: int) -> Image.Image:
        """See `Examples`."""
        archive, start, size = self.places[i].tolist()
        with open(self.archives[archive], "rb") as file:
            file.seek(start)
            return decode_image(io.BytesIO(file.read(size)))

    def name(self, i: int) -> str:
        """See `Examples`."""
        return f"{self.archives[self.places[i, 0]]}:{self.paths[i]}"

    def version(self) -> str | None:
        """See `Versioned`."""
        try:
            stats = [os.stat(archive) for archive in self.archives]
        except OSError:
            return None
        stamps = [(a, s.st_size, s.st_mtime_ns) for a, s in zip(self.archives, stats, strict=True)]
        return fingerprint(str(stamps).encode() + self.places.tobytes() + self.labels.tobytes())


def load_tar(spec: str, place: str) -> Source:
    """Find the images of an archive, or of a folder of archives; each is read through once.

    The class of an image is the folder it lies in, or the archive where it lies in none. Splits are
    found as among folders on disk, by the names of folders and archives.

    Args:
        spec: as the user wrote it, `tar:PATH`.
        place: the path.

    Raises:
        TrainingError: there is no such archive, or its layout is another.
    """
    path = Path(place).expanduser()
    if not path.is_file():
        check_folder(path)
    archives = _find_archives(path)
    listing = _Listing()
    for stem, archive in archives.items():
        listing.read(archive, stem)
    tree = build_tree(listing.names)
    if not tree.count:
        raise TrainingError(
            f"{path}: must be .tar files with images (got none). Pack them anew, without "
            "compression."
        )
    layout = read_layout(str(path), tree)
    classes: tuple[str, ...] = ()
    examples, remarks = dict[Split, TarExamples](), list(layout.remarks)
    for split, folder in layout.splits.items():
        members = _list_members(path, folder, listing)
        if not classes:
            classes = _name_classes(path, members)
        examples[split] = _label_members(path, split, members, classes, next(iter(layout.splits)))
        remarks += _remark_left_out(path, folder)
    return make_source(spec, classes, examples, [*remarks, *listing.remark_links(path)])


def _find_archives(path: Path) -> dict[str, Path]:
    """Archives by what stands before the paths in them: nothing, or their names without `.tar`."""
    if path.is_file():
        if path.suffix.lower() != ".tar":
            raise TrainingError(f"{path}: must end in .tar (got {path.suffix!r}). Unpack it.")
        return {"": path}
    archives = {}
    for entry in sorted(p for p in path.iterdir() if not is_hidden(p.name)):
        inside = sorted(entry.iterdir()) if entry.is_dir() else [entry]
        for archive in inside:
            if archive.suffix.lower() == ".tar" and not is_hidden(archive.name):
                archives[str(archive.relative_to(path).with_suffix(""))] = archive
    if not archives:
        raise TrainingError(f"{path}: must hold .tar files (got none). Name another folder.")
    top = {stem: archive for stem, archive in archives.items() if archive.parent == path}
    by_split = any(parse_split(Path(stem).parts[0]) is not None for stem in archives)
    return archives if by_split or not top else top


class _Listing:
    """What is in archives, by path from the folder they lie in.

    Attributes:
        names: of all files, images or not.
        members: where each lies: archive, first byte, bytes, path in it.
        links: of them, left out.
    """

    def __init__(self) -> None:
        self.names: list[str] = []
        self.members: dict[str, _Member] = {}
        self.links = 0

    def read(self, archive: Path, stem: str) -> None:
        """Add an archive's files, those of archives in it too.

        Raises:
            TrainingError: it is damaged, compressed or something else.
        """
        try:
            with tarfile.open(archive, "r:") as tar:
                self._add(tar, str(archive), stem, 0, "")
        except (OSError, ValueError, tarfile.TarError) as error:
            if any(words in str(error) for words in _CUT_OFF):
                raise _cut_off_error(str(archive)) from error
            raise TrainingError(
                f"{archive}: must be .tar files with images (got: {one_line(error)}). Pack them "
                "anew, without compression."
            ) from error

    def _add(self, tar: tarfile.TarFile, archive: str, stem: str, offset: int, prefix: str) -> None:
        for info in tar:
            if info.issym() or info.islnk():
                self.links += 1
            parts = split_path(info.name)
            if not info.isfile() or not parts:
                continue
            name = "/".join((*split_path(stem), *parts))
            start = offset + info.offset_data
            if name.lower().endswith(".tar") and not any(map(is_hidden, parts)):
                with tarfile.open(fileobj=tar.extractfile(info), mode="r:") as inner:
                    self._add(inner, archive, name[: -len(".tar")], start, f"{info.name}:")
                continue
            if name.lower().endswith(".cls"):
                raise TrainingError(
                    f"{archive}: classes must be folders (got labels in files, {name}). Sort the "
                    "images into class folders."
                )
            self.names.append(name)
            self.members[name] = (archive, start, info.size, f"{prefix}{info.name}")
        _check_end(tar, archive)

    def remark_links(self, path: Path) -> list[str]:
        """A line on what was left out."""
        if not self.links:
            return []
        return [f"{path}: not read, as they are links inside an archive: {self.links}."]


def _check_end(tar: tarfile.TarFile, archive: str) -> None:
    """Refuse an archive that was cut off; tarfile reads what is there and says nothing.

    Each ends in blocks of zeros (POSIX pax, "ustar Interchange Format"), after its last file.
    """
    file = tar.fileobj
    assert file is not None
    file.seek(tar.offset)  # where the next header would be
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or block.strip(tarfile.NUL):
        raise _cut_off_error(archive)


def _cut_off_error(archive: str) -> TrainingError:
    return TrainingError(
        f"{archive}: must be whole (got an archive that was cut off). Copy or pack it anew."
    )


def _list_members(path: Path, split: SplitFolder, listing: _Listing) -> list[_LabelledMember]:
    """Images of a split with the names of their classes, sorted by archive and path."""
    members: list[_LabelledMember] = []
    for place, inside in split.tree.walk(split.path):
        for image in inside.images:
            if place == split.path and not split.tree.class_folders:
                where = f"{path}/{place}" if place else str(path)
                raise TrainingError(
                    f"{where}: images must lie in class folders (got {image}). Pack the folders, "
                    "not their images."
                )
            if place == split.path:
                continue  # beside class folders, see `remark_left_out`
            member = listing.members[join_path(place, image)]
            members.append((member, _name_class(place, split.path)))
    return sorted(members, key=lambda member: (member[0][0], member[0][3]))


def _name_class(place: str, split: str) -> str:
    """The folder that an image lies in, or the one above where it says nothing: n01/images."""
    folder, inside = place, len(split_path(split)) + 1
    while is_filler(folder.rpartition("/")[2]) and len(split_path(folder)) > inside:
        folder = folder.rpartition("/")[0]
    return folder.rpartition("/")[2]


def _name_classes(path: Path, members: Sequence[_LabelledMember]) -> tuple[str, ...]:
    classes = order_classes({name for _, name in members})
    if len(classes) < 2:
        raise TrainingError(
            f"{path}: must hold images of two or more classes (got {len(classes)}). Put a folder "
            "per class into the archive."
        )
    return classes


def _label_members(
    path: Path,
    split: Split,
    members: Sequence[_LabelledMember],
    classes: tuple[str, ...],
    first: Split,
) -> TarExamples:
    unknown = sorted({name for _, name in members} - set(classes))
    if unknown:
        raise TrainingError(
            f"{path}: {split} must hold the classes of {first} (got also {list_names(unknown)}). "
            "Rename the folders."
        )
    numbers = {name: i for i, name in enumerate(classes)}
    labels = np.array([numbers[name] for _, name in members], np.int64)
    return TarExamples([member for member, _ in members], labels)


def _remark_left_out(path: Path, split: SplitFolder) -> list[str]:
    where = f"{path}/{split.path}" if split.path else str(path)
    return remark_left_out(where, split.tree)
