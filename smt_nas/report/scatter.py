"""Predicted against trained, a point a network, coloured by MACs: as a page or as a picture."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from smt_nas.accuracy.validate import BASELINES, Judged, Validation
from smt_nas.errors import ConfigError, MeasurementError
from smt_nas.resources import check_writable, write_atomic

_KINDS = (".html", ".png")
_COLOURS = "Viridis"
_INCHES = 4.6  # of one panel's side


def drawable(path: Path | None) -> None:
    """Find out before long work that a plot could not be drawn.

    Raises:
        ConfigError: another kind of file.
        StoreError: it could not be written.
        MeasurementError: the library is not installed.
    """
    if path is None:
        return
    if path.suffix not in _KINDS:
        raise ConfigError(f"--plot {path}: must end in {' or '.join(_KINDS)}. Name it so.")
    check_writable(path, "--plot")
    _library("plotly.graph_objects" if path.suffix == ".html" else "matplotlib.figure")


def draw(found: Validation, path: Path) -> None:
    """Draw a panel for each evaluator. Raises StoreError where it cannot be written."""
    rows = [row for row in found.rows if row.name not in BASELINES]
    draws = _page if path.suffix == ".html" else _picture
    write_atomic(path, draws(found, rows))


def _title(row: Judged) -> str:
    tau, band = row.agreement.kendall.value, row.agreement.in_band.value
    words = [f"{t:.2f}" if t is not None else "-" for t in (tau, band)]
    held = ", held out" if row.learnt else ""
    return f"{row.name}{held}: tau {words[0]}, at equal MACs {words[1]}"


def _page(found: Validation, rows: Sequence[Judged]) -> str:
    subplots = _library("plotly.subplots")
    objects = _library("plotly.graph_objects")
    known = found.known
    figure = subplots.make_subplots(
        rows=len(rows), cols=1, subplot_titles=[_title(row) for row in rows]
    )
    mmacs = known.macs / 1e6
    for i, row in enumerate(rows, 1):
        marker = {"color": np.log10(mmacs), "colorscale": _COLOURS, "size": 7}
        if i == 1:
            marker |= {"colorbar": _scale(mmacs)}
        points = objects.Scatter(
            x=row.figures,
            y=known.top1,
            mode="markers",
            marker=marker,
            customdata=np.column_stack([mmacs, known.params / 1e6]),
            text=[arch.key for arch in known.archs],
            hovertemplate="%{text}<br>%{customdata[0]:.1f} MMACs, %{customdata[1]:.2f} Mparams"
            "<br>trained %{y:.2f} %<extra></extra>",
        )
        figure.add_trace(points, row=i, col=1)
        figure.update_xaxes(title_text=row.name, row=i, col=1)
        figure.update_yaxes(title_text="trained top-1 %", row=i, col=1)
    figure.update_layout(
        title=f"Predicted against trained, {found.bench.name}",
        height=120 + 420 * len(rows),
        width=820,
        showlegend=False,
        template="plotly_white",
    )
    text: str = figure.to_html(include_plotlyjs="inline")
    return text


def _scale(mmacs: Any) -> dict[str, Any]:
    """A colour bar in MMACs, though colours go by their logarithm."""
    ticks = [t for t in (1, 2, 5, 10, 20, 40, 80) if mmacs.min() <= t <= mmacs.max()]
    return {"title": "MMACs", "tickvals": np.log10(ticks), "ticktext": [str(t) for t in ticks]}


def _picture(found: Validation, rows: Sequence[Judged]) -> bytes:
    figures, colors = _library("matplotlib.figure"), _library("matplotlib.colors")
    known = found.known
    figure = figures.Figure(figsize=(1.3 * _INCHES, _INCHES * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), 1, squeeze=False)[:, 0]
    for panel, row in zip(panels, rows, strict=True):
        points = panel.scatter(
            row.figures, known.top1, c=known.macs / 1e6, cmap="viridis", norm=colors.LogNorm(), s=16
        )
        panel.set(xlabel=row.name, ylabel="trained top-1 %", title=_title(row))
        figure.colorbar(points, ax=panel, label="MMACs")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MeasurementError(
            f"--plot: draws with {name.partition('.')[0]} (got none). "
            "`pip install 'smt-nas[report]'`, or use --json."
        ) from error
