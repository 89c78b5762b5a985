"""`front`, and how every command shows what a search came to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from smt_nas.cli import console
from smt_nas.cli.app import INTERRUPTED, app
from smt_nas.cli.search import options
from smt_nas.files import shell_word

if TYPE_CHECKING:
    from smt_nas.runtime.progress import Phase
    from smt_nas.search import Outcome
    from smt_nas.train.front_training import TrainingComparison


@app.command()
def front(
    run: options.Run,
    storage: options.Storage = None,
    show_all: options.ShowAll = False,
    evidence: options.ShowEvidence = False,
    plot: options.HistoryPlot = None,
    as_json: console.AsJson = False,
) -> None:
    """Show the front of a run as it is now, also while it runs. Writes nothing there."""
    from smt_nas.search import resume_search

    if plot is not None:
        from smt_nas.report.plot_files import check_drawable

        check_drawable(plot)
    outcome = resume_search(run, storage=storage, read_only=True).outcome()
    if plot is not None:
        from smt_nas.report.search.history_plot import draw_history

        draw_history(outcome, plot)
    show_outcome(outcome, as_json, show_all, evidence, exit_code=False)


def list_search_phases(first: Phase, verify: bool, train: bool = False) -> list[Phase]:
    """What a search does, in this order; the middle ones take turns."""
    phases: list[Phase] = [first, "screen", "evaluate", *(("count", "time") if verify else ())]
    return [*phases, "train"] if train else phases


def show_outcome(
    outcome: Outcome,
    as_json: bool,
    show_all: bool,
    evidence: bool = False,
    exit_code: bool = True,
    comparison: TrainingComparison | None = None,
    page: bool = False,
) -> None:
    """Print what a search came to, and what its front's best came to in training; exit by it.

    Args:
        outcome: of the search.
        as_json: as one document.
        show_all: all rows of a long front.
        evidence: all notes in full.
        exit_code: exit with what the outcome means.
        comparison: of trained members; None where none were.
        page: write the run's page too.
    """
    from smt_nas.report.search.front import as_document, front_notes, front_table

    if as_json:
        console.show_json(as_document(outcome) | _trained_document(comparison))
    else:
        console.show(front_table(outcome, show_all))
        console.show_notes(front_notes(outcome, show_all, evidence))
        _show_comparison(outcome, comparison)
    if page:
        line = write_page(outcome)
        console.show_notes([] if as_json else [line])
    stopped = comparison is not None and comparison.interrupted
    if exit_code and (outcome.interrupted or stopped):
        raise typer.Exit(INTERRUPTED)
    if exit_code and not outcome.front:
        raise typer.Exit(1)


def write_page(outcome: Outcome) -> str:
    """Write the page of a run into its folder; the line that says where, or what it takes."""
    from smt_nas.report.page.html_page import can_plot
    from smt_nas.report.search.page.run_page import PAGE_FILE, write_run_page

    if not can_plot():
        command = f"smt-nas report {shell_word(outcome.path)}"
        return f"Page: needs plotly, `pip install 'smt-nas[report]'`; then {command}"
    path = outcome.path / PAGE_FILE
    write_run_page(outcome, path)
    return f"Page: {shell_word(path)}"


def _trained_document(comparison: TrainingComparison | None) -> dict[str, Any]:
    if comparison is None:
        return {}
    from smt_nas.report.train.results import comparison_document

    return {"trained": comparison_document(comparison)}


def _show_comparison(outcome: Outcome, comparison: TrainingComparison | None) -> None:
    if comparison is None:
        return
    from smt_nas.report.train.results import comparison_notes, comparison_table

    console.show(comparison_table(comparison))
    go_on = f"smt-nas resume {shell_word(outcome.path)}"
    console.show_notes(comparison_notes(comparison, go_on))
