"""Images in tar archives, listed by timm's reader: a folder inside for each class, or an archive.

PATH.tar                            all of it is for training
PATH/train.tar  PATH/val.tar  PATH/test.tar     or folders of archives of these names
PATH/*.tar                          all of them are for training
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from smt_nas.errors import TrainingError, list_names, one_line
from smt_nas.runtime.torchvision_ops import import_timm
from smt_nas.train.data.examples import IntArray, Source, decode_image
from smt_nas.train.data.folders import check_folder, find_splits, make_source

_Member = tuple[str, int, int, str, str]  # archive, first byte, bytes, path inside, class


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
        self.places = np.array([(numbers[a], start, n) for a, start, n, _, _ in members], np.int64)
        self.paths = np.array([path for *_, path, _ in members])

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


def load_tar(spec: str, place: str) -> Source:
    """Find the images of an archive, or of a folder of archives; each is read through once.

    Args:
        spec: as the user wrote it, `tar:PATH`.
        place: the path.

    Raises:
        TrainingError: there is no such archive, or its layout is another.
    """
    path = Path(place).expanduser()
    if path.is_file():
        members = {"train": _list_members(path)}
    else:
        check_folder(path)
        inside = {p.name.removesuffix(".tar"): p for p in _find_archives(path)}
        places = find_splits(path, inside)
        members = {split: _list_members(inside.get(name, path)) for split, name in places.items()}
    first = "train" if "train" in members else next(iter(members))
    classes = sorted({member[-1] for member in members[first]})
    if len(classes) < 2:
        raise TrainingError(
            f"{path}: must hold images of two or more classes (got {len(classes)}). Put a folder "
            "per class into the archive."
        )
    numbers = {name: i for i, name in enumerate(classes)}
    examples = {}
    for split, images in members.items():
        unknown = sorted({member[-1] for member in images} - set(classes))
        if unknown:
            raise TrainingError(
                f"{path}: {split} must hold the classes of {first} (got also "
                f"{list_names(unknown)}). Rename the folders."
            )
        labels = np.array([numbers[member[-1]] for member in images], np.int64)
        examples[split] = TarExamples(images, labels)
    return make_source(spec, classes, examples)


def _find_archives(folder: Path) -> Iterator[Path]:
    """Archives in a folder, and folders that hold some."""
    for path in folder.iterdir():
        if path.suffix == ".tar" or (path.is_dir() and any(path.glob("*.tar"))):
            yield path


def _list_members(path: Path) -> list[_Member]:
    """Where the images of an archive, or of a folder of archives, are; sorted."""
    if path.is_file() and path.suffix != ".tar":
        raise TrainingError(f"{path}: must end in .tar (got {path.suffix!r}). Unpack it.")
    if path.is_dir() and not any(path.glob("*.tar")):
        raise TrainingError(f"{path}: must hold .tar files (got none). Name another folder.")
    import_timm()
    from timm.data.readers.reader_image_in_tar import ReaderImageInTar

    try:  # without its cache, which is a file written beside the user's
        reader = ReaderImageInTar(str(path), cache_tarinfo=False)
    except (OSError, ValueError, AssertionError, tarfile.TarError) as error:
        raise TrainingError(
            f"{path}: must be .tar files with images (got: {one_line(error)}). Pack them anew, "
            "without compression."
        ) from error
    members: list[_Member] = []
    for (member, archive, parent), target in zip(reader.samples, reader.targets, strict=True):
        file = path if archive is None else path / archive
        start = member.offset_data + (0 if parent is None else parent.offset_data)
        name = member.name if parent is None else f"{parent.name}:{member.name}"
        label = reader.class_idx_to_name[int(target)]
        members.append((str(file), start, member.size, name, label))
    if not all(label for *_, label in members):
        raise TrainingError(
            f"{path}: images must lie in class folders (got {members[0][3]}). Pack the folders, "
            "not their images."
        )
    return sorted(members, key=lambda member: (member[0], member[3]))
