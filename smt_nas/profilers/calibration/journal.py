"""`Journal`: raw samples of a calibration, one JSON line each, so that a killed one goes on.

Lines are only ever appended. A line that a crash tore is dropped when the file is opened again;
the first line says what is calibrated, and only the same calibration goes on with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from smt_nas.files import append_synced, hold_lock, unwritable
from smt_nas.profilers.calibration.schedule import Visit

_WAY_OUT = (
    "Free some space or choose another --out, and repeat the command: what was measured is kept."
)
_SYNC_EVERY = 16  # lines; a crash of the machine costs these, one of the process nothing


class JournalLine(BaseModel):
    """What one visit gave: a chain of parts or a network, and the reference beside it.

    Attributes:
        conditions: number of its conditions in the plan.
        network: row of the network; None of a chain.
        chain: numbers of the parts, (T,); None of a network.
        ms: of each part, or of the network.
        host_ms: to launch each part; None where there is no such time.
        interrupted: share of the samples that are CPU time.
        reference_ms: the reference network's time.
        seconds: of measuring until then, since the calibration began.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    conditions: int = Field(validation_alias="c", serialization_alias="c")
    network: int | None = Field(None, validation_alias="net", serialization_alias="net")
    chain: tuple[int, ...] | None = None
    ms: float | tuple[float, ...]
    host_ms: tuple[float, ...] | None = Field(
        None, validation_alias="host", serialization_alias="host"
    )
    interrupted: float = Field(validation_alias="off", serialization_alias="off")
    reference_ms: float = Field(validation_alias="ref", serialization_alias="ref")
    seconds: float = Field(validation_alias="t", serialization_alias="t")

    @property
    def visit(self) -> Visit:
        """What was visited."""
        return Visit(self.conditions, self.chain or (), self.network)

    @property
    def part_ms(self) -> tuple[float, ...]:
        """Times of the parts of a chain, (T,); empty of a network."""
        return self.ms if isinstance(self.ms, tuple) else ()

    @property
    def network_ms(self) -> float:
        """Time of a network."""
        assert isinstance(self.ms, float)
        return self.ms


class LoadLine(BaseModel):
    """What others did with the machine for a while.

    Attributes:
        shares: of the CPUs' time: used by others, stolen by a hypervisor; None where not known.
        seconds: as in `JournalLine`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    shares: tuple[float | None, float | None] = Field(
        validation_alias="load", serialization_alias="load"
    )
    seconds: float = Field(validation_alias="t", serialization_alias="t")


Line = JournalLine | LoadLine
_LINE: TypeAdapter[Line] = TypeAdapter(Line)


class Journal:
    """An open work file; it is locked. Made by `open_journal`.

    Attributes:
        path: the hidden work file.
        lines: what an earlier run left.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self.lines = list(_recover_lines(path, header))
        self._file = _open_file(path)
        self._written = 0
        if path.stat().st_size == 0:
            self._write(header)

    def append(self, line: Line) -> None:
        """Add a line.

        Raises:
            StoreError: it cannot be written; the lines before it are kept.
        """
        self._write(line.model_dump(mode="json", by_alias=True, exclude_none=True))

    def _write(self, values: Mapping[str, Any]) -> None:
        text = json.dumps(values, separators=(",", ":"), allow_nan=False) + "\n"
        try:
            self._written += 1
            append_synced(self._file, text.encode(), sync=self._written % _SYNC_EVERY == 0)
        except OSError as error:
            raise unwritable(self.path, error, _WAY_OUT) from error

    def remove(self) -> None:
        """Delete the work file: what it led to is written."""
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what is in it stays."""
        self._file.close()


@contextmanager
def open_journal(path: Path, header: Mapping[str, Any]) -> Iterator[Journal]:
    """Open or go on with a work file, for one process at a time.

    Raises:
        StoreError: another process has it, or the folder cannot be written.
    """
    file = path.with_name(f"{path.name}.lock")
    busy = (
        f"{path.parent}: another process runs this calibration (got a lock on {path.name}). "
        "Wait until it ends."
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error, _WAY_OUT) from error
    with hold_lock(file, path, busy, _WAY_OUT):
        try:
            journal = Journal(path, header)
            try:
                yield journal
            finally:
                journal.close()
        finally:
            file.unlink(missing_ok=True)  # before it is free: nobody else's then


def _recover_lines(path: Path, header: Mapping[str, Any]) -> Iterator[Line]:
    """Whole lines of a work file; what is torn or of another calibration is cut off."""
    if not path.exists():
        return
    kept, is_ours = 0, False
    with _open_file(path) as file:
        file.seek(0)
        for raw in file:
            values = _parse(raw)
            line = _as_line(values)
            if line is None if is_ours else values != json.loads(json.dumps(header)):
                break
            kept += len(raw)
            if line is not None:
                yield line
            is_ours = True
        file.truncate(kept)


def _parse(raw: bytes) -> Any:
    """What a line holds; None of a torn one."""
    if not raw.endswith(b"\n"):
        return None
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _as_line(values: Any) -> Line | None:
    try:
        return _LINE.validate_python(values)
    except ValidationError:
        return None


def _open_file(path: Path) -> BinaryIO:
    try:
        return path.open("a+b")
    except OSError as error:
        raise unwritable(path, error, _WAY_OUT) from error
