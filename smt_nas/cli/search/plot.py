"""`plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.search import options

Format = Annotated[
    Literal["png", "svg", "pdf"], typer.Option("--format", help="Of the file; pdf for papers.")
]
FigureFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Default: front.FORMAT in the run.")
]
Across = Annotated[
    str | None, typer.Option("--x", metavar="METRIC", help="Default: the first cost.")
]
Up = Annotated[
    str | None, typer.Option("--y", metavar="METRIC", help="Default: what networks are rated by.")
]


@app.command()
def plot(
    run: options.Run,
    file_format: Format = "png",
    x: Across = None,
    y: Up = None,
    storage: options.Storage = None,
    out: FigureFile = None,
) -> None:
    """Draw the front of a run with the presets, one column of a paper wide.

    Example: smt-nas plot runs/smt-2.4GFLOPs --format pdf --x macs
    """
    from smt_nas.report.search.front_plot import draw_front
    from smt_nas.search import resume_search

    outcome = resume_search(run, storage=storage, read_only=True).outcome()
    path = out or run / f"front.{file_format}"
    draw_front(outcome, path, file_format, x, y)
    console.show_text(str(path))
