"""The front as points that the page's script draws: members, presets, what else was tried."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from smt_nas.metrics import METRICS, Unit
from smt_nas.report.page.arch_drawing import describe_architecture
from smt_nas.report.search.columns import is_relative
from smt_nas.search import Outcome, Result, TargetMetric
from smt_nas.search.watch.history_table import make_history_frame

_COSTS = ("macs", "params", "peak_memory_mb")
_MEASURED = "measured "  # before the name of a metric that was also predicted
_TRIED = 2_000  # points of networks beyond the front; more are thinned out evenly
_DIGITS = 7  # significant ones of what scripts read


@dataclass(frozen=True)
class Axis:
    """Something that networks can be drawn by.

    Attributes:
        name: of the metric; after `measured ` what was measured of it.
        unit: in which it is written.
        provenance: where its figures come from.
        is_cost: drawn on a logarithmic axis.
    """

    name: str
    unit: Unit
    provenance: str
    is_cost: bool

    def read(self, r: Result) -> float | None:
        """A network's figure, as it is stored; None where it is not known."""
        measured = self.name.removeprefix(_MEASURED)
        if measured == self.name:
            return r.values.get(self.name)
        return None if measured not in r.measured else r.measured[measured].value

    def describe(self, r: Result) -> str:
        """The figure in its unit, with its interval where there is one."""
        ends = r.intervals.get(self.name)
        text = self.unit.show(self.read(r))
        return text if ends is None else f"{text} [{', '.join(map(self.unit.show, ends))}]"

    def to_values(self) -> dict[str, Any]:
        """As the script reads it."""
        return {
            "name": self.name,
            "heading": self.unit.heading,
            "per": self.unit.per,
            "digits": self.unit.digits,
            "provenance": self.provenance,
            "log": self.is_cost,
        }


def list_axes(outcome: Outcome) -> list[Axis]:
    """What the front can be drawn by: the evaluator's figure, latencies, then costs."""
    problem = outcome.problem
    rows = [*outcome.front, *outcome.baselines]
    named = {q.name: q for q in (*problem.metrics, *problem.timed_metrics)}
    named |= {name: TargetMetric(METRICS[name], name) for name in _COSTS if name not in named}
    axes: list[Axis] = []
    for q in sorted(named.values(), key=lambda q: (not q.is_evaluated, not q.is_predicted)):
        axes += _make_axes(outcome, q, rows)
    return axes


def _make_axes(outcome: Outcome, q: TargetMetric, rows: Sequence[Result]) -> Iterator[Axis]:
    metric = METRICS["score"] if is_relative(outcome, q) else q.metric
    label = "" if q.target is None else f" on {q.target.label}"
    is_cost = metric.direction == "min"
    known = [r.values[q.name] for r in rows if q.name in r.values]
    if known:
        sources = ", ".join(dict.fromkeys(r.provenance[q.name] for r in rows if q.name in r.values))
        unit = metric.choose_unit(known)
        yield Axis(q.name, _label_unit(unit, label), sources, is_cost and min(known) > 0)
    measured = [r.measured[q.name].value for r in rows if q.name in r.measured]
    if measured:
        unit = metric.choose_unit(measured)
        yield Axis(f"{_MEASURED}{q.name}", _label_unit(unit, label), "measured", is_cost)


def _label_unit(unit: Unit, label: str) -> Unit:
    return Unit(f"{unit.heading}{label}", unit.per, unit.digits, unit.scientific)


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
    return {"kind": kind, "title": title, "points": list(points)}


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
    values |= {f"{_MEASURED}{name}": _round(m.value) for name, m in r.measured.items()}
    ends = {name: [_round(end) for end in pair] for name, pair in r.intervals.items()}
    return {
        "name": r.name,
        "title": f"{before}network {r.name}" if r.name.isdecimal() else r.name,
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
    names = [
        name for name in (*(q.name for q in outcome.problem.metrics), *_COSTS) if name in frame
    ]
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
