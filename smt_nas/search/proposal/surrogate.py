"""A Gaussian process from genes to the evaluator's figure, refit as trials arrive.

It only chooses what to evaluate next; no result is ever its prediction.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from smt_nas.search.objectives import Floats
from smt_nas.search.problem import Problem
from smt_nas.space import Genes

_LOG_COSTS = ("macs", "params", "activations")


class Surrogate:
    """Predicts the evaluator's values of (n, G) genes from those already evaluated."""

    def __init__(
        self,
        problem: Problem,
        genes: Genes,
        figures: Floats,
        guess: Callable[[Genes], Floats] | None = None,
    ) -> None:
        """Fit on genes (m, G) and figures (m,); a guess of the figures helps as a feature."""
        self._cardinality = problem.space.cardinality
        self._guess = guess
        self._scaler = StandardScaler()
        features = self._scaler.fit_transform(self._features(genes, problem.costs(genes)))
        width = np.sqrt(features.shape[1])
        kernel = (
            ConstantKernel(0.1) * DotProduct(1.0)
            + ConstantKernel(1.0) * RBF(width, (0.1 * width, 10 * width))
            + WhiteKernel(0.1, (1e-4, 1.0))
        )
        self._process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        with threadpool_limits(1), warnings.catch_warnings():
            # a length scale at its bound is a fine answer for so few points
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process.fit(features, figures)

    def predict(self, genes: Genes, values: dict[str, NDArray[Any]]) -> Floats:
        """Expected figures (n,); `values` are the costs of the genes."""
        with threadpool_limits(1):
            features = self._scaler.transform(self._features(genes, values))
            return np.asarray(self._process.predict(features))

    def _features(self, genes: Genes, values: dict[str, NDArray[Any]]) -> Floats:
        free = self._cardinality > 1
        share = genes[:, free] / (self._cardinality[free] - 1)
        logs = [np.log(values[name]) for name in _LOG_COSTS]
        attention = values["attention_macs"] / values["macs"]
        guess = [] if self._guess is None else [self._guess(genes)]
        return np.column_stack([share, *logs, attention, *guess])
