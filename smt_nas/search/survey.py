"""What a space is and what a budget leaves of it; said before anything is searched."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smt_nas import costs
from smt_nas.arch import PRESETS
from smt_nas.costs.bounds import Range
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS, Metric
from smt_nas.search.problem import Problem, baselines
from smt_nas.search.screen import feasible_sample, nearest_miss
from smt_nas.space import SearchSpace
from smt_nas.units import Limit, describe_macs

SAMPLE = 20_000


@dataclass(frozen=True)
class Survey:
    """Costs of a space.

    Attributes:
        ranges: cheapest and dearest network, by metric name; exact (see `costs.bounds`).
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
    for limit in problem.limits:
        _reachable(problem.space, limit, ranges[limit.metric])
    genes = problem.space.sample(np.random.default_rng(0), SAMPLE)
    values = problem.costs(genes)
    share = float((problem.excess(values) == 0).mean())
    if share == 0 and not len(feasible_sample(problem, np.random.default_rng(0), 1)):
        raise ConfigError(_no_network(problem))
    medians = {name: float(np.median(v)) for name, v in values.items()}
    return Survey(ranges, medians, share)


def _reachable(space: SearchSpace, limit: Limit, span: Range) -> None:
    m = METRICS[limit.metric]
    where = f"budget {limit}: no network of space {space.name}"
    if limit.high is not None and limit.high < span.low:
        raise ConfigError(f"{where} costs so little. The nearest that can be met: {_up(m, span)}.")
    if limit.low is not None and limit.low > span.high:
        raise ConfigError(f"{where} costs so much. The nearest that can be met: {_down(m, span)}.")


def _up(m: Metric, span: Range) -> str:
    """The smallest upper limit that can be met, rounded so that it still can."""
    step = 10.0**-m.digits
    return f"{np.ceil(span.low / m.per / step) * step:.{m.digits}f} {m.heading}"


def _down(m: Metric, span: Range) -> str:
    step = 10.0**-m.digits
    return f"at least {np.floor(span.high / m.per / step) * step:.{m.digits}f} {m.heading}"


def _no_network(problem: Problem) -> str:
    limits = " and ".join(str(limit) for limit in problem.limits)
    miss = nearest_miss(problem, np.random.default_rng(0))
    names = dict.fromkeys(limit.metric for limit in problem.limits)
    metrics = [METRICS[name] for name in names]
    nearest = ", ".join(f"{miss[m.name] / m.per:.7g} {m.heading}" for m in metrics)
    return (
        f"budget {limits}: no network of space {problem.space.name} was found that holds it. "
        f"The nearest network has {nearest}."
    )


def explain_macs(problem: Problem) -> str | None:
    """One line: what a MACs budget means and where the smallest preset stands; None without one."""
    limit = next((x for x in problem.limits if x.metric == "macs" and x.high is not None), None)
    if limit is None or limit.high is None:
        return None
    name = next(iter(PRESETS))
    cost = costs.of(baselines(problem.space)[name])
    verdict = "fits" if limit.holds(cost.macs) else "does not fit"
    return (
        f"{limit.high / 1e9:.4g} GFLOPs here are {describe_macs(limit.high)}. {name} has "
        f"{describe_macs(cost.macs, cost.attention_macs)}: it {verdict}."
    )
