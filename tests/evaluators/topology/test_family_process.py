"""The process over families: against a plain dense computation, network by network."""

import math

import numpy as np
import pytest

from smt_nas.evaluators.topology.family_process import (
    JITTER,
    Inputs,
    Posterior,
    compute_covariance,
    compute_kernel,
)
from smt_nas.evaluators.topology.fits import Hyperparameters

P = Hyperparameters(
    level=-1.0,
    steepness=-2.0,
    cost_slopes=(-1.0, -2.0, -3.0),
    cost_length=0.3,
    cost_departure=-2.5,
    family_departure=-3.0,
    noise=-4.0,
    topology_slopes=(-2.0, -3.0),
    topology_length=0.5,
    topology_departure=-1.5,
)


def draw(n, seed, families="abc"):
    rng = np.random.default_rng(seed)
    family = np.array([families[i % len(families)] for i in range(n)])
    return Inputs(rng.normal(size=(n, 3)), rng.normal(size=(n, 2)), family)


def covary(p, a, i, b, j):
    """Covariance of two networks, term by term."""
    c, d, t, u = a.costs[i], b.costs[j], a.topology[i], b.topology[j]
    near = math.exp(-0.5 * sum((c - d) ** 2) / math.exp(p.cost_length) ** 2)
    value = 4.0 + sum(math.exp(s) * x * y for s, x, y in zip(p.cost_slopes, c, d, strict=True))
    value += math.exp(p.cost_departure) * near
    value += sum(math.exp(s) * x * y for s, x, y in zip(p.topology_slopes, t, u, strict=True))
    away = sum((t - u) ** 2) / math.exp(p.topology_length) ** 2
    value += math.exp(p.topology_departure) * math.exp(-0.5 * away)
    if a.family[i] == b.family[j]:
        value += math.exp(p.level) + math.exp(p.steepness) * c.mean() * d.mean()
        value += math.exp(p.family_departure) * near
    return value


def covary_all(p, a, b):
    return np.array(
        [[covary(p, a, i, b, j) for j in range(len(b.costs))] for i in range(len(a.costs))]
    )


def test_the_kernel_is_the_sum_of_its_terms():
    a, b = draw(5, 0), draw(7, 1)
    np.testing.assert_allclose(compute_kernel(P, a, b), covary_all(P, a, b), rtol=1e-10)
    np.testing.assert_allclose(compute_covariance(P, a, a), np.diag(covary_all(P, a, a)))


def test_prediction_is_conditioning_on_the_known_networks():
    known, at, base = draw(6, 2), draw(4, 3), draw(4, 4, families="ca")
    logits = np.random.default_rng(5).normal(1.4, 0.2, 6)
    noise = math.exp(P.noise)
    among = covary_all(P, known, known) + (noise + JITTER) * np.eye(6)
    ours, theirs = covary_all(P, at, known), covary_all(P, base, known)
    rest = np.linalg.solve(among, logits - logits.mean())
    posterior = Posterior(P, known, logits)

    mean, variance = posterior.predict_beside(at, base).level
    np.testing.assert_allclose(mean, logits.mean() + ours @ rest, rtol=1e-6)
    whole = covary_all(P, at, at) - ours @ np.linalg.solve(among, ours.T)
    np.testing.assert_allclose(variance, np.diag(whole) + noise, rtol=1e-6)
    _, covariance = posterior.predict_jointly(at)
    np.testing.assert_allclose(covariance, whole + noise * np.eye(4), atol=1e-8)

    rise, rise_variance = posterior.predict_beside(at, base).rise
    np.testing.assert_allclose(rise, (ours - theirs) @ rest, atol=1e-8)
    both = covary_all(P, at, at) + covary_all(P, base, base) - 2 * covary_all(P, at, base)
    gap = ours - theirs
    expected = np.diag(both - gap @ np.linalg.solve(among, gap.T)) + noise
    np.testing.assert_allclose(rise_variance, expected, rtol=1e-6)


def test_leaving_out_is_conditioning_on_the_rest():
    known, logits = draw(9, 6), np.random.default_rng(7).normal(1.4, 0.2, 9)
    rows = np.flatnonzero(known.family == "b")
    mean, covariance = Posterior(P, known, logits).leave_out(rows)
    rest = np.setdiff1d(np.arange(9), rows)

    def pick(at):
        return Inputs(known.costs[at], known.topology[at], known.family[at])

    among = covary_all(P, pick(rest), pick(rest)) + (math.exp(P.noise) + JITTER) * np.eye(6)
    weights = np.linalg.solve(among, covary_all(P, pick(rest), pick(rows))).T
    centre = logits.mean()  # of all: next to unknown, by the wide prior of the mean
    np.testing.assert_allclose(mean, centre + weights @ (logits[rest] - centre), rtol=1e-6)
    whole = covary_all(P, pick(rows), pick(rows)) - weights @ covary_all(P, pick(rest), pick(rows))
    np.testing.assert_allclose(covariance, whole + math.exp(P.noise) * np.eye(3), atol=1e-7)


def test_a_network_of_an_unknown_family_is_less_certain_than_one_of_a_known():
    known, logits = draw(9, 8), np.random.default_rng(9).normal(1.4, 0.2, 9)
    at = draw(3, 10)
    stranger = Inputs(at.costs, at.topology, np.array(["x", "y", "z"]))
    posterior = Posterior(P, known, logits)
    assert (
        np.diag(posterior.predict_jointly(stranger)[1]) > np.diag(posterior.predict_jointly(at)[1])
    ).all()


def test_a_model_of_costs_alone_has_no_term_of_topology():
    costs_alone = P.model_copy(update={"topology_slopes": ()})
    a = draw(4, 11)
    bare = Inputs(a.costs, np.empty((4, 0)), a.family)
    gap = covary_all(P, a, a) - compute_kernel(costs_alone, bare, bare)
    slopes = np.exp(P.topology_slopes)
    near = np.exp(-0.5 * ((a.topology[0] - a.topology[1]) ** 2).sum() / np.exp(1.0))
    linear = (a.topology[0] * slopes * a.topology[1]).sum()
    assert gap[0, 1] == pytest.approx(linear + np.exp(P.topology_departure) * near)
