"""Which member of a front to take first, and what is known of it beside a preset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smt_nas.evaluators.base import GAIN
from smt_nas.search.problem.problem import Problem
from smt_nas.search.results.results import Result

_LEAST = 0.05  # points; what is written with one decimal is 0 below it
_NOISE = 0.1
"""Points of top-1. One network trained twice differs by more: 50 seeds spread over up to half a
point (Picard 2021, arXiv:2109.08203, on ImageNet)."""
_COSTS = ("macs", "params", "peak_memory_mb")


@dataclass(frozen=True)
class PresetGain:
    """Gain over the preset of equal MACs, in points, with its 95 % interval."""

    expected: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether its interval leaves out that there is none, by a tenth of a point."""
        return self.low >= _LEAST

    @classmethod
    def read(cls, r: Result) -> PresetGain | None:
        """What the evaluator said of it; None where it said nothing."""
        parts: Mapping[str, float] = {} if r.evaluation is None else r.evaluation.components
        ends = [parts.get(name) for name in (GAIN, f"{GAIN}_low", f"{GAIN}_high")]
        return None if None in ends else cls(*ends)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Recommendation:
    """One member of a front.

    Attributes:
        member: the network.
        gain: of its accuracy; None where the evaluator tells none.
        preset: nearest to the front's best member in what the budget limits: MACs, params or
            memory; in MACs where that is something else.
        bound_difference: lower bound of its accuracy less that of the preset, by the same estimate;
            None where one of them has none.
        ratios: its predictions and costs over the preset's, by metric; of costs that one first.
    """

    member: Result
    gain: PresetGain | None
    preset: Result
    bound_difference: float | None
    ratios: dict[str, float]

    @property
    def is_as_accurate(self) -> bool:
        """Whether its lower bound is that of the preset or higher, but for what is noise."""
        return self.bound_difference is not None and self.bound_difference >= -_NOISE

    def is_well_measured(self, name: str) -> bool:
        """Whether both were measured of the metric on a machine that was steady."""
        rows = [r.measured.get(name) for r in (self.member, self.preset)]
        return all(m is not None and m.status == "ok" for m in rows)

    def find_measured_ratio(self, name: str) -> float | None:
        """What was measured of the metric over what was of the preset; None where one was not."""
        ours, theirs = (r.measured.get(name) for r in (self.member, self.preset))
        return None if ours is None or theirs is None else ours.value / theirs.value


def recommend(
    problem: Problem, front: Sequence[Result], baselines: Sequence[Result]
) -> Recommendation | None:
    """The member to take first; None of an empty front.

    The best one, where its gain is certain or nothing is known of gains; else the cheapest whose
    lower bound is that of the preset nearest to the best one's cost.
    """
    members = [r for r in front if not r.violations] or list(front)
    if not members:
        return None
    first = _find_most_accurate(members)
    limited, best_values = _find_limited_cost(problem), first.values
    preset = min(baselines, key=lambda p: abs(math.log(p.values[limited] / best_values[limited])))
    best = _describe(problem, first, preset)
    if best.gain is None or best.gain.is_certain:
        return best
    described = [_describe(problem, r, preset) for r in members]
    objectives = (*problem.predicted_metrics, *problem.metrics)
    costs = (q.name for q in objectives if q.direction == "min" and not q.is_evaluated)
    cheap = next(costs, "macs")
    sure = [r for r in described if r.is_as_accurate and r.gain is not None]
    return min(sure, key=lambda r: r.member.values[cheap], default=best)


def _find_most_accurate(members: Sequence[Result]) -> Result:
    """That of the highest lower bound; the first where no gain is known.

    A front is in the order of its first objective, which may be a cost.
    """
    rated = {
        i: bound
        for i, r in enumerate(members)
        if PresetGain.read(r) is not None
        and r.evaluation is not None
        and (bound := r.evaluation.compared) is not None
    }
    return members[max(rated, key=rated.__getitem__, default=0)]


def _find_limited_cost(problem: Problem) -> str:
    """The cost that budgets put a ceiling on: of several the first of `_COSTS`; else MACs."""
    limited = {c.target_metric.name for c in problem.constraints if c.high is not None}
    return next((name for name in _COSTS if name in limited), _COSTS[0])


def _describe(problem: Problem, r: Result, preset: Result) -> Recommendation:
    predicted = (q.name for q in problem.predicted_metrics)
    names = dict.fromkeys((*predicted, _find_limited_cost(problem), *_COSTS))
    ours = None if r.evaluation is None else r.evaluation.compared
    theirs = None if preset.evaluation is None else preset.evaluation.compared
    return Recommendation(
        member=r,
        gain=PresetGain.read(r),
        preset=preset,
        bound_difference=None if ours is None or theirs is None else ours - theirs,
        ratios={
            name: r.values[name] / preset.values[name]
            for name in names
            if name in r.values and preset.values.get(name)
        },
    )
