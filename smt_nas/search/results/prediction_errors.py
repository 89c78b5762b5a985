"""Predictions against measurements: by how much they were off, and whether intervals held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smt_nas.search.results.results import Result

_NEAR = 0.1


@dataclass(frozen=True)
class PredictionError:
    """Predictions against measurements of n networks.

    Attributes:
        n: networks.
        mape: mean of |predicted / measured - 1|.
        within_10: share within 10 % of what was measured.
        covered: share whose measurement lies in the interval of the prediction.
        spearman, kendall: rank correlations; None where they are not defined (n < 3, or all alike).
    """

    n: int
    mape: float
    within_10: float
    covered: float
    spearman: float | None
    kendall: float | None


def measure_prediction_errors(front: Sequence[Result]) -> dict[str, PredictionError]:
    """By metric, where anything was both predicted and measured."""
    names = dict.fromkeys(name for r in front for name in r.measured if name in r.intervals)
    return {name: _measure_error(name, [r for r in front if name in r.measured]) for name in names}


def _measure_error(name: str, rows: Sequence[Result]) -> PredictionError:
    predicted = np.array([r.values[name] for r in rows])
    truth = np.array([r.measured[name].value for r in rows])
    low, high = np.array([r.intervals[name] for r in rows]).T
    errors = np.abs(predicted / truth - 1)
    spearman, kendall = _correlate_ranks(predicted.tolist(), truth.tolist())
    return PredictionError(
        n=len(rows),
        mape=float(errors.mean()),
        within_10=float((errors <= _NEAR).mean()),
        covered=float(((low <= truth) & (truth <= high)).mean()),
        spearman=spearman,
        kendall=kendall,
    )


def _correlate_ranks(
    predicted: list[float], truth: list[float]
) -> tuple[float | None, float | None]:
    if len(truth) < 3 or len(set(predicted)) < 2 or len(set(truth)) < 2:
        return None, None
    from scipy.stats import kendalltau, spearmanr

    statistics = (spearmanr(predicted, truth).statistic, kendalltau(predicted, truth).statistic)
    spearman, kendall = (float(x) if math.isfinite(x) else None for x in statistics)
    return spearman, kendall
