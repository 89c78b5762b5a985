"""`report`: the page of a run, or of several beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.search import options

Runs = Annotated[
    list[Path], typer.Argument(metavar="RUN...", help="A run directory; with --compare several.")
]
Compare = Annotated[bool, typer.Option("--compare", help="Set the runs beside each other.")]
PageFile = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Default: report.html in the run.")
]
_COMPARED = "compare.html"


@app.command()
def report(
    runs: Runs,
    compare: Compare = False,
    storage: options.Storage = None,
    out: PageFile = None,
) -> None:
    """Write the page of a run: what to take and why, the front to look through, the evidence.

    It is one file that opens without a network. It can be made while the run goes on.

    Example: smt-nas report --compare runs/a runs/b
    """
    from smt_nas.report.search.page.compare_page import write_compare_page
    from smt_nas.report.search.page.run_page import PAGE_FILE, write_run_page
    from smt_nas.search import resume_search

    if len(runs) > 1 and not compare:
        raise typer.BadParameter("takes several with --compare only. Add it.", param_hint="RUN")
    if compare and storage is not None:
        raise typer.BadParameter("is of one run. Drop it.", param_hint="--storage")
    outcomes = [resume_search(run, storage=storage, read_only=True).outcome() for run in runs]
    path = out or runs[0] / (_COMPARED if compare else PAGE_FILE)
    if compare:
        write_compare_page(outcomes, path)
    else:
        write_run_page(outcomes[0], path)
    console.show_text(str(path))
