"""How a search went, on its page: the hypervolume, the figure of each trial, the surrogate."""

from __future__ import annotations

import numpy as np
import pandas

from smt_nas.report.page.elements import make_plot
from smt_nas.search import Outcome
from smt_nas.search.watch.history_table import make_history_frame


def make_history_plots(outcome: Outcome) -> str:
    """The plots; empty where nothing was tried."""
    frame = make_history_frame(outcome.problem, outcome.trials)
    if frame.empty:
        return ""
    return _plot_volume(frame) + _plot_figures(outcome, frame) + _plot_surrogate(outcome)


def _plot_volume(frame: pandas.DataFrame) -> str:
    known = frame.dropna(subset=["hypervolume"])
    trace = {
        "type": "scatter",
        "mode": "lines",
        "x": known["trial"].tolist(),
        "y": known["hypervolume"].tolist(),
        "line": {"color": "var(--member)", "shape": "hv"},
    }
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": "hypervolume so far"}},
        "height": 300,
    }
    return make_plot("Hypervolume of the front, trial by trial", [trace], layout)


def _plot_figures(outcome: Outcome, frame: pandas.DataFrame) -> str:
    metric = outcome.problem.objectives[0]
    unit = metric.metric.choose_unit(frame[metric.name][np.isfinite(frame[metric.name])])
    traces = []
    for feasible, title, symbol in (
        (True, "within budget", "circle"),
        (False, "over budget", "circle-open"),
    ):
        rows = frame[(frame["feasible"] == feasible) & np.isfinite(frame[metric.name])]
        if len(rows):
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": title,
                    "x": rows["trial"].tolist(),
                    "y": (rows[metric.name] / unit.per).tolist(),
                    "text": rows["key"].tolist(),
                    "marker": {"color": "var(--member)", "symbol": symbol, "size": 5},
                    "hovertemplate": "%{text}<br>trial %{x}: %{y:.4g}<extra></extra>",
                }
            )
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": {"title": {"text": unit.heading}},
        "height": 300,
    }
    return make_plot(f"{unit.heading} of each trial", traces, layout)


def _plot_surrogate(outcome: Outcome) -> str:
    """Kendall tau of each objective's model to what was then evaluated; empty without one."""
    taus = [
        (a.first, a.kendall_tau) for a in outcome.surrogate_accuracies if a.kendall_tau is not None
    ]
    if not taus:
        return ""
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [trials for trials, _ in taus],
        "y": [tau for _, tau in taus],
        "line": {"color": "var(--member)"},
    }
    layout = {
        "xaxis": {"title": {"text": "first trial of the round"}},
        "yaxis": {"title": {"text": "Kendall tau of the surrogate"}, "range": [-1, 1]},
        "height": 260,
    }
    return make_plot("How well the surrogate foretold each round", [trace], layout)
