"""Times between measured shapes: a regression over what parts compute and move, in logarithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from smt_nas.costs.parts import KINDS, Part
from smt_nas.devices.tables.part_traces import trace_parts
from smt_nas.errors import MeasurementError

Floats = NDArray[np.float64]
_LEAST = 8  # measured parts that a fit needs
_FOLDS = 5
_COVERAGE = 0.8  # of a fitted value's spread


@dataclass(frozen=True)
class PartEstimates:
    """Times of all P parts.

    Attributes:
        values: (P,) as measured, or fitted.
        error: mean relative error of the fit on measured parts held out of it; None: no fit.
        spread: log of what holds 80 % of a fitted value's errors; 0 where nothing was fitted.
    """

    values: Floats
    error: float | None
    spread: float


def fill_unmeasured(
    parts: Sequence[Part], values: Floats, measured: NDArray[np.bool_], batch: int
) -> PartEstimates:
    """Fit what was not measured.

    Args:
        parts: P of them.
        values: (P,), read where `measured`.
        measured: (P,).
        batch: images that the parts ran on.

    Raises:
        MeasurementError: too few were measured.
    """
    if measured.all():
        return PartEstimates(values, None, 0.0)
    if measured.sum() < _LEAST:
        raise MeasurementError(
            f"calibrate: at least {_LEAST} parts must be measured (got {measured.sum()}). "
            "Give it more --minutes."
        )
    table, known = features(parts, batch), np.log(values[measured])
    folds = KFold(min(_FOLDS, len(known)), shuffle=True, random_state=0)
    trials = [(cross_val_predict(m, table[measured], known, cv=folds), m) for m in _models()]
    guessed, model = min(trials, key=lambda pair: float(np.abs(pair[0] - known).mean()))
    model.fit(table[measured], known)
    out = values.copy()
    out[~measured] = np.exp(model.predict(table[~measured]))
    off = guessed - known
    deviations = float(norm.ppf((1 + _COVERAGE) / 2))  # to each side, where errors are normal
    spread = deviations * float(np.sqrt(np.mean(off**2)))
    return PartEstimates(out, float(np.abs(np.expm1(off)).mean()), spread)


def features(parts: Sequence[Part], batch: int) -> Floats:
    """What the time of parts depends on, (P, F)."""
    rows = []
    for part, ops in zip(parts, trace_parts(tuple(parts), batch), strict=True):
        work = (
            sum(op.macs for op in ops),
            sum(op.read + op.written for op in ops),
            sum(op.weights for op in ops),
            part.size[0] * part.size[1],
            part.dim,
            len(part.kernels),
            sum(k * k for k in part.kernels),
        )
        rows.append([*np.log1p(work), len(ops), *(part.kind == kind for kind in KINDS)])
    return np.array(rows, dtype=np.float64)


def _models() -> list[Any]:
    """Candidates; the one with the least cross-validated error is used."""
    smooth = make_pipeline(
        StandardScaler(), PolynomialFeatures(2), StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))
    )
    trees = GradientBoostingRegressor(n_estimators=300, max_depth=3, random_state=0)
    return [smooth, trees]
