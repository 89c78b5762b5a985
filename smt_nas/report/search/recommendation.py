"""The member of a front to take first, in one line."""

from __future__ import annotations

from smt_nas.report.search.columns import describe_gain
from smt_nas.search import Outcome
from smt_nas.search.recommendation import Gain, Recommendation, recommend

_WORDS = {
    "latency_ms": "latency",
    "throughput_ips": "throughput",
    "macs": "MACs",
    "params": "params",
    "peak_memory_mb": "memory",
}
_TOLD = 3  # ratios


def recommend_line(outcome: Outcome) -> str | None:
    """What to take and why; None where nothing is known of gains, or nothing is there."""
    choice = recommend(outcome.problem, outcome.front, outcome.baselines)
    if choice is None or choice.gain is None:
        return None
    return f"Recommended: {choice.member.name}, {_describe_gain(choice.gain, choice)}."


def recommended_name(outcome: Outcome) -> str | None:
    """Its name on the front."""
    choice = recommend(outcome.problem, outcome.front, outcome.baselines)
    return None if choice is None else choice.member.name


def _describe_gain(gain: Gain, choice: Recommendation) -> str:
    preset, points = choice.preset.name, describe_gain(gain)
    ratios = ", ".join(
        f"{ratio:.2f}x the {_WORDS[name.partition('@')[0]]}"
        for name, ratio in list(choice.ratios.items())[:_TOLD]
    )
    beside = f"{ratios} of {preset}"
    if gain.is_certain:
        return f"top-1 {points} points over {preset}'s like of equal MACs; {beside}"
    lower = "; lower bound as high as its" if choice.as_accurate else ""
    like = f"no gain in top-1 over {preset}'s like of equal MACs is certain"
    return f"{like} ({points}); {beside}{lower}"
