"""The front as points that the page's script draws: members, presets, what else was tried."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from smt_nas.report.page.arch_drawing import describe_architecture
from smt_nas.report.search.axes import COSTS, MEASURED, Axis, list_axes
from smt_nas.search import Outcome, Result
from smt_nas.search.watch.history_table import make_history_frame

_TRIED = 2_000  # points of networks beyond the front; more are thinned out evenly
_DIGITS = 7  # significant ones of what scripts read


def make_front_data(outcome: Outcome, chosen: str | None) -> dict[str, Any]:
    """What the script reads: the axes, and points in groups.

    Args:
        outcome: of the search.
        chosen: name of the network that is looked at first; None for none.
    """
    groups = [
        _make_group("tried", "tried", _list_tried(outcome)),
        _make_group("member", "front", map(_make_point, outcome.front)),
        _make_group("preset", "presets", map(_make_point, outcome.baselines)),
    ]
    return _make_data(list_axes(outcome), groups, chosen)


def make_compared_data(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """The same of the fronts of several runs, by their names; the presets are the last one's."""
    groups = [
        _make_group(f"run-{i}", name, (_make_point(r, f"{name}: ") for r in outcome.front))
        for i, (name, outcome) in enumerate(outcomes.items())
    ]
    last = list(outcomes.values())[-1]
    groups.append(_make_group("preset", "presets", map(_make_point, last.baselines)))
    return _make_data(list_shared_axes(list(outcomes.values())), groups, None)


def list_shared_axes(outcomes: Sequence[Outcome]) -> list[Axis]:
    """Axes that the fronts of all runs can be drawn by; units are those of the first run."""
    names = [{axis.name for axis in list_axes(outcome)} for outcome in outcomes]
    return [axis for axis in list_axes(outcomes[0]) if all(axis.name in some for some in names)]


def _make_group(kind: str, title: str, points: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": kind, "title": html.escape(title), "points": list(points)}  # plotly knows tags


def _make_data(
    axes: Sequence[Axis], groups: Sequence[dict[str, Any]], chosen: str | None
) -> dict[str, Any]:
    return {
        "columns": [axis.to_values() for axis in axes],
        "groups": [group for group in groups if group["points"]],
        "chosen": chosen,
    }


def _make_point(r: Result, before: str = "") -> dict[str, Any]:
    values = {name: _round(value) for name, value in r.values.items() if math.isfinite(value)}
    values |= {f"{MEASURED}{name}": _round(m.value) for name, m in r.measured.items()}
    ends = {
        name: [_round(end) for end in pair]
        for name, pair in r.intervals.items()
        if all(map(math.isfinite, pair))
    }
    return {
        "name": r.name,
        "title": html.escape(f"{before}network {r.name}") if r.name.isdecimal() else r.name,
        "network": describe_architecture(r.arch),
        "values": values,
        "intervals": ends,
    }


def _list_tried(outcome: Outcome) -> list[dict[str, Any]]:
    """What was tried and is not on the front."""
    frame = make_history_frame(outcome.problem, outcome.trials)
    on_front = {r.arch.key for r in outcome.front}
    frame = frame[~frame["key"].isin(on_front) & (frame["state"] == "complete")]
    frame = frame.iloc[:: max(1, -(-len(frame) // _TRIED))]
    names = [name for name in (*(q.name for q in outcome.problem.metrics), *COSTS) if name in frame]
    points = []
    for record in frame.to_dict("records"):
        fits = "" if record["feasible"] else ", over budget"
        points.append(
            {
                "name": str(record["trial"]),
                "title": f"trial {record['trial']}{fits}",
                "network": str(record["key"]),
                "values": _known(record, names),
            }
        )
    return points


def _known(record: Mapping[Any, Any], names: Sequence[str]) -> dict[str, float]:
    return {n: _round(float(record[n])) for n in names if math.isfinite(float(record[n]))}


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
