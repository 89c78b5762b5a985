"""A bench on disk: `NAME.csv`, one row a training, and `NAME.yaml`, its data card."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from smt_nas.errors import ConfigError, StoreError, UnknownName
from smt_nas.files import folders
from smt_nas.fingerprint import ADDED, Value
from smt_nas.nasbench.encoding import Input
from smt_nas.nasbench.rows import BenchRow, read_rows, to_frame
from smt_nas.yaml import read_yaml, validated

if TYPE_CHECKING:
    import pandas

SHIPPED = "nasbench"
TABLE = "bench.csv"  # in a folder of `bench build`


class BenchCard(Value):
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
        plan_name: of the rule by which it chooses networks.
        budgets: epochs that the networks are trained for, the fewest first; () where the recipe
            has one number of them.
        fast: trainings take the fast path, whose images are drawn otherwise; benches of before,
            whose card does not say so, go on without.
        limits: what the table cannot tell, one line each.
    """

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
    plan_name: Annotated[str, ADDED] = "spread"
    budgets: Annotated[tuple[int, ...], ADDED] = ()
    fast: Annotated[bool, ADDED] = False
    limits: tuple[str, ...] = ()

    @property
    def is_fast(self) -> bool:
        """Whether trainings take the fast path; those of several budgets always did."""
        return self.fast or bool(self.budgets)


@dataclass(frozen=True)
class Bench:
    """Networks that were trained, all for the same number of epochs.

    Attributes:
        name: of a shipped one; of one of your own, where it is.
        card: what it is.
        rows: one a training.
        sizes: networks by the epochs that they were trained for, of the whole table.
    """

    name: str
    card: BenchCard
    rows: tuple[BenchRow, ...]
    sizes: Mapping[int, int] = field(default_factory=dict)

    @property
    def epochs(self) -> int | None:
        """Of each training; None where the card does not say."""
        return _epochs(self.rows[0], self.card)

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


def load_bench(name_or_path: str | Path, epochs: int | None = None) -> Bench:
    """Read a shipped bench by name, or one of your own by its CSV or its folder.

    Args:
        name_or_path: the bench.
        epochs: that its networks were trained for; None for the most that at least half as many
            networks have as have any.

    Raises:
        UnknownName: no such bench is shipped.
        ConfigError: the card or the table breaks a rule, says which row; or it has no training of
            so many epochs.
        StoreError: a file is missing.
    """
    path = _find_table(str(name_or_path))
    card = read_card(path)
    rows = tuple(read_rows(path, card.input, card.recipe.get("epochs")))
    if not rows:
        raise ConfigError(
            f"{path}: holds no training (got 0 rows). `smt-nas bench build` makes it."
        )
    shipped = path.stem in bench_names() and str(name_or_path) == path.stem
    return choose_budget(path.stem if shipped else str(name_or_path), card, rows, epochs)


def choose_budget(
    name: str, card: BenchCard, rows: Sequence[BenchRow], epochs: int | None = None
) -> Bench:
    """The bench of the rows of one number of epochs; see `load_bench`."""
    keys: dict[int, set[str]] = {}
    for row in rows:
        keys.setdefault(_epochs(row, card) or 0, set()).add(row.arch.key)
    sizes = {budget: len(keys[budget]) for budget in sorted(keys)}
    if epochs is None:
        epochs = max(budget for budget, n in sizes.items() if 2 * n >= max(sizes.values()))
    elif epochs not in sizes:
        raise ConfigError(
            f"{name}: has no trainings of so many epochs (got {epochs}; it has those of "
            f"{', '.join(map(str, sizes))}). Choose another --epochs."
        )
    chosen = tuple(row for row in rows if (_epochs(row, card) or 0) == epochs)
    return Bench(name, card, chosen, sizes)


def _epochs(row: BenchRow, card: BenchCard) -> int | None:
    return row.epochs or card.recipe.get("epochs")


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
