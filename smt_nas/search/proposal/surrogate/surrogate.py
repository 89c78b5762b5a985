"""Models of the evaluator's figure, refit as trials arrive: a Gaussian process, trees beside it.

They only choose what to evaluate next; no result is ever their prediction. What formulas know is
never modelled.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve
from scipy.optimize import minimize
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor

from smt_nas.search.problem.objectives import Floats
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.surrogate.gene_kernel import GeneKernel
from smt_nas.space import Genes

_COSTS = ("macs", "params", "activations")
_STEPS = 25  # evaluations of the likelihood, at most, in one fit
_FITTED = 240  # trials that weights are fit to; more of them change little and cost n ** 3
_TREES, _LEAF = 60, 2
_ENOUGH = 30  # trials before trees are worth a look
_LEAST_SAY = 0.1  # a share of the trees below which they are left out


@dataclass(frozen=True)
class Belief:
    """What a surrogate thinks of rows together: mean (n,) and covariance (n, n)."""

    mean: Floats
    covariance: Floats


class Surrogate:
    """Predicts the evaluator's values of (n, G) genes from those already evaluated.

    Attributes:
        share_of_trees: their weight in the mean; the Gaussian process has the rest. It is that
            which predicts held-out trials best: leave-one-out of the process, out-of-bag of trees.
        noise: standard deviation of a reading.
    """

    def __init__(
        self,
        problem: Problem,
        genes: Genes,
        figures: Floats,
        guess: Callable[[Genes], Floats] | None = None,
    ) -> None:
        """Fit on genes (m, G) and figures (m,); a guess of the figures helps as a feature."""
        self._problem, self._guess = problem, guess
        raw = self._measure(genes, problem.values(genes))
        self._center, self._scale = raw.mean(axis=0), raw.std(axis=0)
        self._scale[self._scale < 1e-12] = np.inf  # what never differs tells nothing
        x = np.column_stack([genes, (raw - self._center) / self._scale])
        figures = _clip_outliers(figures)
        self._level, self._spread = float(figures.mean()), float(figures.std()) or 1.0
        y = (figures - self._level) / self._spread
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._process = self._fit_process(x, y)
            self._trees, self.share_of_trees = self._fit_trees(x, y)
        self.noise = float(np.exp(self._process.kernel_.theta[-1] / 2)) * self._spread

    def predict(self, genes: Genes, values: dict[str, NDArray[Any]]) -> Floats:
        """Expected figures (n,); `values` are the costs of the genes."""
        return self._mix(self._make_rows(genes, values), self._process.predict)

    def predict_with_doubt(
        self, genes: Genes, values: dict[str, NDArray[Any]]
    ) -> tuple[Floats, Floats]:
        """Expected figures (n,) and their standard deviations (n,)."""
        x = self._make_rows(genes, values)
        mean, std = self._process.predict(x, return_std=True)
        return self._mix(x, lambda _: mean), np.asarray(std) * self._spread

    def predict_together(self, genes: Genes, values: dict[str, NDArray[Any]]) -> Belief:
        """Expected figures and their covariance: how much one would tell of another."""
        x = self._make_rows(genes, values)
        mean, covariance = self._process.predict(x, return_cov=True)
        noise = np.exp(self._process.kernel_.theta[-1])  # scikit-learn takes it for signal
        covariance = covariance - noise * np.eye(len(x))
        return Belief(self._mix(x, lambda _: mean), covariance * self._spread**2)

    def _mix(self, x: Floats, ask_process: Callable[[Floats], Floats]) -> Floats:
        mean = np.asarray(ask_process(x))
        if self._trees is not None:
            share = self.share_of_trees
            mean = (1 - share) * mean + share * self._trees.predict(x)
        return np.asarray(mean * self._spread + self._level)

    def _make_rows(self, genes: Genes, values: dict[str, NDArray[Any]]) -> Floats:
        """Genes and scaled features of rows, (n, G + F)."""
        return np.column_stack([genes, (self._measure(genes, values) - self._center) / self._scale])

    def _measure(self, genes: Genes, values: dict[str, NDArray[Any]]) -> Floats:
        """Features (n, F): logarithms of costs, the share of attention, and the guess."""
        names = dict.fromkeys((*_COSTS, *(q.name for q in self._problem.objectives)))
        logs = [np.log(np.maximum(values[n], 1e-12)) for n in names if n in values]
        attention = values["attention_macs"] / np.maximum(values["macs"], 1e-12)
        guess = [] if self._guess is None else [self._guess(genes)]
        return np.asarray(np.nan_to_num(np.column_stack([*logs, attention, *guess])))

    def _fit_process(self, x: Floats, y: Floats) -> GaussianProcessRegressor:
        kernel = GeneKernel(self._problem.space.genes)
        few = np.unique(np.linspace(0, len(x) - 1, _FITTED).astype(int)) if len(x) > _FITTED else ()
        if len(few):
            first = GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=_optimize)
            kernel = first.fit(x[few], y[few]).kernel_
        optimizer = None if len(few) else _optimize
        return GaussianProcessRegressor(kernel, alpha=1e-8, optimizer=optimizer).fit(x, y)

    def _fit_trees(self, x: Floats, y: Floats) -> tuple[ExtraTreesRegressor | None, float]:
        """Trees and their share, by how both predict trials that they were not fit to."""
        if len(x) < _ENOUGH:
            return None, 0.0
        trees = ExtraTreesRegressor(
            _TREES, min_samples_leaf=_LEAF, max_features=0.5, bootstrap=True, oob_score=True,
            random_state=0,
        ).fit(x, y)  # fmt: skip
        inverse = cho_solve((self._process.L_, True), np.eye(len(x)))
        apart = self._process.alpha_ / np.diag(inverse)  # y less its leave-one-out prediction
        step = trees.oob_prediction_ - (y - apart)
        share = float(np.clip(step @ apart / max(step @ step, 1e-12), 0, 0.5))
        return (trees, share) if share >= _LEAST_SAY else (None, 0.0)


def _optimize(function: Callable[..., Any], start: Floats, bounds: Floats) -> tuple[Floats, float]:
    """Fit hyperparameters in few steps: the last digits of a weight change no proposal."""
    result = minimize(
        function, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxfun": _STEPS}
    )
    return result.x, float(result.fun)


def _clip_outliers(figures: Floats) -> Floats:
    """Figures whose worst are no farther below the middle than is usual: a network that learnt
    nothing says where not to go, and would hide all else if it said so in its own size."""
    low, high = np.quantile(figures, [0.25, 0.75])
    reach = 3 * (high - low)
    return np.clip(figures, low - reach, high + reach) if reach > 0 else figures
