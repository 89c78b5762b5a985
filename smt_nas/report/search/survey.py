"""What a space is, what budgets mean and what they leave of it; said before a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from smt_nas.budgets import describe_macs
from smt_nas.errors import format_count
from smt_nas.metrics import METRICS
from smt_nas.report.search.latency import PREDICTION_SOURCES
from smt_nas.search.problem.forecast import TargetRecord
from smt_nas.search.problem.objectives import REGION_DISTANCE, TargetMetric
from smt_nas.search.problem.problem import Problem
from smt_nas.search.survey import Survey

_ALWAYS = ("macs", "params")
_WHY = {
    "option": "--device names it",
    "machine": "the budgets do not name one device; --device chooses it",
    "budget": "the budget names it",
}
_MOST = 0.5  # share of networks from which it is told that they wait for the host
_LEAST_SHARE = 0.001  # below it, a share of 20,000 networks is too few of them to be a number


def survey_lines(survey: Survey) -> list[str]:
    """The space with its costs, the devices, the budgets, and the share of it that fits."""
    problem, space = survey.problem, survey.problem.space
    lines = [f"Space {space.name}: {space.size:.2e} networks at {space.config.image_size} px."]
    lines += [_range_line(survey, q) for q in _list_metrics(survey)]
    lines += _target_lines(survey.targets, survey.verify)
    lines += _macs_lines(survey)
    lines += [f"Must hold: {constraint}." for constraint in problem.constraints]
    if problem.constraints:
        known = survey.share >= _LEAST_SHARE
        share = f"{survey.share:.1%}" if known else f"less than {_LEAST_SHARE:.1%}"
        lines.append(f"Share of the space that fits: {share}.")
    return [*lines, *_host_lines(survey), *_apart_lines(survey.problem)]


def _host_lines(survey: Survey) -> Iterator[str]:
    """Where networks wait for a GPU's host, a limit on latency hardly tells them apart."""
    for constraint in survey.problem.constraints:
        q = constraint.target_metric
        share = survey.host_shares.get(q.name, 0.0)
        if share > _MOST and q.target is not None:
            yield (
                f"On {q.target.label} {share:.0%} of the networks are bound by the host, whose "
                "time depends on the number of operators alone: add :graph to the budget (a CUDA "
                "graph), or ask for a batch, e.g. b64."
            )


def _apart_lines(problem: Problem) -> Iterator[str]:
    """Why the latency that is wanted is of another device than the one that is limited."""
    own = problem.target.place.label
    limited = [x.target_metric for x in problem.constraints if x.target_metric.is_predicted]
    others = sorted({q.target.place.label for q in limited if q.target is not None} - {own})
    if others and any(q.is_predicted for q in problem.objectives):
        why = _WHY[problem.default.source]
        yield f"Latency as an objective is of {own}, not of {', '.join(others)}: {why}."


def _list_metrics(survey: Survey) -> list[TargetMetric]:
    """MACs and params, what is predicted, what is limited; each once."""
    problem = survey.problem
    always = [TargetMetric(METRICS[name], name) for name in _ALWAYS]
    limits = [x.target_metric for x in problem.constraints]
    limited = [q for q in limits if q.name != REGION_DISTANCE]  # which is no cost
    return list({q.name: q for q in (*always, *problem.predicted_metrics, *limited)}.values())


def _range_line(survey: Survey, q: TargetMetric) -> str:
    span = survey.ranges[q.name]
    values = (span.low, survey.medians[q.name], span.high)
    unit = q.metric.choose_unit(values)
    low, middle, high = map(unit.show, values)
    where = f" on {q.target.label}" if q.target else ""
    source = f", predicted for {format_count(survey.distinct, 'network')}" if q.is_predicted else ""
    return f"  {unit.heading}{where}: {low} min, {middle} median, {high} max{source}"


def _target_lines(records: Sequence[TargetRecord], verify: bool) -> list[str]:
    """From what each device's latency is predicted, and whether the device is here."""
    lines = []
    measured = "the front is measured on it" if verify else "not measured, by --no-verify"
    for record in records:
        if record.forecast is None:
            continue
        t, source = record.target, PREDICTION_SOURCES[record.forecast.basis]
        here = measured if t.place.here else "not here, so not measured"
        lines.append(f"Latency on {t.label} is predicted from {source} ({t.place.name}; {here}).")
        lines += [f"{t.place.label}: {note}" for note in record.forecast.notes]
    return lines


def _macs_lines(survey: Survey) -> list[str]:
    """What a MACs budget means, and where the smallest preset stands; nothing without one."""
    for constraint in survey.problem.constraints:
        if constraint.target_metric.name == "macs" and constraint.high is not None:
            cost = survey.preset_costs
            verdict = "fits" if constraint.limit.holds(cost.macs) else "does not fit"
            flops = METRICS["macs"].describe(constraint.high).replace("MACs", "FLOPs")
            return [
                f"{flops} here are {describe_macs(constraint.high)}. "
                f"{survey.preset} has {describe_macs(cost.macs, cost.attention_macs)}: it "
                f"{verdict}."
            ]
    return []
