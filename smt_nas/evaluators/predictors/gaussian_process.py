"""The predictor's regressor: a Gaussian process from features (n, F) to trained accuracy (n,).

It is told how far each figure is off by chance: `noise` (n,), standard deviations, 0 where that is
not known. It trusts figures by it, and leaves it out of its own doubt. It was chosen by
cross-validation, beside others: `python -m benchmarks.predictor`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline  # half a second, where nothing may be fitted

Floats = NDArray[np.float64]

_EXACT = 1e-10  # least variance of noise, as a share of the figures': for a stable solution


@dataclass(frozen=True)
class GaussianProcess:
    """Made by `fit_gaussian_process`.

    Attributes:
        pipeline: of scikit-learn.
    """

    pipeline: Pipeline

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Expected figure (n,) of features (n, F), and its standard deviation (n,).

        The deviation is of what was too little data to know and what the model cannot express; the
        noise of the figures that it was fitted to is left out, where it is known.
        """
        mean, std = self.pipeline.predict(features, return_std=True)
        return mean, std


def fit_gaussian_process(features: Floats, figures: Floats, noise: Floats) -> GaussianProcess:
    """Fit a linear trend and smooth deviations from it.

    On one thread: sums over several differ in the last digits.

    Args:
        features: (n, F).
        figures: to predict, (n,).
        noise: standard deviation of each about its expected one, (n,).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    width = float(np.sqrt(features.shape[1]))
    kernel = (
        ConstantKernel(0.1, (1e-4, 1e2)) * DotProduct(1.0, "fixed")
        + ConstantKernel(1.0, (1e-3, 1e2)) * RBF(width, (0.3 * width, 10 * width))
        + WhiteKernel(0.1, (1e-3, 2.0))  # what is neither smooth nor known noise
    )
    variance = np.maximum((noise / np.std(figures)) ** 2, _EXACT)
    model = GaussianProcessRegressor(kernel, alpha=variance, normalize_y=True, random_state=0)
    with warnings.catch_warnings(), threadpool_limits(1):
        # a width at its bound is a fine answer for so few points
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcess(make_pipeline(StandardScaler(), model).fit(features, figures))
