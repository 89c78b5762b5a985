"""Figures of a run that networks can be drawn by: the evaluator's, latencies, costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from smt_nas.metrics import METRICS, Unit
from smt_nas.report.search.columns import is_relative
from smt_nas.search import Outcome, Result, TargetMetric

COSTS = ("macs", "params", "peak_memory_mb")
MEASURED = "measured "
"""Before the name of a metric that was also predicted."""


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
        measured = self.name.removeprefix(MEASURED)
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
    named |= {name: TargetMetric(METRICS[name], name) for name in COSTS if name not in named}
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
        yield Axis(f"{MEASURED}{q.name}", _label_unit(unit, label), "measured", is_cost)


def _label_unit(unit: Unit, label: str) -> Unit:
    return Unit(f"{unit.heading}{label}", unit.per, unit.digits, unit.scientific)
