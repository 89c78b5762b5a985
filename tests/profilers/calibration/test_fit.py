"""From samples to times: what is scaled, what is fitted, how errors are told."""

import numpy as np
import pytest

from smt_nas.costs.parts import PartIndex
from smt_nas.errors import MeasurementError
from smt_nas.profilers.calibration.fit import (
    FitErrors,
    fit_additivity,
    half_interval,
    measure_errors,
    normalise_speed,
)
from smt_nas.profilers.calibration.interpolate import features, fill_unmeasured
from tests.fakes.part_timer import SMALL, FakePartTimer

PARTS = PartIndex.of(SMALL).parts


def test_a_slow_hour_is_scaled_away():
    moods = np.repeat([1.0, 1.0, 1.0, 3.0], 50)
    usual, speed, swing = normalise_speed(2.0 * moods)
    assert usual == pytest.approx(2.0) and swing == pytest.approx(np.log(3.0))
    inner = np.arange(200) % 50  # the window blurs the borders
    away = (inner >= 4) & (inner < 46)
    assert (7.0 * moods * speed)[away] == pytest.approx(7.0)


def test_one_interrupted_reference_spoils_no_sample():
    reference = np.full(50, 2.0)
    reference[20] = 40.0
    _, speed, swing = normalise_speed(reference)
    assert speed == pytest.approx(1.0) and swing == pytest.approx(0.0)


def test_factor_and_fixed_time_are_found():
    sums = np.linspace(1, 10, 20)
    assert fit_additivity(sums, 1.1 * sums + 0.3) == pytest.approx((1.1, 0.3))
    factor, fixed = fit_additivity(sums, 1.1 * sums - 0.3)
    assert fixed == 0 and factor > 0  # nothing takes a negative time
    assert fit_additivity(sums[:0], sums[:0]) == (1.0, 0.0)


def test_errors_by_hand():
    found = measure_errors(np.array([1.0, 2.0, 4.0]), np.array([1.05, 1.6, 4.0]))
    assert found.mape == pytest.approx((0.05 + 0.2 + 0) / 3)
    assert found.within_10 == pytest.approx(2 / 3)
    assert found.spearman == pytest.approx(1.0)
    assert measure_errors(np.array([]), np.array([])) == FitErrors(None, None, None)


def test_four_of_five_new_networks_lie_in_the_interval():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(2000):
        off = np.exp(0.03 * rng.normal(size=21))
        half = half_interval(off[:20], np.ones(20))
        covered.append(abs(np.log(off[20])) <= half)
    assert 0.77 < np.mean(covered) < 0.85  # 17 of 21


def test_few_checks_give_the_wide_interval():
    assert half_interval(np.ones(3), np.ones(3)) == 0.25


def test_what_was_not_measured_is_fitted_and_the_error_is_told():
    bench = FakePartTimer()
    truth = np.array([bench.part_ms(part) for part in PARTS])
    measured = np.random.default_rng(0).random(len(PARTS)) < 0.6
    found = fill_unmeasured(PARTS, np.where(measured, truth, np.nan), measured, batch=1)
    assert np.array_equal(found.values[measured], truth[measured])
    off = np.abs(found.values / truth - 1)[~measured]
    assert off.mean() < 0.25  # a tenth of each part's time follows no law
    assert off.mean() / 3 < found.error < off.mean() * 3 and found.spread > found.error / 3


def test_nothing_is_fitted_where_all_is_measured_and_a_fit_needs_some_parts():
    values, known = np.ones(len(PARTS)), np.ones(len(PARTS), dtype=bool)
    assert (
        fill_unmeasured(PARTS, values, known, 1).error,
        fill_unmeasured(PARTS, values, known, 1).spread,
    ) == (
        None,
        0,
    )
    known[7:] = False
    with pytest.raises(MeasurementError, match="more --minutes"):
        fill_unmeasured(PARTS, values, known, 1)


def test_features_tell_every_part_apart():
    assert len(np.unique(features(PARTS, 1), axis=0)) == len(PARTS)
