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
from scipy.linalg import cho_factor, cho_solve
from threadpoolctl import threadpool_limits

from smt_nas.evaluators.topology.fits import Hyperparameters
from smt_nas.evaluators.topology.shapes import square_distances

Floats = NDArray[np.float64]
Families = NDArray[np.str_]
MEAN_VARIANCE = 4.0  # of the mean of all, in squared logits: as good as unknown
JITTER = 1e-8


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

    def select(self, keep: NDArray[np.bool_]) -> Inputs:
        """Some of the networks."""
        return Inputs(self.costs[keep], self.topology[keep], self.family[keep])


def compute_kernel(p: Hyperparameters, a: Inputs, b: Inputs) -> Floats:
    """Covariance of the networks of a (n) and of b (m), without noise, (n, m)."""
    return _add_terms(
        p,
        same=_are_same(a.family, b.family),
        steep=np.outer(a.costs.mean(axis=1), b.costs.mean(axis=1)),
        costs=((a.costs * np.exp(p.cost_slopes)) @ b.costs.T, square_distances(a.costs, b.costs)),
        topology=(
            (a.topology * np.exp(p.topology_slopes)) @ b.topology.T,
            square_distances(a.topology, b.topology),
        ),
    )


def compute_covariance(p: Hyperparameters, a: Inputs, b: Inputs) -> Floats:
    """Covariance of each network of a with the one of b in its place, without noise, (n,)."""
    return _add_terms(
        p,
        same=a.family == b.family,
        steep=a.costs.mean(axis=1) * b.costs.mean(axis=1),
        costs=_pair(a.costs, b.costs, np.exp(p.cost_slopes)),
        topology=_pair(a.topology, b.topology, np.exp(p.topology_slopes)),
    )


def _add_terms(
    p: Hyperparameters,
    same: NDArray[np.bool_],
    steep: Floats,
    costs: tuple[Floats, Floats],
    topology: tuple[Floats, Floats],
) -> Floats:
    """The sum of kernels, of pairs of networks: each argument holds one figure a pair.

    Args:
        p: the hyperparameters.
        same: they are of one family.
        steep: product of what steepness multiplies.
        costs: weighted product, and squared distance.
        topology: likewise.
    """
    near = np.exp(-0.5 * costs[1] / np.exp(2 * p.cost_length))
    own = np.exp(p.level) + np.exp(p.steepness) * steep + np.exp(p.family_departure) * near
    shared = costs[0] + np.exp(p.cost_departure) * near
    if p.topology_slopes:
        near = np.exp(-0.5 * topology[1] / np.exp(2 * p.topology_length))
        shared = shared + topology[0] + np.exp(p.topology_departure) * near
    return np.asarray(MEAN_VARIANCE + same * own + shared)


@dataclass(frozen=True)
class BesideOthers:
    """Networks beside others; each field is a mean and a variance with noise, (m,).

    Attributes:
        level: logit of the networks.
        rise: by how much it is above that of the others.
    """

    level: tuple[Floats, Floats]
    rise: tuple[Floats, Floats]


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

    def predict_beside(self, at: Inputs, base: Inputs) -> BesideOthers:
        """Networks (m,) and how they differ from others, (m,) as they are."""
        p, ours, theirs = (
            self.hyperparameters,
            self._covariance_with(at),
            self._covariance_with(base),
        )
        own, other = compute_covariance(p, at, at), compute_covariance(p, base, base)
        level = self._describe(ours, own)
        rise = self._describe(ours - theirs, own + other - 2 * compute_covariance(p, at, base))
        return BesideOthers(level=level, rise=(rise[0] - self._mean, rise[1]))

    def _describe(self, weights: Floats, prior: Floats) -> tuple[Floats, Floats]:
        """Mean and variance with noise, (m,), from covariances with the known networks (m, n)."""
        explained = np.einsum("ij,ij->i", weights @ self._inverse, weights)
        variance = np.maximum(prior - explained, 0.0) + np.exp(self.hyperparameters.noise)
        return self._mean + weights @ self._coefficients, variance

    def predict_jointly(self, at: Inputs) -> tuple[Floats, Floats]:
        """Mean (m,) and covariance (m, m) of networks, noise included."""
        weights = self._covariance_with(at)
        noise = np.exp(self.hyperparameters.noise) * np.eye(len(weights))
        covariance = compute_kernel(self.hyperparameters, at, at) + noise
        covariance -= weights @ self._inverse @ weights.T
        return self._mean + weights @ self._coefficients, covariance

    def leave_out(self, rows: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """The same of known networks (m,), as if these were not known."""
        covariance = np.asarray(np.linalg.inv(self._inverse[np.ix_(rows, rows)]), np.float64)
        return self.logits[rows] - covariance @ self._coefficients[rows], covariance

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
        with threadpool_limits(1):  # several threads end in other bits, and variances in their 8th
            factor = cho_factor(covariance + noise * np.eye(n), lower=True)
            return np.asarray(cho_solve(factor, np.eye(n)))

    @cached_property
    def _coefficients(self) -> Floats:
        inverse = self._inverse
        with threadpool_limits(1):
            return np.asarray(inverse @ (self.logits - self._mean))


def _are_same(a: Families, b: Families) -> NDArray[np.bool_]:
    """Which of a (n,) are of the family of which of b (m,), (n, m)."""
    names, codes = np.unique(a, return_inverse=True)  # of a search all are of one
    return np.asarray((names[:, None] == b[None, :])[codes])


def _pair(a: Floats, b: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted product and squared distance of each row of a and its own of b, (n,)."""
    return (a * weights * b).sum(axis=1), ((a - b) ** 2).sum(axis=1)
