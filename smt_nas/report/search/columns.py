"""Columns of a front's table: what stands in them, and how much of it 80 characters hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from smt_nas.metrics import METRICS, Metric, Unit
from smt_nas.search import LatencyTarget, Outcome, Result, TargetMetric
from smt_nas.search.results.recommendation import PresetGain

REFERENCE = "smt_t"
BROKEN = "!"  # marks a measured value that breaks its budget
POOR = "~"  # marks one that was measured while something spoke against it: a busy machine, a drift
_TOPOLOGY = "topology"  # a component of figures
_BESIDE = "inherited_top1"  # one that stands beside the loss that networks are ordered by
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


def make_columns(outcome: Outcome) -> list[Column]:
    """The columns that hold anything, in the order of METRICS; predicted beside measured."""
    problem = outcome.problem
    wanted = {q.name for q in problem.metrics}
    named = {name: TargetMetric(METRICS[name], name) for name in _ALWAYS}
    named |= {q.name: q for q in (*problem.metrics, *problem.timed_metrics)}
    order = list(METRICS)
    columns = []
    for q in sorted(named.values(), key=lambda q: order.index(q.metric.name)):
        if any(q.name in r.values for r in _list_rows(outcome)):
            columns.append(_make_value_column(outcome, q, spare=q.name not in wanted))
        if any(q.name in r.measured for r in _list_rows(outcome)):
            columns.append(_make_measured_column(outcome, q))
            columns.append(_make_preset_column(outcome, q))
        if q.is_evaluated:
            columns += _make_published_columns(outcome, q)
        if q == problem.evaluated_metric:
            columns += _make_gain_columns(outcome, q) or _make_component_columns(outcome, q)
    return [*columns, _make_ratio_column(outcome)]


def _list_rows(outcome: Outcome) -> list[Result]:
    return [*outcome.front, *outcome.baselines]


def _make_value_column(outcome: Outcome, q: TargetMetric, spare: bool) -> Column:
    sources = dict.fromkeys(r.provenance[q.name] for r in _list_rows(outcome) if q.name in r.values)
    relative, choice = is_relative(outcome, q), outcome.settings.evaluator
    metric = METRICS["score"] if relative else q.metric
    unit = metric.choose_unit(r.values.get(q.name) for r in _list_rows(outcome))
    source = ", ".join(sources)
    if relative and choice is not None:  # a score says whose it is
        source = f"{choice.name}\n{source}"
    heading = _make_heading(outcome, q, unit, source)
    spare = spare and q.name == "peak_memory_mb"
    return Column(heading, lambda r: unit.show(r.values.get(q.name)), spare)


def is_relative(outcome: Outcome, q: TargetMetric) -> bool:
    """Whether an evaluator's figure orders networks and has no level: of no use as a percentage.

    Runs of before have such figures under the name of the accuracy that they are not.
    """
    rated = [r.evaluation for r in _list_rows(outcome) if r.evaluation is not None]
    return q.is_evaluated and any(e.relative for e in rated)


def _make_published_columns(outcome: Outcome, q: TargetMetric) -> list[Column]:
    """What papers tell of the presets, beside what is predicted of them."""
    if not any(q.name in r.published for r in outcome.baselines):
        return []
    return [
        Column(f"{q.metric.heading}\npublished", lambda r: q.metric.show(r.published.get(q.name)))
    ]


def _make_gain_columns(outcome: Outcome, q: TargetMetric) -> list[Column]:
    """The gain over the preset of equal MACs with its interval, where the evaluator tells it."""
    if not any(PresetGain.read(r) for r in _list_rows(outcome)):
        return []

    def cell(r: Result) -> str:
        gain = None if r in outcome.baselines else PresetGain.read(r)
        return "-" if gain is None else describe_gain(gain)

    return [Column("gain over preset,\nequal MACs, 95 %", cell)]


def describe_gain(gain: PresetGain) -> str:
    """`+0.7 [+0.2, +1.2]`."""
    return f"{gain.expected:+.1f} [{gain.low:+.1f}, {gain.high:+.1f}]"


def _make_component_columns(outcome: Outcome, q: TargetMetric) -> list[Column]:
    """Figures beside the evaluator's: an accuracy; what is of the topology, where it says so."""
    rated = [r.evaluation for r in _list_rows(outcome) if r.evaluation is not None]
    if any(_BESIDE in evaluation.components for evaluation in rated):
        return [_make_beside_column(METRICS[_BESIDE])]
    if not any(_read_topology(r) is not None for r in _list_rows(outcome)):
        return []

    def cell(r: Result) -> str:
        value = _read_topology(r)
        digits = q.metric.digits
        return "-" if value is None else f"{round(value, digits) + 0.0:+.{digits}f}"  # no -0.000

    return [Column("of it\ntopology", cell, spare=True)]


def _make_beside_column(metric: Metric) -> Column:
    def cell(r: Result) -> str:
        parts = {} if r.evaluation is None else r.evaluation.components
        return metric.show(parts.get(metric.name))

    return Column(f"{metric.heading}\n{metric.provenance}", cell)


def _read_topology(r: Result) -> float | None:
    return None if r.evaluation is None else r.evaluation.components.get(_TOPOLOGY)


def _make_measured_column(outcome: Outcome, q: TargetMetric) -> Column:
    width = max(len(_mark(r, q)) for r in _list_rows(outcome))
    rows = [r.measured[q.name] for r in _list_rows(outcome) if q.name in r.measured]
    unit = q.metric.choose_unit(m.value for m in rows)

    def cell(r: Result) -> str:
        measured = r.measured.get(q.name)
        return unit.show(None if measured is None else measured.value) + _mark(r, q).ljust(width)

    return Column(_make_heading(outcome, q, unit, "measured"), cell)


def _mark(r: Result, q: TargetMetric) -> str:
    """What a reader must know of a measured value at first sight."""
    measured = r.measured.get(q.name)
    is_poor = measured is not None and measured.status != "ok"
    return BROKEN * _is_violated(r, q) + POOR * is_poor


def _make_preset_column(outcome: Outcome, q: TargetMetric) -> Column:
    """A measured value over that of the preset of equal cost, and which that is."""

    def cell(r: Result) -> str:
        measured = r.measured.get(q.name)
        if measured is None or measured.versus_preset is None:
            return "-"
        return f"{measured.versus_preset:.2f}x {measured.preset}"

    return Column("vs like\npreset", cell, spare=True)


def _is_violated(r: Result, q: TargetMetric) -> bool:
    return any(limit.startswith(f"{q.name} ") for limit in r.violations)


def _make_ratio_column(outcome: Outcome) -> Column:
    base = next(b for b in outcome.baselines if b.name == REFERENCE).values["macs"]
    return Column(
        f"MACs vs\n{REFERENCE}",
        lambda r: f"{r.values['macs'] / base:.2f}x",
        spare=any(PresetGain.read(r) for r in _list_rows(outcome)),  # of a preset already
    )


def _make_heading(outcome: Outcome, q: TargetMetric, unit: Unit, source: str) -> str:
    """Metric, device where it is not plain which, provenance."""
    words = [unit.heading, source]
    if q.target is not None and not _is_plain(outcome):
        labels = Counter(t.place.label for t in _list_targets(outcome))
        place, conditions = q.target.place, q.target.conditions
        words.insert(1, place.label)
        if labels[place.label] > 1:
            words.insert(2, f"b{conditions.batch} {conditions.precision}")
    return "\n".join(words)


def _is_plain(outcome: Outcome) -> bool:
    """Whether all is of one target, and that is this machine's."""
    targets = _list_targets(outcome)
    return len(targets) <= 1 and all(t.place.label in ("cpu", "gpu") for t in targets)


def _list_targets(outcome: Outcome) -> list[LatencyTarget]:
    problem = outcome.problem
    targets = {
        str(q.target): q.target for q in (*problem.metrics, *problem.timed_metrics) if q.target
    }
    return list(targets.values())
