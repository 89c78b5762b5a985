"""Predicted against trained, a point a network, coloured by MACs: as a page or as a picture."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from smt_nas.evaluators.validation.validate import BASELINES, EvaluatorScore, Validation
from smt_nas.files import write_atomic
from smt_nas.report.plot_files import import_plot_library

_COLOURS = "Viridis"
_INCHES, _PIXELS = 4.6, 420  # of one panel's side
_COLUMNS = 2  # of panels


def draw_scatter(validation: Validation, path: Path) -> None:
    """Draw a panel for each evaluator. Raises StoreError where it cannot be written."""
    rows = [row for row in validation.rows if row.name not in BASELINES]
    draw = _draw_page if path.suffix == ".html" else _draw_picture
    write_atomic(path, draw(validation, rows))


def _make_title(row: EvaluatorScore) -> str:
    tau, band = row.agreement.kendall.value, row.agreement.in_band.value
    words = [f"{t:.2f}" if t is not None else "-" for t in (tau, band)]
    suffix = ", held out" if row.held_out else ""
    return f"{row.name}{suffix}: tau {words[0]}, at equal MACs {words[1]}"


def _draw_page(validation: Validation, rows: Sequence[EvaluatorScore]) -> str:
    subplots = import_plot_library("plotly.subplots")
    objects = import_plot_library("plotly.graph_objects")
    trained = validation.training_set
    down, across = _arrange_panels(rows)
    figure = subplots.make_subplots(
        rows=down, cols=across, subplot_titles=[html.escape(_make_title(row)) for row in rows]
    )
    mmacs = trained.macs / 1e6
    for i, row in enumerate(rows):
        marker = {"color": np.log10(mmacs), "colorscale": _COLOURS, "size": 7}
        if i == 0:
            marker |= {"colorbar": _make_colour_bar(mmacs)}
        points = objects.Scatter(
            x=row.figures,
            y=trained.top1,
            mode="markers",
            marker=marker,
            customdata=np.column_stack([mmacs, trained.params / 1e6]),
            text=[arch.key for arch in trained.archs],
            hovertemplate="%{text}<br>%{customdata[0]:.1f} MMACs, %{customdata[1]:.2f} Mparams"
            "<br>trained %{y:.2f} %<extra></extra>",
        )
        at = {"row": i // across + 1, "col": i % across + 1}
        figure.add_trace(points, **at)
        figure.update_xaxes(title_text=html.escape(row.name), **at)
        figure.update_yaxes(title_text="trained top-1 %", **at)
    figure.update_layout(
        title=html.escape(f"Predicted against trained, {validation.bench.name}"),
        height=120 + _PIXELS * down,
        width=140 + _PIXELS * across,
        showlegend=False,
        template="plotly_white",
    )
    text: str = figure.to_html(include_plotlyjs="inline")
    return text


def _arrange_panels(rows: Sequence[EvaluatorScore]) -> tuple[int, int]:
    """Panels down and across."""
    across = min(_COLUMNS, max(1, len(rows)))
    return max(1, -(-len(rows) // across)), across


def _choose_ticks(mmacs: Any) -> list[float]:
    """1, 2, 3, 5, 7, 10, ... in the range of the networks."""
    low, high = (int(np.floor(np.log10(m))) for m in (mmacs.min(), mmacs.max()))
    series = [t * 10.0**e for e in range(low, high + 1) for t in (1, 2, 3, 5, 7)]
    return [t for t in series if mmacs.min() <= t <= mmacs.max()]


def _make_colour_bar(mmacs: Any) -> dict[str, Any]:
    """A colour bar in MMACs, though colours go by their logarithm."""
    ticks = _choose_ticks(mmacs)
    return {
        "title": "MMACs",
        "tickvals": np.log10(ticks),
        "ticktext": [f"{t:g}" for t in ticks],
        "lenmode": "pixels",
        "len": 0.7 * _PIXELS,
        "y": 1,
        "yanchor": "top",
    }


def _draw_picture(validation: Validation, rows: Sequence[EvaluatorScore]) -> bytes:
    figures, colors = (
        import_plot_library("matplotlib.figure"),
        import_plot_library("matplotlib.colors"),
    )
    trained = validation.training_set
    down, across = _arrange_panels(rows)
    size = (1.2 * _INCHES * across, _INCHES * down)
    figure = figures.Figure(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    mmacs = trained.macs / 1e6
    for panel, row in zip(panels, rows, strict=False):
        points = panel.scatter(
            row.figures, trained.top1, c=mmacs, cmap="viridis", norm=colors.LogNorm(), s=16
        )
        panel.set(xlabel=row.name, ylabel="trained top-1 %", title=_make_title(row))
    for panel in panels[len(rows) :]:
        panel.set_axis_off()
    bar = figure.colorbar(points, ax=panels, label="MMACs", shrink=0.7)
    ticks = _choose_ticks(mmacs)
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks])
    bar.minorticks_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
