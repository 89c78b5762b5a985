"""What regressors make of the noise that they are told of."""

import numpy as np
import pytest

from smt_nas.evaluators.regressors import REGRESSORS, fit_process, fit_regressor

NONE = 1e-6


def data(n=60, noise=0.3, seed=0):
    """Features, figures that are linear in the first, and their noise."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 3))
    return rows, 85 + rows[:, 0] + noise * rng.normal(size=n), np.full(n, noise)


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_doubt_leaves_known_noise_out(name):
    rows, figures, noise = data(300)
    informed = fit_regressor(name, rows, figures, noise).predict(rows)[1]
    ignorant = fit_regressor(name, rows, figures, 0 * noise).predict(rows)[1]
    assert np.median(informed) < 0.6 * np.median(ignorant)


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("seed", range(5))
def test_a_doubt_is_a_number_however_much_is_noise(name, seed):
    rows, figures, _ = data(seed=seed)
    std = fit_regressor(name, rows, figures, np.full(60, 2.0)).predict(rows.mean(axis=0)[None])[1]
    assert np.isfinite(std).all() and (std >= 0).all()


def test_the_process_trusts_what_was_trained_more_often():
    rows, figures, noise = data()
    outlier = figures.copy()
    outlier[7] += 3
    sure, unsure = noise.copy(), noise.copy()
    sure[7], unsure[7] = 0.1, 1.5
    near, far = (fit_process(rows, outlier, n).predict(rows[7:8])[0][0] for n in (sure, unsure))
    assert abs(near - outlier[7]) < abs(far - outlier[7]) - 0.5


def test_the_covariance_is_of_the_doubt_that_is_told():
    rows, figures, noise = data()
    learnt, asked = fit_process(rows, figures, noise), np.random.default_rng(1).normal(size=(9, 3))
    found = learnt.covariance(asked)
    np.testing.assert_allclose(np.sqrt(np.diag(found)), learnt.predict(asked)[1], rtol=1e-6)
    np.testing.assert_allclose(found, found.T, atol=1e-9)
