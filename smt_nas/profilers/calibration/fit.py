"""From raw samples to times, and from times of parts to times of networks.

Every sample was taken beside a reference network. Where the machine was slow for a while, both
were: a sample counts as `ms x usual / local`, where `local` is the median of the reference's times
around it and `usual` that of all of them. A time is the median of such samples: what a part or a
network takes while the machine is as it usually was. Whole networks, those that check the table
among them, get the same treatment, so how far the machine's own speed swings is not in the error.
It is in the interval: whoever measures later meets the machine in any of its moods.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from scipy.stats import spearmanr

from smt_nas import costs
from smt_nas.devices.block_table import BlockTable
from smt_nas.devices.tables.measured_table import Calibration, NetworkTime, PartTimes
from smt_nas.errors import MeasurementError
from smt_nas.profilers.calibration.interpolate import fill_unmeasured
from smt_nas.profilers.calibration.journal import JournalLine
from smt_nas.profilers.calibration.schedule import Plan

Floats = NDArray[np.float64]
_AROUND = 4  # references before and after a sample that tell the machine's speed
_COVERAGE = 0.8  # of the interval
_UNCHECKED = 0.25  # half the interval, in log, of a table that was not checked
_LEAST_CHECKED = 5  # networks that an interval is taken from
_CLOSE = 0.1


@dataclass(frozen=True)
class _Medians:
    """Medians of what was measured under one set of conditions; NaN where nothing was.

    Attributes:
        reference_ms: as it usually was.
        swing: of the machine's speed, in log.
        parts, hosts: (P,).
        networks: (2k,).
        seen, seen_networks: how many visits each is the median of.
    """

    reference_ms: float
    swing: float
    parts: Floats
    hosts: Floats | None
    networks: Floats
    seen: NDArray[np.int64]
    seen_networks: NDArray[np.int64]


@dataclass(frozen=True)
class FitErrors:
    """How far predictions are from the truth; None where there is too little to tell.

    Attributes:
        mape: mean absolute relative error.
        within_10: share of predictions within 10 %.
        spearman: rank correlation.
    """

    mape: float | None
    within_10: float | None
    spearman: float | None


def fit_calibration(
    plan: Plan, number: int, lines: Sequence[JournalLine]
) -> tuple[Calibration, PartTimes]:
    """What the visits under one set of conditions add up to.

    Args:
        plan: what was measured.
        number: of the conditions in the plan.
        lines: of the journal, of these conditions.

    Raises:
        MeasurementError: too little was measured.
    """
    medians, conditions = _take_medians(plan, lines), plan.conditions[number]
    times, fit_error = _complete_parts(plan, number, medians)
    parts = BlockTable(plan.index, conditions, times.ms, times.host_ms)
    sums = parts.predict(plan.networks).ms
    fit, held = _measured_rows(medians, 0), _measured_rows(medians, 1)
    factor, fixed_ms = fit_additivity(sums[fit], medians.networks[fit])
    predicted = factor * sums + fixed_ms
    half = float(np.hypot(half_interval(medians.networks[held], predicted[held]), medians.swing))
    rows = _network_times(plan, medians, predicted)
    errors = measure_errors(medians.networks[held], predicted[held])
    calibration = Calibration(
        conditions=conditions,
        reference_ms=medians.reference_ms,
        swing=medians.swing,
        parts_measured=int(times.measured.sum()),
        parts_fitted=int((~times.measured).sum()),
        fit_error=fit_error,
        factor=factor,
        fixed_ms=fixed_ms,
        low=-half,
        high=half,
        fitted_on=tuple(rows[i] for i in fit),
        held_out=tuple(rows[i] for i in held),
        mape=errors.mape,
        within_10=errors.within_10,
        spearman=errors.spearman,
    )
    return calibration, times


def measure_errors(truth: Floats, predicted: Floats) -> FitErrors:
    """How far predictions (n,) are from the truth (n,)."""
    if len(truth) == 0:
        return FitErrors(None, None, None)
    off = np.abs(predicted / truth - 1)
    ranks = float(spearmanr(predicted, truth)[0]) if len(truth) > 2 else None
    return FitErrors(
        mape=float(off.mean()),
        within_10=float((off <= _CLOSE).mean()),
        spearman=ranks if ranks is None or np.isfinite(ranks) else None,
    )


def normalise_speed(reference: Floats) -> tuple[float, Floats, float]:
    """The machine's speed around each sample, by the reference's times (n,).

    Returns: the reference's usual time; what every sample is to be multiplied by, (n,); and how
    far, in log, the speed swings: `_COVERAGE` of the time it is no further from usual.
    """
    n = len(reference)
    local = np.array(
        [np.median(reference[max(0, i - _AROUND) : i + _AROUND + 1]) for i in range(n)]
    )
    usual = float(np.median(local))
    return usual, usual / local, float(np.quantile(np.abs(np.log(local / usual)), _COVERAGE))


def _take_medians(plan: Plan, lines: Sequence[JournalLine]) -> _Medians:
    if not lines:
        raise MeasurementError(
            "calibrate: nothing was measured under some conditions (got no time for them). "
            "Give it more --minutes."
        )
    usual, speed, swing = normalise_speed(np.array([line.reference_ms for line in lines]))
    parts: list[list[float]] = [[] for _ in plan.index.parts]
    hosts: list[list[float]] = [[] for _ in plan.index.parts]
    networks: list[list[float]] = [[] for _ in plan.networks]
    for line, scale in zip(lines, speed, strict=True):
        if line.network is not None:
            networks[line.network].append(line.network_ms * scale)
            continue
        chain = line.chain or ()
        for part, ms in zip(chain, line.part_ms, strict=True):
            parts[part].append(ms * scale)
        for part, ms in zip(chain, line.host_ms or (), strict=False):
            hosts[part].append(ms * scale)
    return _Medians(
        usual,
        swing,
        _median_each(parts),
        _median_each(hosts) if any(hosts) else None,
        _median_each(networks),
        np.array([len(s) for s in parts], dtype=np.int64),
        np.array([len(s) for s in networks], dtype=np.int64),
    )


def _median_each(samples: Sequence[Sequence[float]]) -> Floats:
    return np.array([np.median(s) if s else np.nan for s in samples], dtype=np.float64)


def _complete_parts(plan: Plan, number: int, medians: _Medians) -> tuple[PartTimes, float | None]:
    """Times of all parts, those between measured shapes fitted, and the error of the fit."""
    conditions, measured = plan.conditions[number], medians.seen > 0
    device = fill_unmeasured(plan.index.parts, medians.parts, measured, conditions.batch)
    host = None
    if medians.hosts is not None and conditions.mode == "eager":
        host = fill_unmeasured(plan.index.parts, medians.hosts, measured, conditions.batch).values
    spread = np.where(measured, 0.0, device.spread)
    return PartTimes(device.values, host, measured, spread, medians.seen), device.error


def _measured_rows(medians: _Medians, first: int) -> NDArray[np.int64]:
    """Rows of the networks that were measured: 0 those to fit on, 1 those to check with."""
    rows = np.arange(first, len(medians.networks), 2)
    return rows[medians.seen_networks[rows] > 0]


def fit_additivity(sums: Floats, truth: Floats) -> tuple[float, float]:
    """Factor and fixed time, neither negative, with the least relative squared error."""
    if len(truth) == 0:
        return 1.0, 0.0
    (factor, fixed), _ = nnls(np.column_stack([sums / truth, 1 / truth]), np.ones(len(truth)))
    if len(truth) < 3 or factor <= 0:
        return float(np.median(truth / sums)), 0.0
    return float(factor), float(fixed)


def half_interval(truth: Floats, predicted: Floats) -> float:
    """Half of an interval, in log, that holds the share wanted: split conformal."""
    if len(truth) < _LEAST_CHECKED:
        return _UNCHECKED
    off = np.sort(np.abs(np.log(truth / predicted)))
    at = min(len(off), int(np.ceil(_COVERAGE * (len(off) + 1)))) - 1
    return float(off[at])


def _network_times(plan: Plan, medians: _Medians, predicted: Floats) -> dict[int, NetworkTime]:
    """The networks that were measured, by their row."""
    space = plan.index.space
    macs, archs = costs.estimate(space, plan.networks).macs, space.decode(plan.networks)
    return {
        i: NetworkTime(
            key=arch.key,
            macs=int(macs[i]),
            measured_ms=float(medians.networks[i]),
            predicted_ms=float(predicted[i]),
            samples=int(medians.seen_networks[i]),
        )
        for i, arch in enumerate(archs)
        if medians.seen_networks[i]
    }
