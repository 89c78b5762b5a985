"""Training recipes as a table and as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from smt_nas.report.shares import DASH
from smt_nas.train.recipe import Recipe


def recipes_document(recipes: Mapping[str, Recipe]) -> dict[str, Any]:
    """The JSON of recipes by name (schema 1): description, epochs, size, batch, precision."""
    rows = [
        {
            "name": name,
            "about": recipe.description,
            "source": recipe.source,
            "epochs": recipe.epochs,
            "image_size": recipe.image_size,
            "batch_size": recipe.batch_size,
            "precision": recipe.precision,
        }
        for name, recipe in recipes.items()
    ]
    return {"schema": 1, "recipes": rows}


def recipes_table(recipes: Mapping[str, Recipe]) -> Table:
    """One row a recipe; no size stands for the network's own."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for heading in ("epochs", "px", "batch"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("precision", no_wrap=True)
    table.add_column("about")
    for name, recipe in recipes.items():
        size = DASH if recipe.image_size is None else str(recipe.image_size)
        counts = (str(recipe.epochs), size, str(recipe.batch_size))
        table.add_row(name, *counts, recipe.precision, recipe.description)
    return table
