"""The rows of a bench's table: one training each, written and read.

Rows say their network in the words of the search space's YAML, so they need no space to be read,
and networks outside any space can stand among them.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError, StoreError
from smt_nas.nasbench.encoding import GENES, Input, architecture, genes

COSTS = ("macs", "params", "attention_macs", "activations")
FIGURES = ("val_top1", "val_loss", "test_top1", "test_loss", "train_loss", "seconds")
COLUMNS = ("key", "group", "seed", *FIGURES, *COSTS, *GENES, "device", "versions")
SHARES = ("val_top1", "test_top1")
NUMBERS = ("val_top1", "val_loss", "seconds")  # what every row must have


@dataclass(frozen=True)
class Row:
    """One training.

    Attributes:
        arch: the network.
        group: why it was trained; see `plan.Planned`.
        seed: of the training.
        figures: of FIGURES, those that are there; accuracies are shares in 0..1, the seconds are
            of the training alone.
        device: where.
        versions: of libraries.
    """

    arch: Architecture
    group: str
    seed: int
    figures: Mapping[str, float]
    device: str
    versions: str

    def cells(self) -> dict[str, str]:
        """The row of the table."""
        found = costs.of(self.arch).as_dict()
        return {
            "key": self.arch.key,
            "group": self.group,
            "seed": str(self.seed),
            **{name: _number(self.figures.get(name)) for name in FIGURES},
            **{name: str(int(found[name])) for name in COSTS},
            **genes(self.arch),
            "device": self.device,
            "versions": self.versions,
        }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def read_rows(path: Path, common: Input) -> Iterator[Row]:
    """Rows of a table.

    Raises:
        StoreError: it cannot be read.
        ConfigError: a column is missing, a value cannot be, or a training stands twice; says where.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read ({error}). Restore it from a copy.") from error
    reader = csv.DictReader(io.StringIO(text))
    try:
        table = list(reader)
    except csv.Error as error:
        raise ConfigError(
            f"{path}, line {reader.line_num}: must be a line of a table (got: {error}). Restore it "
            "from a copy."
        ) from error
    missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(
            f"{path}: must have the columns of a bench (got none called {', '.join(missing[:4])}"
            f"{' and others' if len(missing) > 4 else ''}). Restore it, or build one anew."
        )
    seen = set[tuple[str, int]]()
    for number, cells in enumerate(table, 2):
        row = _row(cells, common, f"{path}, line {number}")
        if (row.arch.key, row.seed) in seen:
            raise ConfigError(
                f"{path}, line {number}: every training must stand there once (got {row.arch.key} "
                f"with seed {row.seed} again). Drop the row."
            )
        seen.add((row.arch.key, row.seed))
        yield row


def _row(cells: Mapping[str, str | None], common: Input, where: str) -> Row:
    words = {name: cells.get(name) or "" for name in COLUMNS}
    figures = {name: _figure(words[name], name, where) for name in FIGURES if words[name]}
    lacking = [name for name in NUMBERS if name not in figures]
    if lacking:
        raise ConfigError(f"{where}: must have a number for {lacking[0]} (got none). Drop the row.")
    wrong = [name for name in SHARES if not 0 <= figures.get(name, 0.0) <= 1]
    if wrong:
        raise ConfigError(
            f"{where}: {wrong[0]} must be a share, 0 to 1 (got {figures[wrong[0]]:g}). Mend the "
            "row, or drop it."
        )
    try:
        arch = architecture(words, common)
        seed = int(words["seed"])
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{where}: must be a network (got: {error}). Drop the row.") from error
    if arch.key != words["key"]:
        raise ConfigError(
            f"{where}: its key must be that of its network, {arch.key} (got {words['key']}). It is "
            "of another version, or was edited: build it anew."
        )
    found = costs.of(arch)
    for name in ("macs", "params"):
        if words[name] != str(getattr(found, name)):
            raise ConfigError(
                f"{where}: {name} must be those of its network, {getattr(found, name)} (got "
                f"{words[name]}). Drop the row."
            )
    return Row(arch, words["group"], seed, figures, words["device"], words["versions"])


def _figure(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{where}: {name} must be a finite number (got {text}). Drop the row.")
    return value


def csv_text(rows: Sequence[Row], header: bool = True) -> str:
    """Rows as text of the table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(row.cells() for row in rows)
    return text.getvalue()
