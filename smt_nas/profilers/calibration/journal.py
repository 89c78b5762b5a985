"""`Journal`: raw samples of a calibration, one JSON line each, so that a killed one goes on.

Lines are only ever appended. A line that a crash tore is dropped when the file is opened again;
the first line says what is calibrated, and only the same calibration goes on with it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import filelock

from smt_nas.errors import StoreError

Line = dict[str, Any]
_SYNC_EVERY = 16  # lines; a crash of the machine costs these, one of the process nothing


class Journal:
    """An open work file; it is locked. Made by `open_journal`.

    Attributes:
        path: the hidden work file.
        lines: what an earlier run left, without the header.
    """

    def __init__(self, path: Path, header: Line) -> None:
        self.path = path
        self.lines = list(_recovered(path, header))
        self._file = _opened(path)
        self._unsynced = 0
        if path.stat().st_size == 0:
            self.append(header)

    def append(self, line: Line) -> None:
        """Add a line.

        Raises:
            StoreError: it cannot be written; the lines before it are kept.
        """
        text = json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n"
        try:
            self._file.write(text.encode())
            self._file.flush()
            self._unsynced += 1
            if self._unsynced >= _SYNC_EVERY:
                os.fsync(self._file.fileno())
                self._unsynced = 0
        except OSError as error:
            raise _unwritable(self.path, error) from error

    def remove(self) -> None:
        """Delete the work file: what it led to is written."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what is in it stays."""
        self._file.close()


@contextmanager
def open_journal(path: Path, header: Line) -> Iterator[Journal]:
    """Open or go on with a work file, for one process at a time.

    Raises:
        StoreError: another process has it, or the folder cannot be written.
    """
    lock = filelock.FileLock(f"{path}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise StoreError(
            f"{path.parent}: another process runs this calibration (got a lock on {path.name}). "
            "Wait until it ends."
        ) from error
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        opened = Journal(path, header)
        try:
            yield opened
        finally:
            opened.close()
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)  # before it is free: nobody else's then
        lock.release()


def _recovered(path: Path, header: Line) -> Iterator[Line]:
    """Whole lines of a work file; what is torn or of another calibration is cut off."""
    if not path.exists():
        return
    kept, known = 0, False
    with _opened(path) as file:
        file.seek(0)
        for raw in file:
            line = _parsed(raw)
            if line is None or (not known and line != json.loads(json.dumps(header))):
                break
            kept += len(raw)
            if known:
                yield line
            known = True
        file.truncate(kept)


def _parsed(raw: bytes) -> Line | None:
    if not raw.endswith(b"\n"):
        return None
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("a+b")
    except OSError as error:
        raise _unwritable(path, error) from error


def _unwritable(path: Path, error: OSError) -> StoreError:
    return StoreError(
        f"{path}: cannot be written ({error.strerror}). Free some space or choose another --out, "
        "and repeat the command: what was measured is kept."
    )
