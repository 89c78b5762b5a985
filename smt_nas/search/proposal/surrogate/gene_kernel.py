"""A kernel over networks for scikit-learn's Gaussian process: costs, single genes, pairs, wholes.

The terms are those of a functional ANOVA (Duvenaud et al. 2011, https://arxiv.org/abs/1112.4394): a
trend and a smooth function of cost features, one function a gene, one a pair of genes, and one of
whole networks. Their weights are the hyperparameters, and a fit decides which of them matter. A
gene has few options, so a term is matrix products of indicators: ten thousand candidates in tenths
of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from smt_nas.search.problem.objectives import Floats
from smt_nas.space import Gene

TERMS = ("trend", "smooth", "genes", "pairs", "networks", "noise")
_START = (0.5, 0.3, 0.3, 0.2, 0.2, 0.05)
_BOUNDS = ((1e-4, 1e2),) * 5 + ((1e-3, 1.0),)
_NEAR = 0.4  # how far, as a share of a gene's range, the figures of its options resemble each other
_WHOLE = 7  # a share of the genes, one in so many, may differ until two networks are strangers


class GeneKernel(Kernel):  # type: ignore[misc]
    """Covariance of rows [genes, cost features] (n, G + F).

    Args:
        genes: of the columns, in order; those whose options are numbers are taken as ordered.
        log_weights: of TERMS.
    """

    def __init__(self, genes: Sequence[Gene], log_weights: Sequence[float] | None = None) -> None:
        self.genes = genes
        self.log_weights = log_weights
        self._weights = np.log(_START) if log_weights is None else np.array(log_weights)
        self._tables = _Tables(genes)
        self._cached: tuple[Any, list[Floats]] | None = None

    @property
    def hyperparameters(self) -> list[Hyperparameter]:
        """The weights, as scikit-learn wants them."""
        return [Hyperparameter("weights", "numeric", np.array(_BOUNDS), len(TERMS))]

    @property
    def theta(self) -> Floats:
        """Logarithms of the weights."""
        return self._weights

    @theta.setter
    def theta(self, theta: Floats) -> None:
        self._weights = np.array(theta, dtype=float)
        self.log_weights = self._weights.tolist()

    @property
    def bounds(self) -> Floats:
        """Of `theta`."""
        return np.asarray(np.log(np.array(_BOUNDS)))

    def __call__(self, x: Floats, y: Floats | None = None, eval_gradient: bool = False) -> Any:
        """Covariances (n, m); with their gradient (n, n, 6) by `theta`."""
        weights = np.exp(self._weights)
        if y is not None:
            terms = self._tables.compute_terms(x, y)
            return sum(w * term for w, term in zip(weights, terms, strict=False))
        if self._cached is None or self._cached[0] is not x:
            self._cached = (x, [*self._tables.compute_terms(x, x), np.eye(len(x))])
        scaled = [w * term for w, term in zip(weights, self._cached[1], strict=True)]
        total = np.sum(scaled, axis=0)
        return (total, np.stack(scaled, axis=-1)) if eval_gradient else total

    def diag(self, x: Floats) -> Floats:
        """Variances (n,), without noise: what is wanted is the figure, not its next reading."""
        z = x[:, len(self.genes) :]
        weights = np.exp(self._weights)
        return np.asarray(weights[0] * (1 + (z**2).mean(axis=1)) + weights[1:5].sum())

    def is_stationary(self) -> bool:
        """It has a trend."""
        return False


class _Tables:
    """Resemblance of the options of each gene, as one matrix over all options."""

    def __init__(self, genes: Sequence[Gene]) -> None:
        sizes = [len(g.options) for g in genes]
        self._starts = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)
        self._free = np.array([size > 1 for size in sizes])
        self._width = int(sum(sizes))
        self._n_free = max(int(self._free.sum()), 1)
        alike, differ = np.zeros((2, self._width, self._width))
        for gene, start, free in zip(genes, self._starts, self._free, strict=True):
            if free:
                at = slice(start, start + len(gene.options))
                alike[at, at] = _compare_options(gene.options)
                differ[at, at] = 1 - alike[at, at]
        self._alike, self._square, self._differ = alike, alike**2, differ

    def compute_terms(self, x: Floats, y: Floats) -> list[Floats]:
        """Trend, smooth, genes, pairs, networks: (n, m) each, 1 for a row with itself but trend."""
        g = len(self._starts)
        one, other = self._indicate(x[:, :g]), self._indicate(y[:, :g])
        shared = one @ self._alike @ other.T
        squares = one @ self._square @ other.T
        pairs = (shared**2 - squares) / max(self._n_free * (self._n_free - 1), 1)
        networks = np.exp(-(one @ self._differ @ other.T) / max(self._n_free / _WHOLE, 1.0))
        z, w = x[:, g:], y[:, g:]
        product = z @ w.T / max(z.shape[1], 1)
        norms = [(v**2).mean(axis=1) if v.shape[1] else np.zeros(len(v)) for v in (z, w)]
        distance = np.maximum(norms[0][:, None] + norms[1][None] - 2 * product, 0)
        return [1 + product, np.exp(-0.5 * distance), shared / self._n_free, pairs, networks]

    def _indicate(self, genes: Floats) -> Floats:
        """Indicators (n, options of all genes) of the options that rows (n, G) choose."""
        at = genes.astype(np.int64) + self._starts
        out = np.zeros((len(genes), self._width))
        np.put_along_axis(out, at, self._free[None].astype(float), axis=1)
        return out


def _compare_options(options: Sequence[Any]) -> NDArray[np.float64]:
    """How alike the options of a gene are, (k, k): near numbers are, different words are not."""
    if not all(isinstance(o, int | float) and o >= 0 for o in options):
        return np.eye(len(options))
    numbers = np.array(options, dtype=float)
    place = np.log(numbers) if (numbers > 0).all() else numbers
    place = (place - place.min()) / max(float(np.ptp(place)), 1e-12)
    return np.asarray(np.exp(-np.abs(place[:, None] - place[None]) / _NEAR))
