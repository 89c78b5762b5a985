"""`export-experiment`: hand a search over to another searcher's manager."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app


@app.command("export-experiment")
def export_experiment(
    run: Annotated[Path, typer.Argument(help="Run directory of a search; it need not be done.")],
    out: Annotated[Path, typer.Option(help="Folder to write; new or empty.")],
    format: Annotated[
        Literal["nni"], typer.Option("--format", help="nni: a folder for `nnictl create`.")
    ] = "nni",
) -> None:
    """Write the search of a run as an experiment that NNI's manager runs.

    Example: smt-nas export-experiment runs/a1 --format nni --out a1-nni
    """
    from smt_nas.export.experiment import write_experiment
    from smt_nas.files import shell_word

    files = write_experiment(run, out)
    console.say(f"Wrote {', '.join(map(str, files))}.")
    console.say(f"Next: nnictl create --config {shell_word(files[0])} --port 8080")
