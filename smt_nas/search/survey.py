"""What a space is and what a budget leaves of it; said before anything is searched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smt_nas import costs
from smt_nas.arch import PRESETS
from smt_nas.budgets import describe_macs
from smt_nas.costs.bounds import Range, extremes
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS, Metric
from smt_nas.runtime.progress import SearchListener
from smt_nas.search.objectives import Constraint, TargetMetric
from smt_nas.search.problem import Problem
from smt_nas.search.screen import find_nearest_miss, sample_feasible
from smt_nas.space import SearchSpace
from smt_nas.space.baselines import baselines

SOURCES = {  # by `Forecast.basis`
    "sheet": "its data sheet",
    "anchored": "its data sheet and networks measured on it",
    "table": "blocks measured on it",
}
SAMPLE = 20_000


@dataclass(frozen=True)
class Survey:
    """Values over a space.

    Attributes:
        ranges: smallest and largest value, by name: exact of formulas (see `costs.bounds`), of
            `SAMPLE` random networks and the extremes of every cost elsewhere.
        medians: of `SAMPLE` random networks.
        share: share of those that holds all limits.
    """

    ranges: dict[str, Range]
    medians: dict[str, float]
    share: float


def survey(problem: Problem) -> Survey:
    """Describe the space and the share of it that the limits leave.

    Raises:
        ConfigError: no network holds the limits; names the nearest that can be met.
    """
    ranges = costs.bounds(problem.space)
    for limit in problem.constraints:
        if limit.target_metric.name in ranges:
            _reachable(problem.space, limit, ranges[limit.target_metric.name])
    genes = problem.space.sample(np.random.default_rng(0), SAMPLE)
    values = problem.values(genes)
    share = float((problem.total_violation(values) == 0).mean())
    if share == 0 and not len(sample_feasible(problem, np.random.default_rng(0), 1)):
        raise ConfigError(_no_network(problem))
    ends = problem.values(extremes(problem.space))
    for name in values.keys() - ranges.keys():
        both = np.concatenate([values[name], ends[name]])
        ranges[name] = Range(float(both.min()), float(both.max()))
    medians = {name: float(np.median(v)) for name, v in values.items()}
    return Survey(ranges, medians, share)


def introduce(problem: Problem, listener: SearchListener) -> None:
    """Say what the space is, what the budgets mean and what they leave.

    Raises:
        ConfigError: as `survey`.
    """
    found, space = survey(problem), problem.space
    listener.say(f"Space {space.name}: {space.size:.2e} networks at {space.config.image_size} px.")
    always = [TargetMetric(METRICS[name], name) for name in ("macs", "params")]
    shown = [*always, *problem.predicted_metrics, *(x.target_metric for x in problem.constraints)]
    for q in {q.name: q for q in shown}.values():
        span = found.ranges[q.name]
        low, median, high = (q.metric.show(v) for v in (span.low, found.medians[q.name], span.high))
        where = f" on {q.target.label}" if q.target else ""
        source = f", predicted for {SAMPLE} networks" if q.is_predicted else ""
        listener.say(f"  {q.metric.heading}{where}: {low} min, {median} median, {high} max{source}")
    for line in (*explain_targets(problem), explain_macs(problem)):
        if line:
            listener.say(line)
    for limit in problem.constraints:
        listener.say(f"Must hold: {limit}.")
    if problem.constraints:
        share = f"{found.share:.1%}" if found.share >= 0.001 else "less than 0.1%"
        listener.say(f"Share of the space that fits: {share}.")


def _reachable(space: SearchSpace, limit: Constraint, span: Range) -> None:
    m = limit.target_metric.metric
    where = f"budget {limit}: no network of space {space.name}"
    if limit.high is not None and limit.high < span.low:
        nearest = _up(m, span.low)
        raise ConfigError(f"{where} costs so little. The nearest that can be met: {nearest}.")
    if limit.low is not None and limit.low > span.high:
        nearest = _down(m, span.high)
        raise ConfigError(f"{where} costs so much. The nearest that can be met: {nearest}.")


def _up(m: Metric, value: float) -> str:
    """The smallest upper limit that a value holds, in the digits of tables."""
    step = 10.0**-m.digits
    return f"{np.ceil(value / m.per / step) * step:.{m.digits}f} {m.heading}"


def _down(m: Metric, value: float) -> str:
    step = 10.0**-m.digits
    return f"at least {np.floor(value / m.per / step) * step:.{m.digits}f} {m.heading}"


def _no_network(problem: Problem) -> str:
    limits = " and ".join(str(limit) for limit in problem.constraints)
    miss = find_nearest_miss(problem, np.random.default_rng(0))
    where = f"budget {limits}: no network of space {problem.space.name} was found that holds it."
    if len(problem.constraints) == 1:
        (limit,) = problem.constraints
        value, m = miss[limit.target_metric.name], limit.target_metric.metric
        if limit.high is not None and value > limit.high:
            return f"{where} The nearest that can be met: {_up(m, value)}."
        if limit.low is not None and value < limit.low:
            return f"{where} The nearest that can be met: {_down(m, value)}."
    quantities = {x.target_metric.name: x.target_metric for x in problem.constraints}.values()
    nearest = ", ".join(
        f"{miss[q.name] / q.metric.per:.7g} {q.metric.heading}"
        f"{f' on {q.target.label}' if q.target else ''}"
        for q in quantities
    )
    return f"{where} The nearest network has {nearest}."


def explain_targets(problem: Problem) -> list[str]:
    """A line for each device whose latency is predicted: from what, and whether it is here."""
    lines = []
    for record in problem.target_records:
        if record.forecast is None:
            continue
        t, source = record.target, SOURCES[record.forecast.basis]
        here = "the front is measured on it" if t.place.here else "not here, so not measured"
        lines.append(f"Latency on {t.label} is predicted from {source} ({t.place.name}; {here}).")
        lines += [f"{t.place.label}: {note}" for note in record.forecast.notes]
    return lines


def explain_macs(problem: Problem) -> str | None:
    """One line: what a MACs budget means and where the smallest preset stands; None without one."""
    limits = (
        x for x in problem.constraints if x.target_metric.name == "macs" and x.high is not None
    )
    limit = next(limits, None)
    if limit is None or limit.high is None:
        return None
    name = next(iter(PRESETS))
    cost = costs.of(baselines(problem.space)[name])
    verdict = "fits" if limit.limit.holds(cost.macs) else "does not fit"
    return (
        f"{limit.high / 1e9:.4g} GFLOPs here are {describe_macs(limit.high)}. {name} has "
        f"{describe_macs(cost.macs, cost.attention_macs)}: it {verdict}."
    )
