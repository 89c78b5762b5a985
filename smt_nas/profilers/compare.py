"""Comparing two networks by what was measured of them: a verdict with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from smt_nas.devices.block_table import DAY_TO_DAY
from smt_nas.errors import MeasurementError
from smt_nas.profilers.latency.measurement import Measurement, Status
from smt_nas.profilers.latency.sampling import (
    MARGINS,
    MIN_ROUNDS,
    round_medians,
)
from smt_nas.profilers.latency.stats import ratio_interval

Word = Literal["FASTER", "SLOWER", "SAME", "UNCLEAR"]

MARGINS_APART = {"cpu": DAY_TO_DAY["cpu"], "cuda": DAY_TO_DAY["gpu"]}
"""Of measurements of two runs."""
_SPOILT: tuple[Status, ...] = ("throttled", "loaded", "drifting")
_UNCLEAR = "the interval holds both a difference and none"


@dataclass(frozen=True)
class Verdict:
    """How one network's latency compares with another's.

    Attributes:
        ratio: of the medians; above 1 the second is slower.
        low, high: bootstrap 95 % interval of the ratio; with too few rounds for one, all that the
            samples allow.
        word: `FASTER` or `SLOWER`: the ratio is beyond the margin and its interval excludes 1;
            `SAME`: the whole interval is within the margin; else `UNCLEAR`.
        margin: differences below it are none.
        reason: why it is unclear, or cannot be clear; empty elsewhere.
    """

    ratio: float
    low: float
    high: float
    word: Word
    margin: float
    reason: str = ""


def verdict(a: Measurement, b: Measurement, rng: np.random.Generator | None = None) -> Verdict:
    """Say how the wall time of `b` compares with that of `a`.

    Rounds are resampled, not samples: what lies within a round is alike. Rounds of one run are
    drawn in pairs; measurements of two runs by themselves, with a wider margin.

    Args:
        a: the one compared with.
        b: the one that is faster or slower.
        rng: of the bootstrap; `default_rng(0)` where None.

    Raises:
        MeasurementError: they ran under unequal conditions.
    """
    if a.conditions != b.conditions:
        raise MeasurementError(
            f"verdict on {a.name} and {b.name}: conditions must be equal "
            f"(got {a.conditions} and {b.conditions}). Measure both under the same."
        )
    together = bool(a.started) and (a.started, a.device) == (b.started, b.device)
    kind = "cpu" if "cpu" in (a.device, b.device) else "cuda"
    margin = (MARGINS if together else MARGINS_APART)[kind]
    rounds_a, rounds_b = (
        round_medians(a.wall_ms, a.per_round),
        round_medians(b.wall_ms, b.per_round),
    )
    if together:
        n = min(len(rounds_a), len(rounds_b))
        rounds_a, rounds_b = rounds_a[:n], rounds_b[:n]
    if min(len(rounds_a), len(rounds_b)) < MIN_ROUNDS:
        low, high = min(b.wall_ms) / max(a.wall_ms), max(b.wall_ms) / min(a.wall_ms)
        ratio, reason = b.wall.median_ms / a.wall.median_ms, f"fewer than {MIN_ROUNDS} rounds"
        return Verdict(ratio, low, high, "UNCLEAR", margin, reason)
    ratio = float(np.median(rounds_b) / np.median(rounds_a))
    low, high = ratio_interval(rounds_a, rounds_b, rng, paired=together)
    doubts = [f"{m.name} is {m.status}" for m in (a, b) if m.status in _SPOILT]
    if doubts and not together:
        reason = f"two runs, and {' and '.join(doubts)}"
        return Verdict(ratio, low, high, "UNCLEAR", margin, reason)
    word = _choose_word(ratio, low, high, margin)
    return Verdict(ratio, low, high, word, margin, _UNCLEAR if word == "UNCLEAR" else "")


def _choose_word(ratio: float, low: float, high: float, margin: float) -> Word:
    if 1 - margin < low and high < 1 + margin:
        return "SAME"
    if ratio > 1 + margin and low > 1:
        return "SLOWER"
    if ratio < 1 - margin and high < 1:
        return "FASTER"
    return "UNCLEAR"
