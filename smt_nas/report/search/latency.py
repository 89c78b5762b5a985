"""What a reader must know of a front's latencies: where they come from, how far off they were."""

from __future__ import annotations

from collections import Counter

from smt_nas.errors import format_count
from smt_nas.report.search.columns import BROKEN, POOR
from smt_nas.report.search.notes import Note
from smt_nas.search import Outcome, TargetMetric
from smt_nas.search.problem.forecast import LatencyPrediction

PREDICTION_SOURCES = {  # by the basis of a prediction
    "sheet": "its data sheet",
    "anchored": "its data sheet and networks measured on it",
    "table": "blocks measured on it",
    "table+sheet": "blocks measured on it and, of those that were not, its data sheet",
}


def latency_notes(outcome: Outcome) -> list[Note]:
    """Budgets that are not met, what could not be timed, and how good the figures are."""
    constraints, measurements = list[Note](), list[Note]()
    for q in outcome.problem.timed_metrics:
        constraints += _constraint_notes(outcome, q) if _is_known(outcome, q) else []
        measurements += _measurement_notes(outcome, q)
    return [*constraints, *_untimed_notes(outcome), *measurements]


def prediction_notes(outcome: Outcome) -> list[Note]:
    """Where predictions come from, and memory under conditions of its own."""
    problem, notes = outcome.problem, list[Note]()
    for q in problem.timed_metrics:
        notes += _prediction_notes(outcome, q) if _is_known(outcome, q) else []
    rule = "by formula, weights plus activations alive at once; what a library's kernels and the"
    return notes + [
        Note(f"{q.metric.heading} on {q.target.label}: {rule} allocator need is not in it.")
        for q in problem.metrics
        if q.metric.formula and q.target
    ]


def _is_known(outcome: Outcome, q: TargetMetric) -> bool:
    """Whether anything was predicted of it."""
    return any(q.name in r.intervals for r in (*outcome.front, *outcome.baselines))


def _untimed_notes(outcome: Outcome) -> list[Note]:
    untimed = [r for r in (*outcome.front, *outcome.baselines) if r.timing_failure]
    if not untimed:
        return []
    text = f"Not timed: {format_count(len(untimed), 'network')}, e.g. {untimed[0].timing_failure}"
    return [Note(text, text)]


def _prediction_notes(outcome: Outcome, q: TargetMetric) -> list[Note]:
    assert q.target is not None
    place, forecast = q.target.place, outcome.problem.latency_predictions[str(q.target)]
    absent = "" if place.here else f"; no {place.label} is here, so it is not measured"
    origin = PREDICTION_SOURCES[forecast.basis]
    source = f"{q.metric.heading} on {q.target.label}: predicted from {origin}"
    return [
        Note(
            f"{source} ({place.name}), with an 80 % interval in front.csv{absent}.",
            f"{source}{'' if place.here else ', not measured: it is not here'}.",
        ),
        *(Note(f"{place.label}: {note}") for note in forecast.notes),
        *_preset_notes(forecast),
    ]


def _preset_notes(forecast: LatencyPrediction) -> list[Note]:
    if not forecast.apart:
        return []
    names, basis = ", ".join(forecast.apart), next(iter(forecast.apart.values()))
    text = f"{names}: outside the space, so predicted from {PREDICTION_SOURCES[basis]}."
    return [Note(text, text)]


def _measurement_notes(outcome: Outcome, q: TargetMetric) -> list[Note]:
    assert q.target is not None
    measured = [r.measured[q.name] for r in outcome.front if q.name in r.measured]
    notes = []
    if measured:
        threads = q.target.conditions.threads
        thread = f", {format_count(threads, 'CPU thread')}" if threads else ""
        poor = _describe_status(Counter(m.status for m in measured))
        marked = f" (marked {POOR}, of {len(measured)}: {poor})" if poor else ""
        briefly = f" ({POOR}: {poor})" if poor else ""
        notes.append(
            Note(
                f"{q.metric.heading} measured: on this machine, {q.target.label}{thread}, median "
                f"of runs in turns with smt_t, scaled by what smt_t took meanwhile{marked}; "
                "compare rows, not machines.",
                f"{q.metric.heading} measured{thread}{briefly}: compare rows, not machines.",
            )
        )
    return notes + _error_notes(outcome, q)


def _error_notes(outcome: Outcome, q: TargetMetric) -> list[Note]:
    """How far predictions were off."""
    error = outcome.prediction_errors.get(q.name)
    if error is None:
        return []
    ranks = ""
    if error.spearman is not None and error.kendall is not None:
        ranks = f", Spearman {error.spearman:.2f}, Kendall {error.kendall:.2f}"
    what = f"Predicted against measured {q.metric.heading}"
    covered = f"{error.covered:.0%} in their interval"
    return [
        Note(
            f"{what}, {format_count(error.n, 'network')} of the front: MAPE {error.mape:.1%}, "
            f"{error.within_10:.0%} within 10 %, {covered}{ranks}.",
            f"{what}: MAPE {error.mape:.1%}, {covered}.",
        )
    ]


def _describe_status(counts: Counter[str]) -> str:
    return ", ".join(f"{n} {word}" for word, n in counts.items() if word != "ok")


def _constraint_notes(outcome: Outcome, q: TargetMetric) -> list[Note]:
    """Whether the constraints on one metric are met: by measurement, or only by prediction."""
    notes = []
    for limit in (x for x in outcome.problem.constraints if x.target_metric == q):
        timed = [r for r in outcome.front if q.name in r.measured]
        over = [r for r in timed if not limit.limit.holds(r.measured[q.name].value)]
        if over:
            share = f"{len(over)} of {format_count(len(timed), 'network')}"
            text = f"{BROKEN} Not met by measurement, {share}: {limit}."
            notes.append(Note(text, text))
        rest = [r for r in outcome.front if q.name not in r.measured]
        if rest:
            unsure = sum(
                not all(limit.limit.holds(end) for end in r.intervals[q.name]) for r in rest
            )
            share = f"{unsure} of {format_count(len(rest), 'network')}"
            notes.append(
                Note(
                    f"The budget, {limit}, is held by prediction, not by measurement; only by the "
                    f"middle of the interval in {share}.",
                    f"By prediction only, {limit}: {share} may break it.",
                )
            )
    return notes
