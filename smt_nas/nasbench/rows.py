"""The rows of a bench's table: one training each, written and read.

Rows say their network in the words of the search space's YAML, so they need no space to be read,
and networks outside any space can stand among them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError, StoreError
from smt_nas.nasbench.encoding import ADDED_GENES, GENES, Input, decode_arch, encode_arch

if TYPE_CHECKING:
    import pandas

COSTS = ("macs", "params", "attention_macs", "activations")
FIGURES = ("val_top1", "val_loss", "test_top1", "test_loss", "train_loss", "seconds")
_KNOWN_COLUMNS = (
    *("key", "group", "seed", "epochs", *FIGURES, *COSTS),
    *(*GENES, *ADDED_GENES),
    *("device", "versions"),
)
_ADDED = {"epochs": "", **ADDED_GENES}
"""Columns that were added later and stand in some tables, with the cell that their lack means."""
COLUMNS = tuple(column for column in _KNOWN_COLUMNS if column not in _ADDED)
"""The columns that every table has."""
SHARES = ("val_top1", "test_top1")
_TEXT = ("key", "group", "kernels", "stacking", "device", "versions")
REQUIRED = ("val_top1", "val_loss", "seconds")  # figures that every row must have


@dataclass(frozen=True)
class BenchRow:
    """One training.

    Attributes:
        arch: the network.
        group: why it was trained; see `plan.PlannedNetwork`.
        seed: of the training.
        figures: of FIGURES, those that are there; accuracies are shares in 0..1, the seconds are
            of the training alone.
        device: where.
        versions: of libraries.
        epochs: of the training; None for those of the bench's recipe.
    """

    arch: Architecture
    group: str
    seed: int
    figures: Mapping[str, float]
    device: str
    versions: str
    epochs: int | None = None

    def to_cells(self) -> dict[str, str]:
        """The row as text, by all columns that a table may have."""
        cost = costs.of(self.arch).as_dict()
        return {
            "key": self.arch.key,
            "group": self.group,
            "seed": str(self.seed),
            "epochs": "" if self.epochs is None else str(self.epochs),
            **{name: _format_number(self.figures.get(name)) for name in FIGURES},
            **{name: str(int(cost[name])) for name in COSTS},
            **encode_arch(self.arch),
            "device": self.device,
            "versions": self.versions,
        }


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def read_rows(path: Path, common: Input, epochs: int | None = None) -> Iterator[BenchRow]:
    """Rows of a table.

    Args:
        path: of the table.
        common: what its networks share.
        epochs: of the bench's recipe.

    Raises:
        StoreError: it cannot be read.
        ConfigError: a column is missing, a value cannot be, or a training stands twice; says where.
    """
    table = _read_table(path)
    missing = [c for c in COLUMNS if c not in table.columns]
    if missing:
        raise ConfigError(
            f"{path}: must have the columns of a bench (got none called {', '.join(missing[:4])}"
            f"{' and others' if len(missing) > 4 else ''}). Restore it, or build one anew."
        )
    seen = set[tuple[str, int, int | None]]()
    table = table[[column for column in _KNOWN_COLUMNS if column in table.columns]]
    for number, cells in enumerate(table.to_dict("records"), 2):
        row = _parse_row({str(k): v for k, v in cells.items()}, common, f"{path}, line {number}")
        training = (row.arch.key, row.seed, row.epochs or epochs)
        if training in seen:
            of = "" if row.epochs is None else f" and {row.epochs} epochs"
            raise ConfigError(
                f"{path}, line {number}: every training must stand there once (got {row.arch.key} "
                f"with seed {row.seed}{of} again). Drop the row."
            )
        seen.add(training)
        yield row


def _read_table(path: Path) -> pandas.DataFrame:
    """All cells of a CSV as text, empty where there is none."""
    import pandas

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read ({error}). Restore it from a copy.") from error
    try:
        return pandas.read_csv(io.StringIO(text), dtype=str, na_filter=False)
    except pandas.errors.EmptyDataError:
        return pandas.DataFrame()
    except pandas.errors.ParserError as error:
        reason = str(error).rpartition("C error: ")[2].strip()
        raise ConfigError(
            f"{path}: each line must be a line of a table (got: {reason}). Restore it from a copy."
        ) from error


def _parse_row(cells: Mapping[str, str], common: Input, where: str) -> BenchRow:
    figures = {name: _parse_figure(cells[name], name, where) for name in FIGURES if cells[name]}
    lacking = [name for name in REQUIRED if name not in figures]
    if lacking:
        raise ConfigError(f"{where}: must have a number for {lacking[0]} (got none). Drop the row.")
    wrong = [name for name in SHARES if not 0 <= figures.get(name, 0.0) <= 1]
    if wrong:
        raise ConfigError(
            f"{where}: {wrong[0]} must be a share, 0 to 1 (got {figures[wrong[0]]:g}). Mend the "
            "row, or drop it."
        )
    try:
        arch = decode_arch(cells, common)
        seed = int(cells["seed"])
        epochs = int(cells["epochs"]) if cells.get("epochs") else None
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{where}: must be a network (got: {error}). Drop the row.") from error
    if arch.key != cells["key"]:
        raise ConfigError(
            f"{where}: its key must be that of its network, {arch.key} (got {cells['key']}). It is "
            "of another version, or was edited: build it anew."
        )
    cost = costs.of(arch)
    for name in ("macs", "params"):
        if cells[name] != str(getattr(cost, name)):
            raise ConfigError(
                f"{where}: {name} must be those of its network, {getattr(cost, name)} (got "
                f"{cells[name]}). Drop the row."
            )
    if epochs is not None and epochs < 1:
        raise ConfigError(f"{where}: epochs must be 1 or more (got {epochs}). Drop the row.")
    words = (cells["device"], cells["versions"])
    return BenchRow(arch, cells["group"], seed, figures, *words, epochs)


def _parse_figure(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: {name} must be a finite number (got {text}). Drop the row.")
    return value


def used_columns(rows: Sequence[BenchRow]) -> tuple[str, ...]:
    """COLUMNS, and those added later whose cells are needed for some row."""
    used = set(COLUMNS)
    for cells in (row.to_cells() for row in rows):
        used |= {c for c, default in _ADDED.items() if cells[c] not in ("", default)}
    return tuple(column for column in _KNOWN_COLUMNS if column in used)


def format_csv(
    rows: Sequence[BenchRow], header: bool = True, columns: Sequence[str] | None = None
) -> str:
    """Rows as text of the table; `columns` of a table that is there, else those that are used."""
    import pandas

    names = list(used_columns(rows) if columns is None else columns)
    table = pandas.DataFrame([row.to_cells() for row in rows], columns=names)
    return table.to_csv(index=False, header=header, lineterminator="\n")


def widen_csv(path: Path, columns: Sequence[str]) -> str:
    """The text of a table with columns that were added later, as if its rows had had them."""
    table = _read_table(path)
    for column in columns:
        table[column] = _ADDED[column]
    names = [column for column in _KNOWN_COLUMNS if column in table.columns]
    return table[names].to_csv(index=False, lineterminator="\n")


def to_frame(rows: Sequence[BenchRow]) -> pandas.DataFrame:
    """Rows as a table of numbers and words, units in the names of its columns."""
    import pandas

    columns = list(used_columns(rows))
    table = pandas.DataFrame([{**row.to_cells(), **row.figures} for row in rows], columns=columns)
    numbers = [name for name in columns if name.rpartition(".")[2] not in _TEXT]
    table[numbers] = table[numbers].apply(pandas.to_numeric)
    table[list(SHARES)] *= 100
    return table.rename(columns={f: f"{f}_pct" for f in SHARES} | {"seconds": "training_s"})
