"""Predicted against measured latency, a point a network: on the line they are equal."""

from __future__ import annotations

from collections.abc import Iterator

from smt_nas.report.page.elements import make_plot
from smt_nas.search import Outcome, Result, TargetMetric


def make_latency_plots(outcome: Outcome) -> str:
    """A plot for each latency that was measured; empty where none was."""
    return "".join(_make_plot(outcome, q) for q in _list_measured(outcome))


def _list_measured(outcome: Outcome) -> Iterator[TargetMetric]:
    for q in outcome.problem.timed_metrics:
        if any(q.name in r.measured and q.name in r.values for r in outcome.front):
            yield q


def _make_plot(outcome: Outcome, q: TargetMetric) -> str:
    traces, ends = [], []
    for title, colour, rows in (
        ("front", "var(--member)", outcome.front),
        ("presets", "var(--preset)", outcome.baselines),
    ):
        known = [r for r in rows if q.name in r.measured and q.name in r.values]
        ends += [value for r in known for value in (r.values[q.name], r.measured[q.name].value)]
        traces.append(_make_trace(q, title, colour, known))
    line = [min(ends), max(ends)]
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "equal",
            "x": line,
            "y": line,
            "line": {"color": "var(--tried)", "dash": "dot"},
            "hoverinfo": "skip",
        }
    )
    heading = q.metric.heading if q.target is None else f"{q.metric.heading} on {q.target.label}"
    axis = {"type": "log"}
    layout = {
        "xaxis": {"title": {"text": f"{heading}, predicted"}, **axis},
        "yaxis": {"title": {"text": f"{heading}, measured"}, **axis},
    }
    return make_plot(f"Measured against predicted {heading}", traces, layout)


def _make_trace(q: TargetMetric, title: str, colour: str, rows: list[Result]) -> dict[str, object]:
    pairs = [r.intervals.get(q.name, (r.values[q.name],) * 2) for r in rows]
    predicted = [r.values[q.name] for r in rows]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": title,
        "x": predicted,
        "y": [r.measured[q.name].value for r in rows],
        "text": [r.name for r in rows],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [high - p for (_, high), p in zip(pairs, predicted, strict=True)],
            "arrayminus": [p - low for (low, _), p in zip(pairs, predicted, strict=True)],
            "thickness": 0.7,
            "width": 0,
            "color": colour,
        },
        "marker": {"color": colour, "size": 7},
        "hovertemplate": "%{text}: predicted %{x:.4g}, measured %{y:.4g}<extra></extra>",
    }
