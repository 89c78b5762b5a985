"""`front`, and how every command shows what a search came to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app
from smt_nas.cli.search import options

if TYPE_CHECKING:
    from smt_nas.runtime.progress import Phase
    from smt_nas.search import Outcome


@app.command()
def front(
    run: options.Run,
    storage: options.Storage = None,
    show_all: options.ShowAll = False,
    evidence: options.ShowEvidence = False,
    as_json: console.AsJson = False,
) -> None:
    """Show the front of a run as it is now, also while it runs. Writes nothing."""
    from smt_nas.search import resume_search

    outcome = resume_search(run, storage=storage, read_only=True).outcome()
    show_outcome(outcome, as_json, show_all, evidence, exit_code=False)


def list_search_phases(first: Phase, verify: bool) -> list[Phase]:
    """What a search does, in this order; the middle ones take turns."""
    return [first, "screen", "evaluate", *(("count", "time") if verify else ())]


def show_outcome(
    outcome: Outcome,
    as_json: bool,
    show_all: bool,
    evidence: bool = False,
    exit_code: bool = True,
) -> None:
    """Print it, and exit as it ended."""
    from smt_nas.report.search.front import as_document, front_notes, front_table

    if as_json:
        console.show_json(as_document(outcome))
    else:
        console.show(front_table(outcome, show_all))
        console.show_notes(front_notes(outcome, show_all, evidence))
    if exit_code and outcome.interrupted:
        raise typer.Exit(INTERRUPTED)
    if exit_code and not outcome.front:
        raise typer.Exit(1)
