"""The page of a search, section by section."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from smt_nas.budgets import describe_macs
from smt_nas.errors import format_count
from smt_nas.files import write_atomic
from smt_nas.metrics import METRICS
from smt_nas.report.page.elements import (
    Cell,
    Heading,
    Row,
    make_commands,
    make_facts,
    make_filter,
    make_list,
    make_paragraph,
    make_table,
)
from smt_nas.report.page.html_page import Page, Section
from smt_nas.report.search.axes import list_axes
from smt_nas.report.search.columns import BROKEN, Column, make_columns
from smt_nas.report.search.front import collect_notes, thin_out
from smt_nas.report.search.page.commands import run_commands
from smt_nas.report.search.page.front_data import make_front_data
from smt_nas.report.search.page.front_figure import make_front_figure
from smt_nas.report.search.page.history_plots import make_history_plots
from smt_nas.report.search.page.latency_plot import make_latency_plots
from smt_nas.report.search.page.network_view import make_network_views
from smt_nas.report.search.recommendation import recommend_line, recommended_name
from smt_nas.search import Outcome, Result
from smt_nas.search.run_file import read_run_file

PAGE_FILE = "report.html"
_SHOWN = 100  # networks of a long front that have a row and a view; the plot has all


def write_run_page(outcome: Outcome, path: Path) -> None:
    """Write the page of a search.

    Raises:
        StoreError: it cannot be written.
        MeasurementError: plotly is not installed.
    """
    write_atomic(path, make_run_page(outcome).to_html())


def make_run_page(outcome: Outcome) -> Page:
    """The page of what a search has found so far."""
    chosen = recommended_name(outcome)
    members = choose_shown(outcome.front, chosen)
    makers = (
        ("asked", "What was asked", _make_asked(outcome)),
        ("front", "The front", _make_front(outcome, members)),
        (
            "networks",
            "The networks",
            make_network_views(outcome, members, chosen) if members else "",
        ),
        ("latency", "Predicted and measured latency", make_latency_plots(outcome)),
        ("evidence", "Evidence", make_list(note.text for note in collect_notes(outcome))),
        ("history", "How the search went", make_history_plots(outcome)),
        ("environment", "Environment", _make_environment(outcome)),
        ("commands", "Commands", make_commands(run_commands(outcome.settings, outcome.path))),
    )
    return Page(
        title=f"smt-nas search: {outcome.path.name}",
        lead=_make_lead(outcome),
        sections=[Section(*maker) for maker in makers if maker[2]],
        plots=True,
        data={"front-data": make_front_data(outcome, chosen)} if members else None,
    )


def choose_shown(front: Sequence[Result], chosen: str | None) -> list[Result]:
    """Members that have a row: all, or of a long front some, evenly over it, and the chosen one."""
    names = {r.name for r in thin_out(front, _SHOWN)} | {chosen}
    return [r for r in front if r.name in names]


def _make_lead(outcome: Outcome) -> str:
    """What to take, or why there is nothing to take yet."""
    line = recommend_line(outcome)
    if line is None and outcome.front:
        line = f"First on the front: network {outcome.front[0].name}."
    if not outcome.front:
        line = "Nothing is on the front" + ("." if outcome.finished else " yet.")
    unfinished = "" if outcome.finished else " This run is not finished."
    return f'<p class="lead">{html.escape(f"{line}{unfinished}")}</p>'


def _make_asked(outcome: Outcome) -> str:
    problem, settings = outcome.problem, outcome.settings
    space = problem.space
    limits = [str(constraint) for constraint in problem.constraints]
    wanted = [f"{q.name} ({'down' if q.direction == 'min' else 'up'})" for q in problem.objectives]
    facts = {
        "space": f"{space.name}: {space.size:.2e} networks at {space.config.image_size} px",
        "must hold": "; ".join(limits) or "nothing",
        "wanted": ", ".join(wanted),
        "rated by": "formulas alone" if settings.evaluator is None else settings.evaluator.word,
        "strategy": settings.strategy,
        "device": str(problem.target),
        "tried": format_count(len(outcome.trials), "network"),
        "on the front": format_count(len(outcome.front), "network"),
        "seed": str(settings.seed),
    }
    return make_facts(facts) + "".join(map(make_paragraph, _explain_macs(outcome)))


def _explain_macs(outcome: Outcome) -> list[str]:
    """What a budget of MACs means, as one multiply-accumulate is one FLOP here."""
    for constraint in outcome.problem.constraints:
        if constraint.target_metric.name == "macs" and constraint.high is not None:
            flops = METRICS["macs"].describe(constraint.high).replace("MACs", "FLOPs")
            return [f"{flops} here are {describe_macs(constraint.high)}."]
    return []


def _make_front(outcome: Outcome, members: Sequence[Result]) -> str:
    if not members:
        return make_paragraph("No network is on the front.")
    shown = (
        f" The table has {len(members)} of its {len(outcome.front)} networks, evenly chosen; "
        "front.csv has all."
        if len(members) < len(outcome.front)
        else ""
    )
    return (
        make_front_figure(list_axes(outcome))
        + make_paragraph(f"Point at a network to see it, click it to look at it below.{shown}")
        + make_filter("front")
        + _make_front_table(outcome, members)
    )


def _make_front_table(outcome: Outcome, members: Sequence[Result]) -> str:
    columns = make_columns(outcome)
    headings = [Heading("name", is_number=False), *map(_make_heading, columns)]
    rows = [_make_row(r, columns, "member") for r in members]
    rows += [_make_row(r, columns, "preset") for r in outcome.baselines]
    return make_table("The front, best first, then the presets", headings, rows, is_sortable=True)


def _make_heading(column: Column) -> Heading:
    *words, last = column.heading.split("\n")
    return Heading(" ".join(words), last) if words else Heading(last)


def _make_row(r: Result, columns: Sequence[Column], kind: str) -> Row:
    cells = [Cell(r.name)]
    for column in columns:
        text = column.cell(r).strip()
        cells.append(Cell(text, is_marked=BROKEN in text))
    return Row(cells, r.name if kind == "member" else "", kind)


def _make_environment(outcome: Outcome) -> str:
    run = read_run_file(outcome.path)
    facts = {"machine": run.machine or run.device}
    return make_facts(facts | run.versions)
