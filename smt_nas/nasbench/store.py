"""Writing a bench: rows are appended as they come, and survive whatever ends the writer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from smt_nas.errors import StoreError
from smt_nas.files import append_synced, check_same, cut_torn_line, unwritable, write_atomic
from smt_nas.nasbench.encoding import Input
from smt_nas.nasbench.rows import BenchRow, format_csv, read_rows, used_columns, widen_csv
from smt_nas.nasbench.table import BenchCard, card_path, read_card
from smt_nas.yaml import to_yaml

_REPEAT = "Repeat it with those settings, or choose another --out."


def prepare_table(table: Path, card: BenchCard) -> None:
    """Write card and head of a new bench; a bench that is there must be the same.

    Only its budgets may be more or fewer: rows of a shorter and of a longer training at a constant
    rate differ in their epochs alone.

    Raises:
        StoreError: the folder holds something else, or cannot be written.
    """
    if card_path(table).is_file():
        old, new = (_comparable_settings(c) for c in (read_card(table), card))
        labels, now = old.pop("data_digest"), new.pop("data_digest")
        budgets = tuple(set(settings.pop("budgets", ())) for settings in (old, new))
        check_same(table.parent, "holds a bench", old, new, _REPEAT)
        if labels not in (None, now):  # None: of before there was one
            raise StoreError(
                f"{table.parent}: holds a bench with labels {labels} of {card.data} (got {now}): "
                "images were added or moved, or class folders are named by numbers, which were "
                "once sorted as text. Restore the images, or choose another --out."
            )
        _check_budgets(table, *budgets)
        if budgets[1] > budgets[0]:
            write_atomic(card_path(table), to_yaml(_with_budgets(table, card)))
    elif other := sorted(p.name for p in table.parent.iterdir() if not p.name.startswith(".")):
        raise StoreError(
            f"{table.parent}: must be empty or new (got {other[0]}). Choose another --out."
        )
    else:
        write_atomic(card_path(table), to_yaml(card.model_dump(mode="json")))
    if not table.is_file():
        write_atomic(table, format_csv([]))


def _check_budgets(table: Path, old: set[int], new: set[int]) -> None:
    """One build may train for more epochs beside those of the other, and not for others."""
    if not (old <= new or new <= old):
        words = (" and ".join(map(str, sorted(budgets))) for budgets in (old, new))
        raise StoreError(
            f"{table.parent}: holds a bench of budgets of {next(words)} epochs (got {next(words)}):"
            f" one of the two must have all of the other's. {_REPEAT}"
        )


def _with_budgets(table: Path, card: BenchCard) -> dict[str, Any]:
    """The card that is there, with the larger set of budgets of another."""
    there = read_card(table)
    recipe = {**there.recipe, "epochs": card.recipe["epochs"]}
    grown = there.model_copy(update={"budgets": card.budgets, "recipe": recipe})
    return grown.model_dump(mode="json")


def _comparable_settings(card: BenchCard) -> dict[str, Any]:
    """What must be the same for rows to stand in one table; words need not be."""
    prose = {"description", "source"} | ({"epochs"} if card.budgets else set())
    words = {"description", "limits", "licence", "recipe", "fast"}
    values = card.model_dump(mode="json", exclude=words)
    return values | {f"recipe.{k}": v for k, v in card.recipe.items() if k not in prose}


def recover_rows(table: Path, common: Input, epochs: int | None = None) -> Iterator[BenchRow]:
    """Rows that are there, see `read_rows`; a line that a crash tore is cut off."""
    cut_torn_line(table)
    yield from read_rows(table, common, epochs)


def append_row(table: Path, row: BenchRow) -> None:
    """Add a row, and wait until the disk has it. Raises StoreError; the rows before are kept."""
    try:
        columns = _columns_for(table, row)
        with table.open("ab") as file:
            append_synced(file, format_csv([row], header=False, columns=columns).encode())
    except OSError as error:
        way_out = "Free some space and build again: the rows before are kept."
        raise unwritable(table, error, way_out) from error


def _columns_for(table: Path, row: BenchRow) -> list[str]:
    """The columns of a table; where the row needs another, the table gets it first."""
    columns = _read_header(table)
    lacking = [column for column in used_columns([row]) if column not in columns]
    if lacking:
        write_atomic(table, widen_csv(table, lacking))
        columns = _read_header(table)
    return columns


def _read_header(table: Path) -> list[str]:
    with table.open(encoding="utf-8") as file:
        return file.readline().rstrip("\n").split(",")
