"""Files: where shipped data lies, how a file is replaced, how a folder is held.

A name is looked up in this order: the user's own path, the data shipped inside the package
(`smt_nas/data/`), the top-level folders of a checkout. A wheel holds those two folders
(`search_spaces/`, `profiles/`) among the package's data.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

from smt_nas.errors import StoreError, UnknownName, one_line

_PACKAGE = Path(str(resources.files("smt_nas")))
_CHECKOUT = _PACKAGE.parent
_ENDING_S = 3.0
_ROOTS = (_PACKAGE / "data", *([_CHECKOUT] if (_CHECKOUT / "cli.py").is_file() else []))


def names(folder: str) -> list[str]:
    """Names of the YAML files shipped in `folder` (`"search_spaces"`, `"profiles"`), sorted."""
    return sorted({p.stem for root in _ROOTS for p in (root / folder).glob("*.yaml")})


def shipped(folder: str) -> Path:
    """A folder of the data that is part of the package, and not for users to edit."""
    return _ROOTS[0] / folder


def folders(folder: str) -> list[Path]:
    """Where the files of `folder` may lie: shipped with the package, and in a checkout."""
    return [root / folder for root in _ROOTS]


def find_yaml(folder: str, name_or_path: str | Path, kind: str) -> Path:
    """Resolve a shipped name or a user's path to a YAML file.

    Anything that ends in `.yaml`/`.yml`, or holds a path separator, is a path.

    Raises:
        UnknownName: no file of that name is shipped; `kind` is the noun used in the message.
    """
    text = str(name_or_path)
    if looks_like_path(text):
        return Path(text)
    for root in _ROOTS:
        path = root / folder / f"{text}.yaml"
        if path.is_file():
            return path
    raise UnknownName(kind, text, names(folder), "A path to your own .yaml works too.")


def looks_like_path(text: str) -> bool:
    """Tell a path from a plain name: a suffix of YAML or JSON, or a path separator."""
    return text.endswith((".yaml", ".yml", ".json")) or os.sep in text


def to_text(name: str) -> str:
    """A name that came from a file system or a command line, as text whatever the locale.

    Python keeps bytes that the locale's encoding lacks as lone surrogates, which no file, database
    or screen takes. Most are UTF-8, and become that; others read `\\xff`.
    """
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # surrogates that stand for no byte
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


def shell_word(path: Path | str) -> str:
    """A path as it is typed in a command: in quotes where a shell would read it otherwise."""
    return shlex.quote(to_text(str(path)))


@contextlib.contextmanager
def working_directory() -> Iterator[None]:
    """Let modules of the working directory be imported, as `python -m` does."""
    here = os.getcwd()
    if here in sys.path:
        yield
        return
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # the user's code may have removed it
            sys.path.remove(here)


def check_writable(path: Path | None, flag: str) -> None:
    """Find out before long work that a result could not be written after it.

    Raises:
        StoreError: the folder is not there, is read-only, or `path` is a folder.
    """
    if path is None:
        return
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        why = "is a folder" if path.is_dir() else f"{folder} cannot be written"
        raise StoreError(
            f"{flag} {path}: must be a file in a folder of yours ({why}). Name another."
        )


def make_folder(folder: Path, way_out: str) -> None:
    """Make a folder and those above it. Raises StoreError, with the way out of a refusal."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be made a folder ({error.strerror}). {way_out}"
        ) from error


@contextlib.contextmanager
def locked(folder: Path, way_out: str) -> Iterator[None]:
    """Hold a folder for writing, by its `.lock`; the lock goes with the process, however it ends.

    Args:
        folder: it is there.
        way_out: of a folder that cannot be written.

    Raises:
        StoreError: another process holds it, or it is read-only.
    """
    busy = f"{folder}: another process is working in it. Wait for it, or choose another --out."
    with hold_lock(folder / ".lock", folder, busy, way_out):
        yield


@contextlib.contextmanager
def hold_lock(file: Path, where: Path, busy: str, way_out: str) -> Iterator[None]:
    """Hold a lock file, which keeps nobody out once its process has ended.

    The workers of a process that was killed a moment ago are given time to end.

    Raises:
        StoreError: `busy`, where another process holds it; or `where` cannot be written.
    """
    import filelock

    lock = filelock.FileLock(file)
    try:
        lock.acquire(timeout=_ENDING_S)
    except filelock.Timeout as error:
        raise StoreError(busy) from error
    except OSError as error:
        raise unwritable(where, error, way_out) from error
    try:
        yield
    finally:
        lock.release()


def unwritable(where: Path, error: OSError, way_out: str) -> StoreError:
    """The error of a place that cannot be written."""
    return StoreError(
        f"{where}: cannot be written ({error.strerror or one_line(error)}). {way_out}"
    )


def append_synced(file: BinaryIO, content: bytes, sync: bool = True) -> None:
    """Add to a file; with `sync`, return once the disk has it. Raises OSError."""
    file.write(content)
    file.flush()
    if sync:
        os.fsync(file.fileno())


def cut_torn_line(path: Path) -> None:
    """Cut off what a crash left of the last line of a file. Raises OSError."""
    content = path.read_bytes()
    os.truncate(path, content.rfind(b"\n") + 1)


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever stands in its path: `?`, `#`, `%`, blanks, braces.

    Raises:
        StoreError: bytes that the locale's encoding lacks; no URL can hold them.
    """
    import sqlalchemy

    if to_text(str(path.resolve())) != str(path.resolve()):
        raise StoreError(
            f"{path}: must be a path that the locale's encoding can name (got other bytes). Use a "
            "UTF-8 locale, e.g. LC_ALL=C.UTF-8, or plain letters."
        )
    url = sqlalchemy.URL.create("sqlite", database=str(path.resolve()))
    return url.render_as_string(hide_password=False)


def check_same(
    where: str | Path, holds: str, old: Mapping[str, Any], new: Mapping[str, Any], way_out: str
) -> None:
    """Refuse to go on with what was begun with other settings.

    Args:
        where: of the error.
        holds: what is there, e.g. `holds a bench`.
        old: settings of what is there, by name.
        new: settings asked for.
        way_out: of a refusal.

    Raises:
        StoreError: names the first setting that differs.
    """
    for name in {**old, **new}:
        if old.get(name) != new.get(name):
            raise StoreError(
                f"{where}: {holds} with {name} {old.get(name)} (got {new.get(name)}). {way_out}"
            )


def write_atomic(path: Path, content: str | bytes) -> None:
    """Replace what is in `path`: temporary file beside it, fsync, rename.

    Either the old or the new content is there, whenever the process dies.

    Raises:
        StoreError: the disk is full, or the folder cannot be written; the old file is kept.
    """
    temporary = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(to_text(content).encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes 0600; results are for colleagues too
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        way_out = "Free some space or choose another folder; what was there before is kept."
        raise unwritable(path, error, way_out) from error
