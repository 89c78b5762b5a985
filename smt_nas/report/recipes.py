"""Training recipes as a table and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from smt_nas.report.shares import DASH
from smt_nas.train.recipe import load_recipe, recipe_names


def all_recipes() -> list[dict[str, Any]]:
    """The shipped recipes: name, description, epochs, size, batch, precision."""
    rows = []
    for name in recipe_names():
        recipe = load_recipe(name)
        rows.append(
            {
                "name": name,
                "about": recipe.description,
                "source": recipe.source,
                "epochs": recipe.epochs,
                "image_size": recipe.image_size,
                "batch_size": recipe.batch_size,
                "precision": recipe.precision,
            }
        )
    return rows


def recipes_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a recipe; no size stands for the network's own."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("epochs", "px", "batch"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("precision", no_wrap=True)
    table.add_column("about")
    for row in rows:
        size = DASH if row["image_size"] is None else str(row["image_size"])
        counts = (str(row["epochs"]), size, str(row["batch_size"]))
        table.add_row(row["name"], *counts, row["precision"], row["about"])
    return table
