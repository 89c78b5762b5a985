"""Files of an export are there once they were checked, or not at all.

They are written into a hidden folder beside the target, and renamed, the one that users open last.
A full disk leaves nothing; a kill at most that folder, which the next export to there removes, and,
in the moment of renaming, some of several files.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from smt_nas.errors import StoreError
from smt_nas.files import locked, unwritable
from smt_nas.runtime.file_facts import MANIFEST_SUFFIX, list_exported

_WAY_OUT = "Free some space or choose another --out; what was there before is kept."
_FILES = "files"  # in the hidden folder: what is written
_OLD = "old"  # in that: what is replaced, which a kill must not lose
_LITTLE = 1 << 20  # bytes: a disk with less is full, whatever a library calls it


@dataclass(frozen=True)
class Target:
    """Where an export goes.

    Attributes:
        path: the file that a user opens, or the folder of the files.
        name: of the network, and of the files without their suffixes.
        is_folder: `path` is a folder.
        makes_parent: the folder that `path` is in is made where it is not there.
    """

    path: Path
    name: str
    is_folder: bool = False
    makes_parent: bool = False

    @property
    def manifest(self) -> Path:
        """Where its manifest stands."""
        if self.is_folder:
            return self.path / f"{self.name}{MANIFEST_SUFFIX}"
        return self.path.with_name(f"{self.path.name}{MANIFEST_SUFFIX}")


def check_target(target: Target, force: bool) -> None:
    """Refuse what stands where an export is to be written.

    Args:
        target: where.
        force: it may be replaced; a folder only where exports wrote all that is in it.

    Raises:
        StoreError: it is there, is of the other kind, or its folder is not there.
    """
    if target.is_folder:
        _check_folder(target.path, force)
        return
    if target.path.is_dir() and not target.manifest.is_file():  # no package of Core ML
        raise StoreError(
            f"{target.path}: cannot be written (Is a directory). Name a file as --out."
        )
    for path in (target.path, target.manifest):
        _check_file(path, force)
    if not target.makes_parent and not target.path.parent.is_dir():
        raise StoreError(
            f"{target.path}: must be in a folder that is there (got none). Make "
            f"{target.path.parent}, or choose another --out."
        )


@contextlib.contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """An empty folder in a hidden one beside the target, which is gone afterwards.

    Its lock tells it from one that a kill left: the lock goes with the process.

    Raises:
        StoreError: the disk is full, or the folder of the target cannot be written.
    """
    staging: Path | None = None
    try:
        _remove_orphans(target)
        staging = Path(tempfile.mkdtemp(dir=target.parent, prefix=_hidden_name(target)))
        with locked(staging, _WAY_OUT):
            files = staging / _FILES
            files.mkdir()
            yield files
    except OSError as error:
        raise unwritable(target, error, _WAY_OUT) from error
    except Exception as error:
        if staging is not None and shutil.disk_usage(staging).free < _LITTLE:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            raise unwritable(target, full, _WAY_OUT) from error
        raise
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _hidden_name(target: Path) -> str:
    """What the names of its hidden folders begin with."""
    return f".{target.name}.export-"


def _remove_orphans(target: Path) -> None:
    """Remove what exports to here left that were killed; one that still runs holds its lock."""
    import filelock

    for folder in target.parent.glob(f"{glob.escape(_hidden_name(target))}*"):
        lock, files = folder / ".lock", folder / _FILES
        if not (lock.is_file() and files.is_dir()) or (files / _OLD).exists():
            continue
        with contextlib.suppress(OSError), filelock.FileLock(lock, timeout=0):
            shutil.rmtree(folder, ignore_errors=True)


def publish(files: Sequence[Path], target: Target, force: bool) -> tuple[Path, ...]:
    """Rename what was staged to where it belongs.

    Args:
        files: the first is the one that a user opens; of a folder, what stands in it.
        target: where.
        force: what is there may be replaced.

    Returns: where they are now, in the same order.

    Raises:
        StoreError: something came to stand there meanwhile.
        OSError: it cannot be renamed.
    """
    for path in files:
        _finish(path)
    check_target(target, force)
    if target.is_folder:
        return _fill_folder(files, target.path)
    places = (target.path, *(target.path.parent / path.name for path in files[1:]))
    for place in places:
        _check_file(place, force)
    for path, place in reversed(list(zip(files, places, strict=True))):
        _replace(path, place)  # the one that users open comes last
    return places


def _replace(path: Path, place: Path) -> None:
    """Rename over what is there: a file over a file, a package of Core ML over a package."""
    if not (path.is_dir() and place.is_dir()):
        os.replace(path, place)
        return
    old = path.with_name("old")
    os.rename(place, old)
    try:
        os.rename(path, place)
    except BaseException:
        os.rename(old, place)
        raise


def _check_file(path: Path, force: bool) -> None:
    if (path.exists() or path.is_symlink()) and not force:
        raise StoreError(
            f"{path}: must not be there yet (got a file). Replace it with --force, or choose "
            "another --out."
        )


def _check_folder(folder: Path, force: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StoreError(f"{folder}: must be a folder (got a file). Name another as --out.")
    names = {path.name for path in folder.iterdir()}
    others = sorted(names - list_exported(folder))
    if others:
        raise StoreError(
            f"{folder}: must be new, empty or of an export alone (got a folder of other files, "
            f"e.g. {others[0]}). Choose another --out."
        )
    if names and not force:
        raise StoreError(
            f"{folder}: must not be there yet (got an export). Replace it with --force, or choose "
            "another --out."
        )


def _fill_folder(files: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """A new folder appears at once; an old one is emptied first, and as it was on an error."""
    staging = files[0].parent
    places = tuple(folder / path.name for path in files)
    if not folder.exists():
        new = staging / "new"
        new.mkdir(mode=0o755)
        _move(files, new)
        os.rename(new, folder)
        return places
    old = staging / _OLD
    old.mkdir()
    try:
        _move(list(folder.iterdir()), old)
        _move(files, folder)
    except BaseException:  # an interrupt too: what is staged goes
        _move([p for f, p in zip(files, places, strict=True) if not f.exists()], staging)
        _move(list(old.iterdir()), folder)
        raise
    return places


def _move(paths: Sequence[Path], folder: Path) -> None:
    for path in paths:
        os.rename(path, folder / path.name)


def _finish(path: Path) -> None:
    """On the disk, and readable by colleagues."""
    path.chmod(0o755 if path.is_dir() else 0o644)
    if path.is_dir():
        for inner in path.iterdir():
            _finish(inner)
        return
    with path.open("rb") as file:
        os.fsync(file.fileno())
