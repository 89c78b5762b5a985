"""A bench on disk: `NAME.csv`, one row a training, and `NAME.yaml`, its data card.

Rows say their network in the words of the search space's YAML, so they need no space to be read,
and networks outside any space can stand among them.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from smt_nas import costs
from smt_nas.accuracy.bench.words import GENES, Input, architecture, genes
from smt_nas.accuracy.evaluator import ReplayEvaluator
from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError, StoreError, UnknownName
from smt_nas.resources import folders, read_yaml, validated

SHIPPED = "bench"
TABLE = "bench.csv"  # in a folder of `bench build`
COSTS = ("macs", "params", "attention_macs", "activations")
FIGURES = ("val_top1", "val_loss", "test_top1", "test_loss", "train_loss", "seconds")
COLUMNS = ("key", "group", "seed", *FIGURES, *COSTS, *GENES, "device", "versions")
_NUMBERS = ("val_top1", "val_loss", "seconds")  # what every row must have


class BenchCard(BaseModel):
    """What a bench is.

    Attributes:
        schema_version: of the card and the table.
        description: one line.
        space: name of the search space that the bands are of.
        space_digest: of what that space allowed.
        input: what its networks share.
        data: the data set, without its place on a disk.
        licence: of the data.
        recipe_name: of the recipe.
        recipe: its values.
        plan: n, fewest and most MACs and seed of the plan.
        limits: what the table cannot tell, one line each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int
    description: str
    space: str
    space_digest: str
    input: Input
    data: str
    licence: str
    recipe_name: str
    recipe: dict[str, Any]
    plan: dict[str, float]
    limits: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class Bench:
    """Networks that were trained.

    Attributes:
        name: how messages call it.
        card: what it is.
        rows: one a training.
    """

    name: str
    card: BenchCard
    rows: tuple[Row, ...]

    def replay(self) -> ReplayEvaluator:
        """Its trainings as an evaluator: a problem on which searches cost nothing."""
        table = {
            key: {
                name: float(np.mean([row.figures[name] for row in rows]))
                for name in ("val_top1", "val_loss")
            }
            for key, rows in self.networks.items()
        }
        return ReplayEvaluator(table, "val_top1", "trained")

    @cached_property
    def networks(self) -> dict[str, tuple[Row, ...]]:
        """The trainings of each network, by its key, by seed."""
        found: dict[str, list[Row]] = {}
        for row in sorted(self.rows, key=lambda r: r.seed):
            found.setdefault(row.arch.key, []).append(row)
        return {key: tuple(rows) for key, rows in found.items()}


def load_bench(name_or_path: str | Path) -> Bench:
    """Read a shipped bench by name, or one of your own by its CSV or its folder.

    Raises:
        UnknownName: no such bench is shipped.
        ConfigError: the card or the table breaks a rule; says which row.
        StoreError: a file is missing.
    """
    path = _table(str(name_or_path))
    card = read_card(path)
    rows = tuple(read_rows(path, card.input))
    if not rows:
        raise ConfigError(
            f"{path}: holds no training (got 0 rows). `smt-nas bench build` makes it."
        )
    return Bench(path.stem, card, rows)


def bench_names() -> list[str]:
    """Names of the shipped benches."""
    return sorted({p.stem for root in folders(SHIPPED) for p in root.glob("*.csv")})


def _table(text: str) -> Path:
    """The CSV that a user means."""
    path = Path(text)
    if path.suffix == ".csv":
        return path
    if path.is_dir() or os.sep in text:
        return path / TABLE
    for root in folders(SHIPPED):
        if (shipped := root / f"{text}.csv").is_file():
            return shipped
    raise UnknownName("bench", text, bench_names(), "A .csv of `bench build` works too.")


def card_of(table: Path) -> Path:
    """The file of a table's card."""
    return table.with_suffix(".yaml")


def read_card(table: Path) -> BenchCard:
    """Read the card of a table.

    Raises:
        StoreError: there is none.
        ConfigError: it breaks a rule.
    """
    path = card_of(table)
    if not path.is_file():
        raise StoreError(
            f"{table}: is no bench (got no {path.name} beside it). Build one with `smt-nas bench "
            f"build --out {table.parent}`."
        )
    return validated(BenchCard, read_yaml(path), str(path))


def read_rows(path: Path, common: Input) -> Iterator[Row]:
    """Rows of a table.

    Raises:
        StoreError: it cannot be read.
        ConfigError: a column is missing, or a value is no number; says where.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{path}: cannot be read ({error}). Restore it from a copy.") from error
    reader = csv.DictReader(io.StringIO(text))
    missing = [c for c in COLUMNS if c not in (reader.fieldnames or ())]
    if missing:
        raise ConfigError(
            f"{path}: must have the columns of a bench (got none called {', '.join(missing[:4])}"
            f"{' and others' if len(missing) > 4 else ''}). Restore it, or build one anew."
        )
    for number, cells in enumerate(reader, 2):
        yield _row(cells, common, f"{path}, line {number}")


def _row(cells: Mapping[str, str | None], common: Input, where: str) -> Row:
    words = {name: cells.get(name) or "" for name in COLUMNS}
    figures = {name: _figure(words[name], name, where) for name in FIGURES if words[name]}
    lacking = [name for name in _NUMBERS if name not in figures]
    if lacking:
        raise ConfigError(f"{where}: must have a number for {lacking[0]} (got none). Drop the row.")
    try:
        arch = architecture(words, common)
        seed = int(words["seed"])
    except (ValueError, ConfigError) as error:
        raise ConfigError(f"{where}: is no network ({error}) Drop the row.") from error
    if arch.key != words["key"]:
        raise ConfigError(
            f"{where}: its key must be that of its network, {arch.key} (got {words['key']}). It is "
            "of another version, or was edited: build it anew."
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
