"""The member of a front to take first, in one line."""

from __future__ import annotations

from smt_nas.report.search.columns import POOR, describe_gain
from smt_nas.search import Outcome
from smt_nas.search.results.recommendation import PresetGain, Recommendation, recommend

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
    ratios = ", ".join(_word_ratio(name, choice) for name in list(choice.ratios)[:_TOLD])
    beside = f"{ratios} of {preset}"
    equal = f"{preset} scaled to equal MACs"
    if gain.is_certain:
        return f"top-1 {points} points over {equal}; {beside}"
    return f"no gain in top-1 over {equal} is certain ({points}); {beside}{_word_bound(choice)}"


def _word_ratio(name: str, choice: Recommendation) -> str:
    """A measured ratio is told before a predicted one, and both as what they are.

    But for one that was measured while others used the machine, or drifting.
    """
    word, ratio = _WORDS[name.partition("@")[0]], f"{choice.ratios[name]:.2f}x"
    measured = choice.find_measured_ratio(name)
    if measured is not None and choice.is_well_measured(name):
        return f"{measured:.2f}x the {word} (measured; predicted {ratio})"
    if measured is not None:
        return f"{ratio} the {word} (predicted; measured {measured:.2f}x{POOR})"
    is_predicted = choice.member.provenance.get(name) == "predicted"
    return f"{ratio} the {word}{' (predicted)' if is_predicted else ''}"


def _word_bound(choice: Recommendation) -> str:
    if choice.bound_difference is None:
        return ""
    digits = 2 if choice.is_as_accurate else 1
    below = f"{-choice.bound_difference:.{digits}f} points below its"
    return f"; lower bound {below if choice.bound_difference < -_SHOWN else 'as high as its'}"
