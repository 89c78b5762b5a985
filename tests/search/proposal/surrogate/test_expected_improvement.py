"""What a network is expected to add to a front, against sampling."""

import moocore
import numpy as np
import pytest

from smt_nas.search.proposal.surrogate.expected_improvement import ImprovementJudge


def front(dimensions, n=12):
    rng = np.random.default_rng(dimensions)
    points = np.abs(rng.normal(size=(n, dimensions)))
    points /= np.linalg.norm(points, axis=1, keepdims=True)  # minimised: a concave front
    return np.vstack([points, np.zeros((1, dimensions)), np.ones((1, dimensions))])[:n]


def add_volume(points, candidate, low, high):
    span = np.vstack([points, candidate])
    ref = np.full(points.shape[1], 1.1)
    volumes = [moocore.hypervolume((p - low) / (high - low), ref=ref) for p in (points, span)]
    return volumes[1] - volumes[0]


@pytest.mark.parametrize("dimensions", [1, 2, 3, 4])
def test_it_is_what_sampling_gives(dimensions):
    rng = np.random.default_rng(0)
    points = front(dimensions) if dimensions > 1 else np.array([[0.6], [0.9]])
    expected = np.vstack([points, np.full((1, dimensions), 0.3)])
    low, high = expected.min(axis=0), expected.max(axis=0)
    candidates, std = rng.uniform(0.3, 0.8, (3, dimensions)), np.array([0.05, 0.1, 0.2])
    judged = ImprovementJudge(0, points, expected).judge(candidates, std)
    for candidate, doubt, gain in zip(candidates, std, judged, strict=True):
        readings = np.repeat(candidate[None], 200, axis=0)
        readings[:, 0] += doubt * rng.standard_normal(200)
        sampled = np.mean([add_volume(points, r[None], low, high) for r in readings])
        assert gain == pytest.approx(sampled, rel=0.25, abs=0.02)


def test_a_network_that_was_taken_adds_nothing_twice():
    points = np.array([[1.0, 0.0], [0.0, 1.0]])
    judge = ImprovementJudge(0, points, points)
    candidate, sure = np.array([[0.4, 0.4]]), np.array([1e-6])
    before = judge.judge(candidate, sure)[0]
    judge.add(candidate[0])
    assert before > 0.3 and judge.judge(candidate, sure)[0] < 1e-6


def test_values_that_are_all_alike_give_finite_numbers():
    alike = np.ones((3, 2))
    gains = ImprovementJudge(1, alike, alike).judge(alike, np.zeros(3))
    assert np.isfinite(gains).all()
