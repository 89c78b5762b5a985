"""The topology of networks for small images: the level by capacity, the rest by the bench."""

import numpy as np
import pytest

from smt_nas.arch import SMALL_PRESETS
from smt_nas.evaluators import capacity
from smt_nas.evaluators.predictors import features, reference
from smt_nas.evaluators.predictors.bench_topology import add_topology
from smt_nas.evaluators.predictors.predictor import fit_predictor
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.space import SearchSpace
from tests.fakes.benches import bench

MICRO = SearchSpace.load("smt_micro")


@pytest.fixture(scope="module")
def known():
    return TrainingSet.of(bench(160))


@pytest.fixture(scope="module")
def predictor(known):
    return fit_predictor(known)


@pytest.fixture(scope="module")
def genes():
    return MICRO.sample(np.random.default_rng(4), 300)


def test_it_is_the_sum_of_its_parts(predictor, genes):
    level, rows = capacity.of_genes(MICRO, genes), features.of_genes(MICRO, genes)
    small = add_topology(level, rows, predictor)
    np.testing.assert_allclose(small.points, level.top1_pct + small.topology)
    assert small.topology.std() > 0.1


def test_the_published_pattern_is_at_the_level(predictor):
    like_t = reference.smallest(small=True)
    small = add_topology(capacity.of_arch(like_t), features.of_archs([like_t]), predictor)
    assert small.topology[0] == pytest.approx(0, abs=1e-9)


def test_a_better_topology_is_worth_its_weight(predictor):
    base = SMALL_PRESETS["smt_micro"]
    few = base.model_copy(
        update={"stages": tuple(s.model_copy(update={"kernels": (3,)}) for s in base.stages)}
    )
    rows = features.of_archs([base, few])
    weight = predictor.held_out_slope * capacity.spread() / predictor.spread
    own = predictor.predict(rows).topology
    effect = add_topology(capacity.capacity(*np.full((3, 2), 1e9)), rows, predictor).topology
    assert effect[1] - effect[0] == pytest.approx(weight * (own[1] - own[0]))
    assert effect[1] < effect[0]


def test_a_deviation_of_the_topology_weighs_as_one_of_what_capacity_leaves_open(known, predictor):
    level = capacity.capacity(*np.full((3, 160), 1e9))
    effect = add_topology(level, known.features, predictor).topology
    assert effect.std() == pytest.approx(capacity.spread(), rel=0.25)


def test_the_interval_holds_that_of_capacity_and_grows_outside(predictor, genes):
    level, rows = capacity.of_genes(MICRO, genes), features.of_genes(MICRO, genes)
    small = add_topology(level, rows, predictor)
    assert (small.high - small.low >= level.high - level.low).all()
    extra = (small.high - small.low) - (level.high - level.low)
    far = small.extrapolation > np.median(small.extrapolation)
    assert extra[far].mean() > extra[~far].mean()
