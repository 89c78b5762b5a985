"""Search spaces as tables and as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from smt_nas import costs
from smt_nas.files import names
from smt_nas.metrics import METRICS
from smt_nas.space import SearchSpace

SAMPLE = 20_000  # random networks that medians come from
_SHOWN = ("params", "macs", "activations")


def all_spaces() -> list[dict[str, Any]]:
    """The shipped spaces: name, description, image size, number of networks."""
    rows = []
    for name in names("search_spaces"):
        space = SearchSpace.load(name)
        rows.append(
            {
                "name": name,
                "about": space.config.description,
                "image_size": space.config.image_size,
                "size": space.size,
            }
        )
    return rows


def spaces_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a space."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("name", "networks", "px", "about"):
        table.add_column(heading, justify="right" if heading in ("networks", "px") else "left")
    for row in rows:
        table.add_row(row["name"], f"{row['size']:.2e}", str(row["image_size"]), row["about"])
    return table


def describe(name_or_path: str | Path) -> dict[str, Any]:
    """Genes, size, and min / median / max of params, MACs and activations.

    Minimum and maximum are exact; the median is that of `SAMPLE` random networks.
    """
    space = SearchSpace.load(name_or_path)
    values = costs.estimate(space, space.sample(np.random.default_rng(0), SAMPLE)).as_dict()
    spans = costs.bounds(space)
    return {
        "name": space.name,
        "about": space.config.description,
        "image_size": space.config.image_size,
        "size": space.size,
        "genes": [{"name": g.name, "options": [_plain(o) for o in g.options]} for g in space.genes],
        "costs": {
            name: {
                "min": spans[name].low,
                "median": float(np.median(values[name])),
                "max": spans[name].high,
            }
            for name in _SHOWN
        },
    }


def genes_table(space_info: dict[str, Any]) -> Table:
    """A row a gene."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("gene")
    table.add_column("options", justify="right")
    table.add_column("values")
    for gene in space_info["genes"]:
        options = gene["options"]
        text = "  ".join(",".join(map(str, o)) if isinstance(o, list) else str(o) for o in options)
        table.add_row(gene["name"], str(len(options)), text)
    return table


def costs_table(space_info: dict[str, Any]) -> Table:
    """Min / median / max of each cost."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("cost", "min", "median", "max"):
        table.add_column(heading, justify="left" if heading == "cost" else "right")
    for name, span in space_info["costs"].items():
        values = [span[k] for k in ("min", "median", "max")]
        unit = METRICS[name].choose_unit(values)
        table.add_row(unit.heading, *map(unit.show, values))
    return table


def _plain(option: Any) -> Any:
    return list(option) if isinstance(option, tuple) else option
