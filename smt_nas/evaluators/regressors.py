"""Regressors from features (n, F) to trained accuracy (n,), by scikit-learn; each with its doubt.

They are told how far each figure is off by chance: the noise (n,), standard deviations, 0 where
that is not known. All leave it out of their doubt; the Gaussian process also trusts figures by it.
Which one the predictor uses was chosen by cross-validation: `python -m benchmarks.predictor`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

_EXACT = 1e-10  # least variance of noise, as a share of the figures': for a stable solution


class FittedRegressor(Protocol):
    """Made by one of REGRESSORS."""

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Expected figure (n,) of features (n, F), and its standard deviation (n,).

        The deviation is of what was too little data to know and what the model cannot express; the
        noise of the figures that it learnt from is left out, where it is known.
        """


@dataclass(frozen=True)
class _Line:
    pipeline: Pipeline
    variance: float  # in its doubt, that is of the figures

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        mean, std = self.pipeline.predict(features, return_std=True)
        return mean, np.sqrt(np.maximum(std**2 - self.variance, 0.0))


def fit_ridge(features: Floats, figures: Floats, noise: Floats) -> FittedRegressor:
    """Linear, with a Gaussian prior on the weights whose width is learnt (MacKay 1992)."""
    pipeline = make_pipeline(StandardScaler(), BayesianRidge(max_iter=1000))
    pipeline.fit(features, figures)
    scatter = 1 / pipeline[-1].alpha_  # of figures about the line: noise, and no line fits better
    return _Line(pipeline, min(float(np.mean(noise**2)), scatter))


@dataclass(frozen=True)
class GaussianProcess:
    """Made by `fit_process`."""

    pipeline: Pipeline

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `FittedRegressor`."""
        mean, std = self.pipeline.predict(features, return_std=True)
        return mean, std

    def covariance(self, features: Floats) -> Floats:
        """Covariance of the expected figures of features (n, F), (n, n)."""
        covariance: Floats = self.pipeline.predict(features, return_cov=True)[1]
        return covariance


def fit_process(features: Floats, figures: Floats, noise: Floats) -> GaussianProcess:
    """A Gaussian process: a linear trend and smooth deviations from it."""
    width = float(np.sqrt(features.shape[1]))
    kernel = (
        ConstantKernel(0.1, (1e-4, 1e2)) * DotProduct(1.0, "fixed")
        + ConstantKernel(1.0, (1e-3, 1e2)) * RBF(width, (0.3 * width, 10 * width))
        + WhiteKernel(0.1, (1e-3, 2.0))  # what is neither smooth nor known noise
    )
    known = np.maximum((noise / np.std(figures)) ** 2, _EXACT)
    model = GaussianProcessRegressor(kernel, alpha=known, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        # a width at its bound is a fine answer for so few points
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianProcess(make_pipeline(StandardScaler(), model).fit(features, figures))


@dataclass(frozen=True)
class _Boosting:
    models: tuple[GradientBoostingRegressor, ...]
    error: float  # of networks that a model has not seen, beside their noise

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        every = np.array([model.predict(features) for model in self.models])
        return every.mean(axis=0), np.hypot(every.std(axis=0), self.error)


def fit_boosting(
    features: Floats, figures: Floats, noise: Floats, members: int = 5
) -> FittedRegressor:
    """Gradient boosting (Friedman 2001), a few on resampled networks; their spread is the doubt."""
    rng = np.random.default_rng(0)
    models, errors = [], []
    for i in range(members):
        rows = rng.integers(0, len(features), len(features))
        model = GradientBoostingRegressor(
            n_estimators=200, learning_rate=0.05, max_depth=3, subsample=0.7, random_state=i
        )
        models.append(model.fit(features[rows], figures[rows]))
        unseen = np.setdiff1d(np.arange(len(features)), rows)
        errors.append(model.predict(features[unseen]) - figures[unseen])
    error = np.mean(np.concatenate(errors) ** 2) - np.mean(noise**2)
    return _Boosting(tuple(models), float(np.sqrt(max(error, 0.0))))


@dataclass(frozen=True)
class _Mean:
    parts: tuple[FittedRegressor, ...]

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        predictions = [part.predict(features) for part in self.parts]
        means = np.array([mean for mean, _ in predictions])
        # their own doubt, and that they do not agree
        variance = np.mean([std**2 for _, std in predictions], axis=0) + means.var(axis=0)
        return means.mean(axis=0), np.sqrt(variance)


def mean_of(makers: Sequence[Regressor]) -> Regressor:
    """The mean of several."""
    return lambda *data: _Mean(tuple(make(*data) for make in makers))


Regressor = Callable[[Floats, Floats, Floats], FittedRegressor]

REGRESSORS: dict[str, Regressor] = {
    "ridge": fit_ridge,
    "gp": fit_process,
    "boosting": fit_boosting,
    "ridge+gp": mean_of((fit_ridge, fit_process)),
    "ridge+gp+boosting": mean_of((fit_ridge, fit_process, fit_boosting)),
}


def fit_regressor(name: str, features: Floats, figures: Floats, noise: Floats) -> FittedRegressor:
    """Fit one of REGRESSORS, on one thread: sums over several differ in the last digits."""
    with threadpool_limits(1):
        return REGRESSORS[name](features, figures, noise)
