"""The front as a figure for papers: one column wide, vector or raster, by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from smt_nas.errors import ConfigError, UnknownName
from smt_nas.files import write_atomic
from smt_nas.report.plot_files import import_plot_library
from smt_nas.report.search.axes import Axis, list_axes
from smt_nas.search import Outcome, Result

FigureFormat = Literal["png", "svg", "pdf"]
_INCHES = (3.5, 2.6)  # a column of a two-column paper
_DPI = 300  # of a raster
_STYLE = {
    "font.size": 8,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,  # text stays text, as publishers ask
    "svg.fonttype": "none",
    "svg.hashsalt": "smt-nas",  # the same front gives the same file
}
_NO_DATE = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


def draw_front(
    outcome: Outcome, path: Path, kind: FigureFormat, across: str | None, up: str | None
) -> None:
    """Draw the front with the presets, intervals where figures are predicted.

    Args:
        outcome: of the search.
        path: where.
        kind: of the file.
        across: metric of the horizontal axis, as `front.csv` names it; None for the first cost.
        up: of the vertical axis; None for the evaluator's.

    Raises:
        ConfigError: nothing is on the front.
        UnknownName: no such figure in this run.
        StoreError: it cannot be written.
        MeasurementError: matplotlib is not installed.
    """
    library, figures = (import_plot_library(n) for n in ("matplotlib", "matplotlib.figure"))
    if not outcome.front:
        raise ConfigError(
            f"{outcome.path}: must have a network on its front to be drawn (got none). Go on with "
            "it by smt-nas resume."
        )
    axes = list_axes(outcome)
    vertical = axes[0] if up is None else _find_axis(axes, up)
    beside = next((a for a in axes if a.is_cost and a is not vertical), axes[-1])
    horizontal = beside if across is None else _find_axis(axes, across)
    with library.rc_context(_STYLE):
        figure = figures.Figure(figsize=_INCHES, layout="constrained")
        _draw(figure.subplots(), outcome, horizontal, vertical)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=_NO_DATE[kind])
    write_atomic(path, buffer.getvalue())


def _find_axis(axes: Sequence[Axis], name: str) -> Axis:
    named = {axis.name: axis for axis in axes}
    if name not in named:
        raise UnknownName("figure of this run", name, named)
    return named[name]


def _draw(panel: Any, outcome: Outcome, across: Axis, up: Axis) -> None:
    for rows, colour, marker, label in (
        (outcome.front, "C0", "o", "front"),
        (outcome.baselines, "C1", "D", "presets"),
    ):
        known = [r for r in rows if across.read(r) is not None and up.read(r) is not None]
        xs, ys = ([_scale(axis, r) for r in known] for axis in (across, up))
        bars = [_read_ends(up, r) for r in known]
        if any(low or high for low, high in bars):
            ends = [list(side) for side in zip(*bars, strict=True)]
            panel.errorbar(xs, ys, yerr=ends, fmt="none", ecolor=colour, elinewidth=0.4, alpha=0.5)
        panel.scatter(xs, ys, s=10, c=colour, marker=marker, label=label, linewidths=0)
        if label == "presets":
            _name_presets(panel, known, xs, ys)
    if across.is_cost:
        _scale_by_logarithm(panel)
    panel.set(xlabel=_label(across), ylabel=_label(up))
    panel.grid(linewidth=0.3, alpha=0.5)
    panel.legend(frameon=False, loc="lower right")


def _name_presets(
    panel: Any, presets: Sequence[Result], xs: Sequence[float], ys: Sequence[float]
) -> None:
    for r, x, y in zip(presets, xs, ys, strict=True):
        place = {"textcoords": "offset points", "ha": "right", "va": "bottom"}
        panel.annotate(r.name, (x, y), (-2, 2), fontsize=6, **place)


def _scale_by_logarithm(panel: Any) -> None:
    """Ticks at 1, 2 and 5 of each decade, written out."""
    ticker = import_plot_library("matplotlib.ticker")
    panel.set_xscale("log")
    panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
    panel.xaxis.set_minor_locator(ticker.NullLocator())


def _scale(axis: Axis, r: Result) -> float:
    value = axis.read(r)
    assert value is not None
    return value / axis.unit.per


def _read_ends(axis: Axis, r: Result) -> tuple[float, float]:
    """How far the interval reaches below and above; 0 where there is none."""
    ends = r.intervals.get(axis.name)
    if ends is None:
        return 0.0, 0.0
    value = _scale(axis, r)
    return value - ends[0] / axis.unit.per, ends[1] / axis.unit.per - value


def _label(axis: Axis) -> str:
    return f"{axis.unit.heading} ({axis.provenance})"
