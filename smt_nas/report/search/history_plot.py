"""How a search went: the hypervolume, trial by trial, above the figure of each trial."""

from __future__ import annotations

import html
import io
from pathlib import Path

import pandas

from smt_nas.files import write_atomic
from smt_nas.report.plot_files import import_plot_library
from smt_nas.search import Outcome
from smt_nas.search.watch.history_table import make_history_frame

_VOLUME = "hypervolume so far"


def draw_history(outcome: Outcome, path: Path) -> None:
    """Draw it as a page (.html) or a picture (.png). Raises StoreError where it cannot be written.

    Networks that break a budget are hollow; those without a figure are not there.
    """
    frame = make_history_frame(outcome.problem, outcome.trials)
    metric = outcome.problem.objectives[0]
    values = frame[metric.name] / metric.metric.per if len(frame) else frame["hypervolume"]
    figures = frame.assign(figure=values).dropna(subset=["figure"])
    title = f"{outcome.path.name}: {len(frame)} networks tried"
    draw = _draw_page if path.suffix == ".html" else _draw_picture
    write_atomic(path, draw(title, metric.metric.heading, frame, figures))


def _draw_page(title: str, heading: str, frame: pandas.DataFrame, figures: pandas.DataFrame) -> str:
    subplots = import_plot_library("plotly.subplots")
    objects = import_plot_library("plotly.graph_objects")
    figure = subplots.make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    curve = objects.Scatter(x=frame["trial"], y=frame["hypervolume"], mode="lines", name=_VOLUME)
    figure.add_trace(curve, row=1, col=1)
    for feasible, name, symbol in (
        (True, heading, "circle"),
        (False, "over budget", "circle-open"),
    ):
        rows = figures[figures["feasible"] == feasible]
        points = objects.Scatter(
            x=rows["trial"],
            y=rows["figure"],
            mode="markers",
            name=html.escape(name),
            marker={"symbol": symbol, "size": 6},
            text=rows["key"],
            hovertemplate="%{text}<br>trial %{x}: %{y:.4g}<extra></extra>",
        )
        figure.add_trace(points, row=2, col=1)
    figure.update_yaxes(title_text=_VOLUME, row=1, col=1)
    figure.update_yaxes(title_text=html.escape(heading), row=2, col=1)
    figure.update_xaxes(title_text="trial", row=2, col=1)
    figure.update_layout(title=html.escape(title), height=720, template="plotly_white")
    text: str = figure.to_html(include_plotlyjs="inline")
    return text


def _draw_picture(
    title: str, heading: str, frame: pandas.DataFrame, figures: pandas.DataFrame
) -> bytes:
    drawing = import_plot_library("matplotlib.figure")
    figure = drawing.Figure(figsize=(7.2, 6.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    above.plot(frame["trial"], frame["hypervolume"], drawstyle="steps-post")
    above.set(ylabel=_VOLUME, title=title)
    for feasible, face, name in ((True, None, None), (False, "none", "over budget")):
        rows = figures[figures["feasible"] == feasible]
        style = {} if face is None else {"facecolors": face}
        below.scatter(rows["trial"], rows["figure"], s=14, edgecolors="C0", label=name, **style)
    below.set(xlabel="trial", ylabel=heading)
    if not figures["feasible"].all():
        below.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    return buffer.getvalue()
