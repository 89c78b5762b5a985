"""What a reader must know of a front's latencies: where they come from, how far off they were."""

from __future__ import annotations

from collections import Counter

from smt_nas.report.search.columns import BROKEN, POOR
from smt_nas.search import Outcome, TargetMetric
from smt_nas.search.forecast import LatencyPrediction

PREDICTION_SOURCES = {  # by the basis of a prediction
    "sheet": "its data sheet",
    "anchored": "its data sheet and networks measured on it",
    "table": "blocks measured on it",
}


def latency_notes(outcome: Outcome) -> list[str]:
    """Lines below the table."""
    lines = []
    for q in outcome.problem.timed_metrics:
        known = any(q.name in r.intervals for r in (*outcome.front, *outcome.baselines))
        lines += _prediction_notes(outcome, q) if known else []
        lines += _measurement_notes(outcome, q)
        lines += _constraint_notes(outcome, q) if known else []
    lines += [
        f"{q.metric.heading} on {q.target.label}: by formula, weights plus activations alive at "
        "once; what a library's kernels and the allocator need is not in it."
        for q in outcome.problem.metrics
        if q.metric.formula and q.target
    ]
    untimed = [r for r in (*outcome.front, *outcome.baselines) if r.timing_failure]
    if untimed:
        lines.append(
            f"{len(untimed)} networks could not be timed, e.g. {untimed[0].timing_failure}"
        )
    return lines


def _prediction_notes(outcome: Outcome, q: TargetMetric) -> list[str]:
    assert q.target is not None
    place, forecast = q.target.place, outcome.problem.latency_predictions[str(q.target)]
    absent = "" if place.here else f"; no {place.label} is here, so it is not measured"
    origin = PREDICTION_SOURCES[forecast.basis]
    source = f"{q.metric.heading} on {q.target.label}: predicted from {origin}"
    return [
        f"{source} ({place.name}), with an 80 % interval in front.csv{absent}.",
        *(f"{place.label}: {note}" for note in forecast.notes),
        *_preset_notes(forecast),
    ]


def _preset_notes(forecast: LatencyPrediction) -> list[str]:
    if not forecast.apart:
        return []
    names, basis = ", ".join(forecast.apart), next(iter(forecast.apart.values()))
    return [f"{names}: outside the space, so predicted from {PREDICTION_SOURCES[basis]}."]


def _measurement_notes(outcome: Outcome, q: TargetMetric) -> list[str]:
    assert q.target is not None
    measured = [r.measured[q.name] for r in outcome.front if q.name in r.measured]
    lines = []
    if measured:
        threads = q.target.conditions.threads
        thread = f", {threads} CPU thread{'s' * (threads > 1)}" if threads else ""
        status = _describe_status(Counter(m.status for m in measured))
        lines.append(
            f"{q.metric.heading} measured: on this machine, {q.target.label}{thread}, median of "
            f"runs in turns with smt_t, scaled by what smt_t took meanwhile{status}; compare rows, "
            "not machines."
        )
    error = outcome.prediction_errors.get(q.name)
    if error is not None:
        ranks = ""
        if error.spearman is not None and error.kendall is not None:
            ranks = f", Spearman {error.spearman:.2f}, Kendall {error.kendall:.2f}"
        lines.append(
            f"Predicted against measured {q.metric.heading}, {error.n} networks of the front: "
            f"MAPE {error.mape:.1%}, {error.within_10:.0%} within 10 %, {error.covered:.0%} in "
            f"their interval{ranks}."
        )
    return lines


def _describe_status(counts: Counter[str]) -> str:
    poor = {word: n for word, n in counts.items() if word != "ok"}
    words = ", ".join(f"{n} {word}" for word, n in poor.items())
    return f" (marked {POOR}, of {counts.total()}: {words})" if poor else ""


def _constraint_notes(outcome: Outcome, q: TargetMetric) -> list[str]:
    """Whether the constraints on one metric are met: by measurement, or only by prediction."""
    lines = []
    for limit in (x for x in outcome.problem.constraints if x.target_metric == q):
        timed = [r for r in outcome.front if q.name in r.measured]
        over = [r for r in timed if not limit.limit.holds(r.measured[q.name].value)]
        if over:
            lines.append(
                f"{BROKEN} {len(over)} of {len(timed)} networks do not meet the budget by "
                f"measurement: {limit}."
            )
        rest = [r for r in outcome.front if q.name not in r.measured]
        if rest:
            unsure = sum(
                not all(limit.limit.holds(end) for end in r.intervals[q.name]) for r in rest
            )
            lines.append(
                f"The budget, {limit}, is held by prediction, not by measurement: {unsure} of "
                f"{len(rest)} networks hold it only by the middle of their interval."
            )
    return lines
