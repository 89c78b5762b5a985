"""Measured tables: `profiles/<device>.<space>.csv`, a time per part, and the evidence beside it.

The CSV holds one row per part and conditions. The `.json` of the same name says how the times were
taken, how whole networks follow from them, and how far off that was on networks no fit has seen.
"""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from smt_nas.conditions import Conditions
from smt_nas.costs.parts import Floats, PartIndex
from smt_nas.devices.block_table import DAY_TO_DAY, BlockTable
from smt_nas.devices.sheet import Sheet
from smt_nas.errors import ConfigError
from smt_nas.files import folders, write_atomic
from smt_nas.fingerprint import fingerprint
from smt_nas.space import SearchSpace
from smt_nas.space.editions import find_edition
from smt_nas.yaml import validated

if TYPE_CHECKING:
    from pandas import DataFrame

FOLDER = "profiles"
COLUMNS = (
    "batch",
    "precision",
    "mode",
    "threads",
    "part",
    "ms",
    "host_ms",
    "origin",
    "spread",
    "samples",
)
ORIGINS = ("measured", "fitted")
MAX_BYTES = 100_000_000
_LEAST_MS = 1e-7  # of a part
_DIGITS = 6  # significant, of a time: far more than can be measured
_AGAIN = "Run `smt-nas calibrate` again."
_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1)]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class NetworkTime(_Value):
    """A whole network: what was measured, and what the table says."""

    key: str
    macs: int
    measured_ms: _Positive
    predicted_ms: _Positive
    samples: int


class Calibration(_Value):
    """What was found under one set of conditions.

    Attributes:
        conditions: how everything was run.
        reference_ms: usual time of the reference network; all times are of that speed.
        swing: how far, in log, the machine's speed was from it 80 % of the time, at most.
        parts_measured, parts_fitted: how many of the space's parts.
        fit_error: mean error of the fit between shapes on parts held out of it; None: no fit.
        factor, fixed_ms: from the sum of the parts to a whole network.
        low, high: log of truth over prediction that bounds the interval.
        fitted_on: the networks that `factor` and `fixed_ms` are of.
        held_out: others, that no fit has seen.
        mape: mean absolute error on `held_out`, as a share; None where there is none.
        within_10: share of them that is at most 10 % off.
        spearman: rank correlation on them.
    """

    conditions: Conditions
    reference_ms: _Positive
    swing: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    parts_measured: int
    parts_fitted: int
    fit_error: _Finite | None
    factor: _Positive
    fixed_ms: _Finite
    low: _Finite
    high: _Finite
    fitted_on: tuple[NetworkTime, ...]
    held_out: tuple[NetworkTime, ...]
    mape: _Finite | None
    within_10: _Share | None
    spearman: _Finite | None


class Load(_Value):
    """What others did meanwhile; None where the system does not say.

    Attributes:
        foreign_median, foreign_max: share of the machine's CPU time used by others.
        steal_max: share that a hypervisor gave to others.
        windows: how often it was read.
        interrupted: share of samples that others interrupted, so that CPU time stands for wall
            time (one CPU thread only).
    """

    foreign_median: _Share | None
    foreign_max: _Share | None
    steal_max: _Share | None
    windows: int
    interrupted: _Share


class Evidence(_Value):
    """Where a table comes from, and how good it is.

    Attributes:
        device: key of the device's sheet; `device_name` is what its maker calls it.
        space, space_digest: whose parts they are.
        date: when it was finished, UTC.
        seconds: of measuring.
        complete: every part and network was measured as often as planned; else time was up.
        seed: of the schedule.
        versions: of what ran.
        load: what others did meanwhile.
        table: digest of the CSV.
        calibrations: one for each set of conditions.
    """

    schema_version: Literal[1] = Field(1, alias="schema")
    device: str
    device_name: str
    space: str
    space_digest: str
    date: str
    seconds: float
    complete: bool
    seed: int
    versions: dict[str, str]
    load: Load
    table: str = ""
    calibrations: Annotated[tuple[Calibration, ...], Field(min_length=1)]


@dataclass(frozen=True)
class PartTimes:
    """Times of the P parts of a space under one set of conditions, each (P,).

    Attributes:
        ms: on the device.
        host_ms: to launch; None where it is not told apart.
        measured: False where the time was fitted between shapes.
        spread: error of a fitted time, in log; 0 of a measured one.
        samples: visits that a measured time is the median of.
    """

    ms: Floats
    host_ms: Floats | None
    measured: NDArray[np.bool_]
    spread: Floats
    samples: NDArray[np.int64]


@dataclass(frozen=True)
class MeasuredTable:
    """A table and its evidence, for one edition of a space.

    Attributes:
        index: the space's parts.
        evidence: how it came about.
        times: of the parts, in the order of `evidence.calibrations`.
    """

    index: PartIndex
    evidence: Evidence
    times: tuple[PartTimes, ...]

    def block_table(self, conditions: Conditions) -> BlockTable | None:
        """The table under these conditions; None where it was not measured under them."""
        size = self.index.space.config.image_size
        if conditions.image_size == size:
            conditions = conditions.model_copy(update={"image_size": None})
        for calibration, times in zip(self.evidence.calibrations, self.times, strict=True):
            if calibration.conditions == conditions:
                return make_block_table(self.index, calibration, times)
        return None

    def frame(self) -> DataFrame:
        """One row per part and conditions, with the columns of the CSV."""
        import pandas as pd

        pairs = zip(self.evidence.calibrations, self.times, strict=True)
        frames = [self._frame(calibration.conditions, times) for calibration, times in pairs]
        return pd.concat(frames, ignore_index=True)

    def _frame(self, conditions: Conditions, times: PartTimes) -> DataFrame:
        import pandas as pd

        columns = {
            "batch": conditions.batch,
            "precision": conditions.precision,
            "mode": conditions.mode,
            "threads": pd.NA if conditions.threads is None else conditions.threads,
            "part": [str(part) for part in self.index.parts],
            "ms": times.ms,
            "host_ms": np.full(times.ms.shape, np.nan) if times.host_ms is None else times.host_ms,
            "origin": np.where(times.measured, *ORIGINS),
            "spread": times.spread,
            "samples": times.samples,
        }
        return pd.DataFrame(columns, columns=list(COLUMNS)).astype({"threads": "Int64"})


def make_block_table(index: PartIndex, calibration: Calibration, times: PartTimes) -> BlockTable:
    """Predict from times and the additivity that was found.

    The evidence knows the hours of the calibration; the interval is also of other days.
    """
    apart = DAY_TO_DAY["gpu" if calibration.conditions.threads is None else "cpu"]
    return BlockTable(
        index=index,
        conditions=calibration.conditions,
        ms=times.ms,
        host_ms=times.host_ms,
        spread=times.spread,
        factor=calibration.factor,
        fixed_ms=calibration.fixed_ms,
        low=-math.hypot(calibration.low, apart),
        high=math.hypot(calibration.high, apart),
        basis="table",
        notes=_notes(calibration),
    )


def _notes(calibration: Calibration) -> tuple[str, ...]:
    if calibration.mape is None:
        return ("the table was never checked on whole networks",)
    return ()


def table_path(folder: Path, device: str, space: SearchSpace) -> Path:
    """Where the CSV of a device and a space lies; the evidence is the `.json` beside it."""
    return folder / f"{device}.{space.name}.csv"


def write_table(path: Path, table: MeasuredTable) -> Evidence:
    """Write the CSV, then its evidence. Returns the evidence as written.

    Raises:
        StoreError: it cannot be written; what was there before is kept.
    """
    text = table.frame().to_csv(index=False, float_format=f"%.{_DIGITS}g", lineterminator="\n")
    evidence = table.evidence.model_copy(update={"table": _digest(text)})
    write_atomic(path, text)
    write_atomic(
        path.with_suffix(".json"), evidence.model_dump_json(indent=1, by_alias=True) + "\n"
    )
    return evidence


def find_device_table(sheet: Sheet, space: SearchSpace) -> MeasuredTable | None:
    """`find_table` by the key of a device, or one it was probed under before it had a sheet."""
    tables = [table for key in sheet.table_keys if (table := find_table(key, space))]
    own = (table for table in tables if table.index.space.digest == space.digest)
    return next(own, tables[0] if tables else None)


def find_table(device: str, space: SearchSpace) -> MeasuredTable | None:
    """The table of a device for a space: in `./profiles`, else shipped; None: there is none.

    Where there is none, that of another edition of the space which holds parts of it. A table for
    any other space of the same name is none for this one.

    Raises:
        ConfigError: there is one, but it cannot be used.
    """
    others = []
    for folder in (Path(FOLDER), *folders(FOLDER)):
        path = table_path(folder, device, space)
        if path.is_file():
            digest = _read_evidence(path).space_digest
            if digest == space.digest:
                return load_table(path, space)
            others.append((path, find_edition(space.name, digest)))
    parts = set(PartIndex.of(space).parts) if others else set()
    for path, edition in others:
        if edition is not None and not parts.isdisjoint(PartIndex.of(edition).parts):
            return load_table(path, edition)
    return None


def load_table(path: Path, space: SearchSpace) -> MeasuredTable:
    """Read a table.

    Raises:
        ConfigError: a file is missing or damaged, or it is of another space; in one line.
    """
    evidence = _read_evidence(path)
    if evidence.space_digest != space.digest:
        raise ConfigError(
            f"{path}: must be of space {space.name} as it is now (got digest "
            f"{evidence.space_digest}, not {space.digest}). {_AGAIN}"
        )
    index, text = PartIndex.of(space), _read_text(path)
    rows = _read_rows(path, text)
    times = tuple(
        _read_times(path, index, c.conditions, rows.pop(_key(c.conditions), {}))
        for c in evidence.calibrations
    )
    if rows or _digest(text) != evidence.table:
        raise ConfigError(
            f"{path}: must be as its evidence was taken on it (got a change). {_AGAIN}"
        )
    return MeasuredTable(index, evidence, times)


def _key(conditions: Conditions) -> tuple[str, ...]:
    """The first four cells of a row."""
    c = conditions
    return str(c.batch), c.precision, c.mode, "" if c.threads is None else str(c.threads)


def _read_rows(path: Path, text: str) -> dict[tuple[str, ...], dict[str, dict[str, str]]]:
    """Cells by conditions and part."""
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        got = ",".join(reader.fieldnames or ()) or "nothing"
        raise ConfigError(
            f"{path}: the first line must be {','.join(COLUMNS)} (got {got}). {_AGAIN}"
        )
    rows: dict[tuple[str, ...], dict[str, dict[str, str]]] = {}
    for row in reader:
        where = f"{path} line {reader.line_num}"
        if None in row or None in row.values():
            raise ConfigError(f"{where}: must hold {len(COLUMNS)} cells. {_AGAIN}")
        parts = rows.setdefault(tuple(row[c] for c in COLUMNS[:4]), {})
        if row["part"] in parts:
            raise ConfigError(f"{where}: part {row['part']!r} stands twice. {_AGAIN}")
        parts[row["part"]] = row
    return rows


def _read_times(
    path: Path, index: PartIndex, conditions: Conditions, rows: dict[str, dict[str, str]]
) -> PartTimes:
    """Times of one set of conditions, in the order of the index."""
    where = f"{path} ({conditions})"
    names = [str(part) for part in index.parts]
    for name in (*names, *rows):
        if name not in rows or len(rows) > len(names):
            raise ConfigError(
                f"{where}: must hold each part of the space ({name!r} is wrong). {_AGAIN}"
            )

    def column(name: str, least: float) -> Floats:
        return np.array([_read_number(where, name, rows[part], least) for part in names])

    hosted = any(row["host_ms"] for row in rows.values())
    origins = [rows[name]["origin"] for name in names]
    if not set(origins) <= set(ORIGINS):
        raise ConfigError(f"{where}: origin must be one of {', '.join(ORIGINS)}. {_AGAIN}")
    return PartTimes(
        ms=column("ms", _LEAST_MS),
        host_ms=column("host_ms", 0.0) if hosted else None,
        measured=np.array([origin == ORIGINS[0] for origin in origins]),
        spread=column("spread", 0.0),
        samples=column("samples", 0.0).astype(np.int64),
    )


def _read_number(where: str, column: str, row: dict[str, str], least: float) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:  # also where it is NaN
        raise ConfigError(
            f"{where}: {column} of {row['part']!r} must be a number of at least {least:g} "
            f"(got {row[column]!r}). {_AGAIN}"
        )
    return value


def _read_evidence(path: Path) -> Evidence:
    """The evidence beside a CSV."""
    beside = path.with_suffix(".json")
    try:
        content = json.loads(_read_text(beside))
    except ValueError as error:
        raise ConfigError(f"{beside}: is not valid JSON ({error}). {_AGAIN}") from error
    return validated(Evidence, content, str(beside))


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: is too large to be a table of parts. {_AGAIN}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). {_AGAIN}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: must be UTF-8 text. {_AGAIN}") from error


def _digest(text: str) -> str:
    """12 hex digits of a CSV, whatever its line ends."""
    return fingerprint("\n".join(text.splitlines()))
