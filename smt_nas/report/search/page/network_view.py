"""One network of the front beside the preset of equal cost: drawings, figures, commands."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from smt_nas.report.page.arch_drawing import draw_architecture
from smt_nas.report.page.elements import Cell, Heading, Row, make_commands, make_options, make_table
from smt_nas.report.search.axes import Axis, list_axes
from smt_nas.report.search.page.commands import network_commands
from smt_nas.search import Outcome, Result


def make_network_views(outcome: Outcome, members: Sequence[Result], chosen: str | None) -> str:
    """A choice of the networks, and a view of each, of which the script shows one.

    Args:
        outcome: of the search.
        members: those that are shown.
        chosen: the name of the first to look at.
    """
    axes = list_axes(outcome)
    options = make_options([(r.name, f"network {r.name}") for r in members], chosen)
    choice = (
        '<div class="controls"><label for="network-choice">Look at</label>'
        f'<select id="network-choice">{options}</select></div>'
    )
    return choice + "".join(_make_view(outcome, r, axes) for r in members)


def find_equal_preset(r: Result, presets: Sequence[Result]) -> Result:
    """The preset whose MACs are nearest, as a ratio."""
    return min(presets, key=lambda p: abs(math.log(p.values["macs"] / r.values["macs"])))


def _make_view(outcome: Outcome, r: Result, axes: Sequence[Axis]) -> str:
    preset = find_equal_preset(r, outcome.baselines)
    name = f"network {r.name}"
    drawings = "".join(
        f"<div><h4>{html.escape(title)}</h4>{draw_architecture(network.arch, title)}</div>"
        for title, network in ((name, r), (f"{preset.name}, the preset nearest in MACs", preset))
    )
    rows = [_make_row(axis, r, preset) for axis in axes]
    headings = [
        Heading("figure", is_number=False),
        Heading("from", is_number=False),
        *(Heading(text) for text in (name, preset.name, "ratio")),
    ]
    table = make_table(f"{name} beside {preset.name}", headings, rows)
    commands = make_commands(network_commands(outcome.path, r.name))
    return (
        f'<article class="network" id="network-{r.name}" aria-label="{name}">'
        f'<h3>{name} <span class="mark">{r.arch.key}</span></h3>'
        f'<div class="side">{drawings}</div>{table}{commands}</article>'
    )


def _make_row(axis: Axis, r: Result, preset: Result) -> Row:
    ours, theirs = (axis.read(network) for network in (r, preset))
    ratio = "-" if ours is None or not theirs else f"{ours / theirs:.2f}x"
    texts = (axis.describe(r), axis.describe(preset), ratio if axis.is_cost else "")
    cells = [Cell(axis.unit.heading), Cell(axis.provenance), *(Cell(text) for text in texts)]
    return Row(cells)
