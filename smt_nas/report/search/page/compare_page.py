"""The page of several searches beside each other: what differs, the fronts in one plot, who won."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from smt_nas.errors import ConfigError
from smt_nas.files import write_atomic
from smt_nas.report.page.elements import Cell, Heading, Row, make_paragraph, make_table
from smt_nas.report.page.html_page import Page, Section
from smt_nas.report.search.page.front_data import list_shared_axes, make_compared_data
from smt_nas.report.search.page.front_figure import make_front_figure
from smt_nas.report.search.recommendation import recommended_name
from smt_nas.search import Outcome
from smt_nas.search.run_file import read_run_file
from smt_nas.search.watch.hypervolume import compare_hypervolumes, measure_points

MOST = 6
"""Runs on one page: as many colours can be told apart."""
_FIELDS = (
    "space",
    "budgets",
    "objectives",
    "region",
    "evaluator",
    "strategy",
    "batch",
    "n",
    "seed",
)


def write_compare_page(outcomes: Sequence[Outcome], path: Path) -> None:
    """Write the page of several searches.

    Raises:
        ConfigError: they are too many, or have nothing in common to be drawn by.
        StoreError: it cannot be written.
        MeasurementError: plotly is not installed.
    """
    write_atomic(path, make_compare_page(outcomes).to_html())


def make_compare_page(outcomes: Sequence[Outcome]) -> Page:
    """The page. Raises ConfigError as `write_compare_page` does."""
    if not 2 <= len(outcomes) <= MOST:
        raise ConfigError(f"--compare: must be from 2 to {MOST} runs (got {len(outcomes)}).")
    paths = [outcome.path.resolve() for outcome in outcomes]
    if len(set(paths)) < len(paths):
        raise ConfigError("--compare: must be different runs (got one twice). Name each once.")
    named = _name_runs(outcomes)
    axes = list_shared_axes(outcomes)
    if len(axes) < 2:
        raise ConfigError(
            "--compare: runs must have two figures in common (got "
            f"{len(axes)}). Compare runs with networks on their fronts."
        )
    sections = [
        Section("fronts", "The fronts", make_front_figure(axes) + _make_table(named)),
        Section("differences", "What differs", _make_differences(named)),
    ]
    return Page(
        title=f"smt-nas: {' beside '.join(named)}",
        lead="",
        sections=sections,
        plots=True,
        data={"front-data": make_compared_data(named)},
    )


def _name_runs(outcomes: Sequence[Outcome]) -> dict[str, Outcome]:
    """By the names of their folders, or by their paths where two have the same name."""
    short = [outcome.path.name for outcome in outcomes]
    unique = len(set(short)) == len(short)
    names = short if unique else [str(outcome.path) for outcome in outcomes]
    return dict(zip(names, outcomes, strict=True))


def _make_table(named: Mapping[str, Outcome]) -> str:
    """A row a run: how far it came, and what it recommends."""
    outcomes = list(named.values())
    axes = list_shared_axes(outcomes)
    volumes = _share_volumes(outcomes)
    headings = [
        Heading("run", is_number=False),
        *map(Heading, ("tried", "on the front", "hypervolume", "recommended")),
        *(Heading(axis.unit.heading, axis.provenance) for axis in axes),
    ]
    rows = []
    for (name, outcome), volume in zip(named.items(), volumes, strict=True):
        best = next((r for r in outcome.front if r.name == recommended_name(outcome)), None)
        figures = ["-" if best is None else axis.describe(best) for axis in axes]
        texts = (
            name,
            f"{len(outcome.trials):,}",
            f"{len(outcome.front):,}",
            "-" if volume is None else f"{volume:.3f}",
            "-" if best is None else best.name,
            *figures,
        )
        rows.append(Row([Cell(text) for text in texts]))
    note = (
        "Hypervolume: of all that was tried, as a share of the box around all of these runs; it is "
        "told where they want the same."
    )
    return make_table("Each run, and its recommended network", headings, rows) + make_paragraph(
        note
    )


def _share_volumes(outcomes: Sequence[Outcome]) -> list[float | None]:
    """Hypervolumes in one box; None where the runs want different things."""
    wanted = {tuple(str(q) for q in outcome.problem.objectives) for outcome in outcomes}
    if len(wanted) > 1:
        return [None] * len(outcomes)
    return list(compare_hypervolumes([measure_points(o.problem, o.trials) for o in outcomes]))


def _make_differences(named: Mapping[str, Outcome]) -> str:
    """What the runs were asked for, or were made with, that is not the same in all."""
    facts = [_list_facts(outcome) for outcome in named.values()]
    names = dict.fromkeys(name for fact in facts for name in fact)
    different = [name for name in names if len({fact.get(name) for fact in facts}) > 1]
    if not different:
        return make_paragraph("Nothing: they were asked for the same, with the same versions.")
    headings = [Heading("", is_number=False), *(Heading(name) for name in named)]
    rows = [Row([Cell(name), *(Cell(fact.get(name, "-")) for fact in facts)]) for name in different]
    return make_table("What they were asked for, and made with", headings, rows)


def _list_facts(outcome: Outcome) -> dict[str, str]:
    run = read_run_file(outcome.path)
    values = outcome.settings.model_dump(mode="json", include=set(_FIELDS))
    facts = {name: _show(values[name]) for name in _FIELDS}
    facts |= {"device": str(outcome.problem.target), "machine": run.machine or run.device}
    return facts | {f"version of {name}": version for name, version in run.versions.items()}


def _show(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
