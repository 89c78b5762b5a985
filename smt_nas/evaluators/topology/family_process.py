"""A Gaussian process of accuracy over published networks, in which each family has its own level.

    logit(top-1) = level of the family + steepness of the family * costs + g(costs) + h(topology)

Every term is a Gaussian process, so all are one sum of kernels (Rasmussen and Williams 2006, sec.
2.7 and 4.2.4): a family's level and steepness are random effects, known as far as its networks say;
g and h are what all families share, linear with a smooth departure. What a family's own networks
tell of it enters by conditioning on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from scipy.linalg import cho_factor, cho_solve

Floats = NDArray[np.float64]
Families = NDArray[np.str_]
_MEAN_VARIANCE = 4.0  # of the mean of all, in squared logits: as good as unknown
JITTER = 1e-8


class Hyperparameters(BaseModel):
    """Logarithms of variances and lengths, each found by marginal likelihood.

    Attributes:
        level: variance of the level of families.
        steepness: variance of the steepness of families.
        cost_slopes: variances of the slope of each cost, (3,).
        cost_length: length of departures from these, in standard deviations of the costs.
        cost_departure: variance of these departures, which all families share.
        family_departure: the same, of one family alone.
        noise: variance of one network.
        topology_slopes: variances of the slope of each feature, (K,).
        topology_length, topology_departure: as of the costs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float
    steepness: float
    cost_slopes: tuple[float, ...]
    cost_length: float
    cost_departure: float
    family_departure: float
    noise: float
    topology_slopes: tuple[float, ...] = ()
    topology_length: float = 0.0
    topology_departure: float = 0.0


@dataclass(frozen=True)
class Inputs:
    """What the process knows of n networks.

    Attributes:
        costs: standardised, (n, 3).
        topology: standardised features, (n, K).
        family: (n,) str.
    """

    costs: Floats
    topology: Floats
    family: Families


def compute_kernel(p: Hyperparameters, a: Inputs, b: Inputs) -> Floats:
    """Covariance of the networks of a (n) and of b (m), without noise, (n, m)."""
    same = (a.family[:, None] == b.family[None, :]).astype(np.float64)
    steep = np.outer(a.costs.mean(axis=1), b.costs.mean(axis=1))
    near = np.exp(-0.5 * _square_distances(a.costs, b.costs) / np.exp(2 * p.cost_length))
    covariance = _MEAN_VARIANCE + same * (np.exp(p.level) + np.exp(p.steepness) * steep)
    covariance += (a.costs * np.exp(p.cost_slopes)) @ b.costs.T
    covariance += (np.exp(p.cost_departure) + np.exp(p.family_departure) * same) * near
    if a.topology.shape[1]:
        covariance += (a.topology * np.exp(p.topology_slopes)) @ b.topology.T
        squares = _square_distances(a.topology, b.topology)
        near = np.exp(-0.5 * squares / np.exp(2 * p.topology_length))
        covariance += np.exp(p.topology_departure) * near
    return np.asarray(covariance)


@dataclass(frozen=True)
class Posterior:
    """The process, conditioned on networks whose accuracy is known.

    Attributes:
        hyperparameters: of the kernels.
        known: the networks.
        logits: of their top-1, (n,).
    """

    hyperparameters: Hyperparameters
    known: Inputs
    logits: Floats

    def predict(self, at: Inputs, less: Inputs | None = None) -> tuple[Floats, Floats]:
        """Mean and variance (m,) of networks, or of their difference to others, (m,) as they are.

        Noise is that of one network: it is in the variance once.
        """
        weights = self._covariance_with(at)
        prior = _compute_variance(self.hyperparameters, at, at)
        mean = np.full(len(weights), self._mean)
        if less is not None:
            weights = weights - self._covariance_with(less)
            prior = prior + _compute_variance(self.hyperparameters, less, less)
            prior = prior - 2 * _compute_variance(self.hyperparameters, at, less)
            mean[:] = 0.0
        explained = np.einsum("ij,ij->i", weights @ self._inverse, weights)
        variance = np.maximum(prior - explained, 0.0) + np.exp(self.hyperparameters.noise)
        return mean + weights @ self._coefficients, variance

    def predict_jointly(self, at: Inputs) -> tuple[Floats, Floats]:
        """Mean (m,) and covariance (m, m) of networks, without noise."""
        weights = self._covariance_with(at)
        prior = compute_kernel(self.hyperparameters, at, at)
        mean = self._mean + weights @ self._coefficients
        return mean, prior - weights @ self._inverse @ weights.T

    def _covariance_with(self, at: Inputs) -> Floats:
        return compute_kernel(self.hyperparameters, at, self.known)

    @cached_property
    def _mean(self) -> float:
        return float(self.logits.mean())

    @cached_property
    def _inverse(self) -> Floats:
        n = len(self.logits)
        covariance = compute_kernel(self.hyperparameters, self.known, self.known)
        noise = np.exp(self.hyperparameters.noise) + JITTER
        factor = cho_factor(covariance + noise * np.eye(n), lower=True)
        return np.asarray(cho_solve(factor, np.eye(n)))

    @cached_property
    def _coefficients(self) -> Floats:
        return np.asarray(self._inverse @ (self.logits - self._mean))


def _square_distances(a: Floats, b: Floats) -> Floats:
    squares = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(squares, 0.0))


def _compute_variance(p: Hyperparameters, a: Inputs, b: Inputs) -> Floats:
    """The covariance of each network of a with the one of b that stands in its place, (n,)."""
    same = (a.family == b.family).astype(np.float64)
    steep = a.costs.mean(axis=1) * b.costs.mean(axis=1)
    near = np.exp(-0.5 * ((a.costs - b.costs) ** 2).sum(axis=1) / np.exp(2 * p.cost_length))
    variance = _MEAN_VARIANCE + same * (np.exp(p.level) + np.exp(p.steepness) * steep)
    variance += (a.costs * np.exp(p.cost_slopes) * b.costs).sum(axis=1)
    variance += (np.exp(p.cost_departure) + np.exp(p.family_departure) * same) * near
    if a.topology.shape[1]:
        variance += (a.topology * np.exp(p.topology_slopes) * b.topology).sum(axis=1)
        squares = ((a.topology - b.topology) ** 2).sum(axis=1)
        near = np.exp(-0.5 * squares / np.exp(2 * p.topology_length))
        variance += np.exp(p.topology_departure) * near
    return np.asarray(variance)
