"""The member of a front to take first, in one line."""

from __future__ import annotations

from smt_nas.report.search.columns import describe_gain
from smt_nas.search import Outcome
from smt_nas.search.recommendation import PresetGain, Recommendation, recommend

_WORDS = {
    "latency_ms": "latency",
    "throughput_ips": "throughput",
    "macs": "MACs",
    "params": "params",
    "peak_memory_mb": "memory",
}
_TOLD = 3  # ratios
_SHOWN = 0.005  # points; less is 0.00


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


def _describe_gain(gain: PresetGain, choice: Recommendation) -> str:
    preset, points = choice.preset.name, describe_gain(gain)
    ratios = ", ".join(
        f"{ratio:.2f}x the {_WORDS[name.partition('@')[0]]}"
        for name, ratio in list(choice.ratios.items())[:_TOLD]
    )
    beside = f"{ratios} of {preset}"
    equal = f"{preset} scaled to equal MACs"
    if gain.is_certain:
        return f"top-1 {points} points over {equal}; {beside}"
    return f"no gain in top-1 over {equal} is certain ({points}); {beside}{_word_bound(choice)}"


def _word_bound(choice: Recommendation) -> str:
    if not choice.is_as_accurate or choice.bound_difference is None:
        return ""
    below = f"{-choice.bound_difference:.2f}"
    where = f"{below} points below its" if choice.bound_difference < -_SHOWN else "as high as its"
    return f"; lower bound {where}"
