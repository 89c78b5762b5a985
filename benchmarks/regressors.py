"""Regressors beside the predictor's Gaussian process, for `benchmarks.predictor` to compare.

Each is told how far each figure is off by chance, `noise` (n,), and leaves it out of its doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from smt_nas.evaluators.predictors.gaussian_process import fit_gaussian_process

Floats = NDArray[np.float64]


class FittedRegressor(Protocol):
    """Made by one of REGRESSORS."""

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Expected figure (n,) of features (n, F), and its standard deviation (n,)."""


Regressor = Callable[[Floats, Floats, Floats], FittedRegressor]
"""From features (n, F), figures (n,) and their noise (n,)."""


@dataclass(frozen=True)
class Ridge:
    """Made by `fit_ridge`; `variance` is what its doubt holds of the figures' own."""

    pipeline: Pipeline
    variance: float

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `FittedRegressor`."""
        mean, std = self.pipeline.predict(features, return_std=True)
        return mean, np.sqrt(np.maximum(std**2 - self.variance, 0.0))


def fit_ridge(features: Floats, figures: Floats, noise: Floats) -> FittedRegressor:
    """Linear, with a Gaussian prior on the weights whose width is fitted (MacKay 1992)."""
    pipeline = make_pipeline(StandardScaler(), BayesianRidge(max_iter=1000))
    pipeline.fit(features, figures)
    scatter = 1 / pipeline[-1].alpha_  # of figures about the line: noise, and no line fits better
    return Ridge(pipeline, min(float(np.mean(noise**2)), scatter))


@dataclass(frozen=True)
class Boosting:
    """Made by `fit_boosting`; `error` is of networks that a model has not seen, beside noise."""

    models: tuple[GradientBoostingRegressor, ...]
    error: float

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `FittedRegressor`."""
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
    return Boosting(tuple(models), float(np.sqrt(max(error, 0.0))))


@dataclass(frozen=True)
class Ensemble:
    """Made by `average`: the mean of several."""

    members: tuple[FittedRegressor, ...]

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """See `FittedRegressor`."""
        predictions = [member.predict(features) for member in self.members]
        means = np.array([mean for mean, _ in predictions])
        # their own doubt, and that they do not agree
        variance = np.mean([std**2 for _, std in predictions], axis=0) + means.var(axis=0)
        return means.mean(axis=0), np.sqrt(variance)


def average(regressors: Sequence[Regressor]) -> Regressor:
    """The mean of several."""
    return lambda *data: Ensemble(tuple(fit(*data) for fit in regressors))


REGRESSORS: dict[str, Regressor] = {
    "ridge": fit_ridge,
    "gp": fit_gaussian_process,
    "boosting": fit_boosting,
    "ridge+gp": average((fit_ridge, fit_gaussian_process)),
    "ridge+gp+boosting": average((fit_ridge, fit_gaussian_process, fit_boosting)),
}


def fit_regressor(name: str, features: Floats, figures: Floats, noise: Floats) -> FittedRegressor:
    """Fit one of REGRESSORS, on one thread: sums over several differ in the last digits."""
    with threadpool_limits(1):
        return REGRESSORS[name](features, figures, noise)
