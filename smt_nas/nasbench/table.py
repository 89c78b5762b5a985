"""A bench on disk: `NAME.csv`, one row a training, and `NAME.yaml`, its data card."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from smt_nas.errors import ConfigError, StoreError, UnknownName
from smt_nas.files import folders
from smt_nas.nasbench.encoding import Input
from smt_nas.nasbench.rows import BenchRow, read_rows, to_frame
from smt_nas.yaml import read_yaml, validated

if TYPE_CHECKING:
    import pandas

SHIPPED = "nasbench"
TABLE = "bench.csv"  # in a folder of `bench build`


class BenchCard(BaseModel):
    """What a bench is.

    Attributes:
        schema_version: of the card and the table.
        description: one line.
        space: name of the search space that the bands are of.
        space_digest: of what that space allowed.
        input: what its networks share.
        data: the data set, without its place on a disk.
        data_digest: of its classes and training labels; None in cards of before.
        licence: of the data.
        recipe_name: of the recipe.
        recipe: its values.
        plan: fewest and most MACs and seed of the plan.
        limits: what the table cannot tell, one line each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    description: str
    space: str
    space_digest: str
    input: Input
    data: str
    data_digest: str | None = None
    licence: str
    recipe_name: str
    recipe: dict[str, Any]
    plan: dict[str, float]
    limits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bench:
    """Networks that were trained.

    Attributes:
        name: of a shipped one; of one of your own, where it is.
        card: what it is.
        rows: one a training.
    """

    name: str
    card: BenchCard
    rows: tuple[BenchRow, ...]

    def top1(self, key: str) -> float:
        """Validation top-1 of a network: the mean over its seeds, less what a seed does to all."""
        rows = self.networks[key]
        return float(np.mean([r.figures["val_top1"] - self.seed_effects[r.seed] for r in rows]))

    @cached_property
    def seed_effects(self) -> dict[int, float]:
        """What a seed does to the validation top-1 of all networks alike, against the first seed.

        All trainings of a seed see the images in the same order, which is better or worse for all.
        It must not tell a network trained with three seeds from one trained with the first alone.
        """
        first = min(row.seed for row in self.rows)
        differences: dict[int, list[float]] = {}
        for rows in self.networks.values():
            by_seed = {row.seed: row.figures["val_top1"] for row in rows}
            if first in by_seed:
                for seed, top1 in by_seed.items():
                    differences.setdefault(seed, []).append(top1 - by_seed[first])
        return {r.seed: float(np.mean(differences.get(r.seed, [0.0]))) for r in self.rows}

    @cached_property
    def networks(self) -> dict[str, tuple[BenchRow, ...]]:
        """The trainings of each network, by its key, by seed."""
        by_key: dict[str, list[BenchRow]] = {}
        for row in sorted(self.rows, key=lambda r: r.seed):
            by_key.setdefault(row.arch.key, []).append(row)
        return {key: tuple(rows) for key, rows in by_key.items()}

    def frame(self) -> pandas.DataFrame:
        """The trainings as a table, with units in the names of its columns.

        Accuracies are `val_top1_pct` and `test_top1_pct`, in percent, the time is `training_s`;
        what was not measured is NaN.
        """
        return to_frame(self.rows)


def load_bench(name_or_path: str | Path) -> Bench:
    """Read a shipped bench by name, or one of your own by its CSV or its folder.

    Raises:
        UnknownName: no such bench is shipped.
        ConfigError: the card or the table breaks a rule; says which row.
        StoreError: a file is missing.
    """
    path = _find_table(str(name_or_path))
    card = read_card(path)
    rows = tuple(read_rows(path, card.input))
    if not rows:
        raise ConfigError(
            f"{path}: holds no training (got 0 rows). `smt-nas bench build` makes it."
        )
    shipped = path.stem in bench_names() and str(name_or_path) == path.stem
    return Bench(path.stem if shipped else str(name_or_path), card, rows)


def bench_names() -> list[str]:
    """Names of the shipped benches."""
    return sorted({p.stem for root in folders(SHIPPED) for p in root.glob("*.csv")})


def _find_table(text: str) -> Path:
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


def card_path(table: Path) -> Path:
    """The file of a table's card."""
    return table.with_suffix(".yaml")


def read_card(table: Path) -> BenchCard:
    """Read the card of a table.

    Raises:
        StoreError: there is none.
        ConfigError: it breaks a rule.
    """
    path = card_path(table)
    if not path.is_file():
        raise StoreError(
            f"{table}: is no bench (got no {path.name} beside it). Build one with `smt-nas bench "
            f"build --out {table.parent}`."
        )
    return validated(BenchCard, read_yaml(path), str(path))
