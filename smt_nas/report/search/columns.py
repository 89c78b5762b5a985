"""Columns of a front's table: what stands in them, and how much of it 80 characters hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from smt_nas.metrics import METRICS
from smt_nas.search import LatencyTarget, Outcome, Result, TargetMetric

REFERENCE = "smt_t"
BROKEN = "!"  # marks a measured value that breaks its budget
_TOPOLOGY = "topology"  # a component of figures
_ALWAYS = ("score", "macs", "params", "peak_memory_mb")


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        heading: its title, in lines; the last is the provenance.
        cell: its text for a row.
        spare: may be left out where the table is too wide.
    """

    heading: str
    cell: Callable[[Result], str]
    spare: bool = False


def columns_of(outcome: Outcome) -> list[Column]:
    """The columns that hold anything, in the order of METRICS; predicted beside measured."""
    problem = outcome.problem
    wanted = {q.name for q in problem.metrics}
    named = {name: TargetMetric(METRICS[name], name) for name in _ALWAYS}
    named |= {q.name: q for q in (*problem.metrics, *problem.timed_metrics)}
    order = list(METRICS)
    columns = []
    for q in sorted(named.values(), key=lambda q: order.index(q.metric.name)):
        if any(q.name in r.values for r in _rows(outcome)):
            columns.append(_value(outcome, q, spare=q.name not in wanted))
        if any(q.name in r.measured for r in _rows(outcome)):
            columns.append(_measured(outcome, q))
        if q.is_evaluated:
            columns += _parts(outcome, q)
    return [*columns, _ratio(outcome)]


def _rows(outcome: Outcome) -> list[Result]:
    return [*outcome.front, *outcome.baselines]


def _value(outcome: Outcome, q: TargetMetric, spare: bool) -> Column:
    sources = dict.fromkeys(r.provenance[q.name] for r in _rows(outcome) if q.name in r.values)
    heading = _heading(outcome, q, ", ".join(sources))
    spare = spare and q.name == "peak_memory_mb"
    return Column(heading, lambda r: q.metric.show(r.values.get(q.name)), spare)


def _parts(outcome: Outcome, q: TargetMetric) -> list[Column]:
    """What of the evaluator's figure is of the topology, where it says so."""
    if not any(_topology(r) is not None for r in _rows(outcome)):
        return []

    def cell(r: Result) -> str:
        value = _topology(r)
        return "-" if value is None else f"{value:+.{q.metric.digits}f}"

    return [Column("of it\ntopology", cell, spare=True)]


def _topology(r: Result) -> float | None:
    return None if r.evaluation is None else r.evaluation.components.get(_TOPOLOGY)


def _measured(outcome: Outcome, q: TargetMetric) -> Column:
    marked = any(_breaks(r, q) for r in _rows(outcome))

    def cell(r: Result) -> str:
        found = r.measured.get(q.name)
        mark = (BROKEN if _breaks(r, q) else " ") if marked else ""
        return q.metric.show(None if found is None else found.value) + mark

    return Column(_heading(outcome, q, "measured"), cell)


def _breaks(r: Result, q: TargetMetric) -> bool:
    return any(limit.startswith(f"{q.name} ") for limit in r.violations)


def _ratio(outcome: Outcome) -> Column:
    base = next(b for b in outcome.baselines if b.name == REFERENCE).values["macs"]
    return Column(f"MACs vs\n{REFERENCE}", lambda r: f"{r.values['macs'] / base:.2f}x")


def _heading(outcome: Outcome, q: TargetMetric, source: str) -> str:
    """Metric, device where it is not plain which, provenance."""
    words = [q.metric.heading, source]
    if q.target is not None and not _plain(outcome):
        labels = Counter(t.place.label for t in _targets(outcome))
        place, conditions = q.target.place, q.target.conditions
        words.insert(1, place.label)
        if labels[place.label] > 1:
            words.insert(2, f"b{conditions.batch} {conditions.precision}")
    return "\n".join(words)


def _plain(outcome: Outcome) -> bool:
    """Whether all is of one target, and that is this machine's."""
    targets = _targets(outcome)
    return len(targets) <= 1 and all(t.place.label in ("cpu", "gpu") for t in targets)


def _targets(outcome: Outcome) -> list[LatencyTarget]:
    problem = outcome.problem
    found = {
        str(q.target): q.target for q in (*problem.metrics, *problem.timed_metrics) if q.target
    }
    return list(found.values())
