"""What the Gaussian process makes of the noise that it is told of."""

import numpy as np
import pytest

from smt_nas.evaluators.predictors.gaussian_process import fit_gaussian_process


def data(n=60, noise=0.3, seed=0):
    """Features, figures that are linear in the first, and their noise."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, 3))
    return rows, 85 + rows[:, 0] + noise * rng.normal(size=n), np.full(n, noise)


def test_a_doubt_leaves_known_noise_out():
    rows, figures, noise = data(300)
    informed = fit_gaussian_process(rows, figures, noise).predict(rows)[1]
    ignorant = fit_gaussian_process(rows, figures, 0 * noise).predict(rows)[1]
    assert np.median(informed) < 0.6 * np.median(ignorant)


@pytest.mark.parametrize("seed", range(3))
def test_a_doubt_is_a_number_however_much_is_noise(seed):
    rows, figures, _ = data(seed=seed)
    fitted = fit_gaussian_process(rows, figures, np.full(60, 2.0))
    std = fitted.predict(rows.mean(axis=0)[None])[1]
    assert np.isfinite(std).all() and (std >= 0).all()


def test_what_was_trained_more_often_is_trusted_more():
    rows, figures, noise = data()
    outlier = figures.copy()
    outlier[7] += 3
    sure, unsure = noise.copy(), noise.copy()
    sure[7], unsure[7] = 0.1, 1.5
    near, far = (
        fit_gaussian_process(rows, outlier, n).predict(rows[7:8])[0][0] for n in (sure, unsure)
    )
    assert abs(near - outlier[7]) < abs(far - outlier[7]) - 0.5
