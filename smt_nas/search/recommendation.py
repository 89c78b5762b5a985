"""Which member of a front to take first, and what is known of it beside a preset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smt_nas.evaluators.base import GAIN
from smt_nas.search.problem import Problem
from smt_nas.search.results import Result

_LEAST = 0.05  # points; what is written with one decimal is 0 below it
_COSTS = ("macs", "params", "peak_memory_mb")


@dataclass(frozen=True)
class Gain:
    """Gain over the preset of equal MACs, in points, with its 95 % interval."""

    expected: float
    low: float
    high: float

    @property
    def is_certain(self) -> bool:
        """Whether its interval leaves out that there is none, by a tenth of a point."""
        return self.low >= _LEAST

    @classmethod
    def read(cls, r: Result) -> Gain | None:
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
        preset: of the nearest MACs.
        as_accurate: the lower bound of its accuracy is at least that of the preset, by the same
            estimate.
        ratios: its costs and predictions over the preset's, by metric.
    """

    member: Result
    gain: Gain | None
    preset: Result
    as_accurate: bool
    ratios: dict[str, float]


def recommend(
    problem: Problem, front: Sequence[Result], baselines: Sequence[Result]
) -> Recommendation | None:
    """The member to take first; None of an empty front.

    The best one, where its gain is certain or nothing is known of gains; else the cheapest whose
    lower bound is at least what the same estimate gives the preset of the nearest MACs.
    """
    members = [r for r in front if not r.violations] or list(front)
    if not members:
        return None
    best = _describe(problem, members[0], baselines)
    if best.gain is None or best.gain.is_certain:
        return best
    described = [_describe(problem, r, baselines) for r in members]
    cheap = next(iter([q.name for q in problem.predicted_metrics if q.direction == "min"]), "macs")
    sure = [r for r in described if r.as_accurate and r.gain is not None]
    return min(sure, key=lambda r: r.member.values[cheap], default=best)


def _describe(problem: Problem, r: Result, baselines: Sequence[Result]) -> Recommendation:
    preset = min(baselines, key=lambda p: abs(math.log(p.values["macs"] / r.values["macs"])))
    names = (*(q.name for q in problem.predicted_metrics), *_COSTS)
    ours = None if r.evaluation is None else r.evaluation.compared
    theirs = None if preset.evaluation is None else preset.evaluation.compared
    return Recommendation(
        member=r,
        gain=Gain.read(r),
        preset=preset,
        as_accurate=ours is not None and theirs is not None and ours >= theirs,
        ratios={
            name: r.values[name] / preset.values[name]
            for name in names
            if name in r.values and preset.values.get(name)
        },
    )
