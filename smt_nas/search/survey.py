"""What a space is and what budgets leave of it; found out before anything is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np

from smt_nas import costs
from smt_nas.arch import PRESETS
from smt_nas.costs.bounds import Range, extremes
from smt_nas.errors import ConfigError
from smt_nas.evaluators.topology.design_region import DesignRegion
from smt_nas.metrics import Metric
from smt_nas.search.problem.forecast import TargetRecord
from smt_nas.search.problem.objectives import REGION_DISTANCE, Constraint
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.screen import find_nearest_miss, sample_feasible
from smt_nas.space import Genes, SearchSpace
from smt_nas.space.baselines import baselines

SAMPLE = 20_000
_PROBES = 200


@dataclass(frozen=True)
class Survey:
    """Values over a space.

    Attributes:
        problem: the space, with what must hold and what is wanted.
        ranges: smallest and largest value, by name: exact of formulas (see `costs.bounds`), of
            `SAMPLE` random networks and the extremes of every cost elsewhere.
        medians: of `SAMPLE` random networks.
        distinct: different networks among those; fewer in a small space.
        share: share of the random ones that meets all constraints.
        targets: devices and conditions of its latencies, and how they are predicted.
        preset: name of the smallest preset.
        preset_costs: what that one costs at the space's input.
        host_shares: by name of a limited latency on a GPU, share of those random networks that wait
            for its host.
        verify: the front will be timed, where its device is here.
    """

    problem: Problem
    ranges: dict[str, Range]
    medians: dict[str, float]
    distinct: int
    share: float
    targets: tuple[TargetRecord, ...]
    preset: str
    preset_costs: costs.PartCosts
    host_shares: dict[str, float] = field(default_factory=dict)
    verify: bool = True


def describe(problem: Problem, verify: bool = True) -> Survey:
    """Survey the space and the share of it that the constraints leave.

    Args:
        problem: with the constraints.
        verify: as in `Survey`.

    Raises:
        ConfigError: no network meets the constraints; names the nearest that can be met.
        MeasurementError: a device that cannot be predicted under such conditions.
    """
    ranges = costs.bounds(problem.space)
    for constraint in problem.constraints:
        if constraint.target_metric.name in ranges:
            _check_reachable(problem.space, constraint, ranges[constraint.target_metric.name])
    genes = problem.space.sample(np.random.default_rng(0), SAMPLE)
    values = problem.values(genes)
    share = float((problem.total_violation(values) == 0).mean())
    if share == 0 and not len(sample_feasible(problem, np.random.default_rng(0), 1)):
        raise ConfigError(_explain_infeasible(problem))
    ends = problem.values(extremes(problem.space))
    for name in values.keys() - ranges.keys():
        both = np.concatenate([values[name], ends[name]])
        ranges[name] = Range(float(both.min()), float(both.max()))
    preset = next(iter(PRESETS))
    return Survey(
        problem=problem,
        ranges=ranges,
        medians={name: float(np.median(v)) for name, v in values.items()},
        distinct=len(np.unique(problem.space.canonical(genes), axis=0)),
        share=share,
        targets=problem.target_records,
        preset=preset,
        preset_costs=costs.of(baselines(problem.space)[preset]),
        host_shares=_share_by_host(problem, genes),
        verify=verify,
    )


def _share_by_host(problem: Problem, genes: Genes) -> dict[str, float]:
    """Of each limited latency that a host plays a part in, share of networks that wait for it."""
    shares = {}
    for q in (x.target_metric for x in problem.constraints):
        bound = problem.find_host_bound(q, genes) if q.is_predicted else None
        if bound is not None:
            shares[q.name] = float(bound.mean())
    return shares


def _way_out(problem: Problem) -> str:
    """What helps where most networks wait for the host."""
    genes = problem.space.sample(np.random.default_rng(0), _PROBES)
    if not any(share > 0.5 for share in _share_by_host(problem, genes).values()):
        return ""
    return " Networks wait for the host there: add :graph (a CUDA graph), or ask for a batch."


def _check_reachable(space: SearchSpace, limit: Constraint, span: Range) -> None:
    m = limit.target_metric.metric
    where = f"budget {limit}: no network of space {space.name}"
    if limit.high is not None and limit.high < span.low:
        nearest = _round_up(m, span.low)
        raise ConfigError(f"{where} costs so little. The nearest that can be met: {nearest}.")
    if limit.low is not None and limit.low > span.high:
        nearest = _round_down(m, span.high)
        raise ConfigError(f"{where} costs so much. The nearest that can be met: {nearest}.")


def _round_up(m: Metric, value: float) -> str:
    """The smallest upper limit of four digits that a value holds."""
    step = _last_digit(value)
    return m.describe(math.ceil(value / step) * step)


def _round_down(m: Metric, value: float) -> str:
    step = _last_digit(value)
    return f"at least {m.describe(math.floor(value / step) * step)}"


def _last_digit(value: float) -> float:
    """What the fourth significant digit counts."""
    return float(10.0 ** (math.floor(math.log10(value)) - 3))


def _explain_outside(problem: Problem, region: DesignRegion) -> str:
    """No network was found within the region: because of it, or of the budgets?"""
    budgets = tuple(x for x in problem.constraints if x.target_metric.name != REGION_DISTANCE)
    free = replace(problem, constraints=budgets, region=None)
    if not len(sample_feasible(free, np.random.default_rng(0), 1)):
        return _explain_infeasible(free)
    miss = find_nearest_miss(problem, np.random.default_rng(0))[REGION_DISTANCE]
    limits = "".join(f" with {limit}" for limit in budgets[:1])
    limits += "".join(f" and {limit}" for limit in budgets[1:])
    return (
        f"--region published: no network of space {problem.space.name}{limits} was found within "
        f"the region of published designs (got a distance of {miss:.2f}; it ends at "
        f"{region.limit:.2f}). --region none searches without it."
    )


def _explain_infeasible(problem: Problem) -> str:
    if problem.region is not None:
        return _explain_outside(problem, problem.region)
    limits = " and ".join(str(limit) for limit in problem.constraints)
    miss = find_nearest_miss(problem, np.random.default_rng(0))
    where = f"budget {limits}: no network of space {problem.space.name} was found that holds it."
    if len(problem.constraints) == 1:
        (limit,) = problem.constraints
        value, m = miss[limit.target_metric.name], limit.target_metric.metric
        if limit.high is not None and value > limit.high:
            return f"{where} The nearest that can be met: {_round_up(m, value)}.{_way_out(problem)}"
        if limit.low is not None and value < limit.low:
            return f"{where} The nearest that can be met: {_round_down(m, value)}."
    limited = {x.target_metric.name: x.target_metric for x in problem.constraints}.values()
    nearest = ", ".join(
        f"{q.metric.describe(miss[q.name], 7)}{f' on {q.target.label}' if q.target else ''}"
        for q in limited
    )
    return f"{where} The nearest network has {nearest}."
