"""`joint`: capacity for the level, the bench for the topology, and each part told."""

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.arch import PRESETS, SMALL_PRESETS
from smt_nas.evaluators import capacity
from smt_nas.evaluators.joint import JointEvaluator, add_topology
from smt_nas.evaluators.predictors import features, reference
from smt_nas.evaluators.predictors.predictor import fit_predictor, shipped_predictor
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.space import SearchSpace
from tests.fakes.benches import bench

SMT = SearchSpace.load("smt")


@pytest.fixture(scope="module")
def predictor():
    known = TrainingSet.of(bench(160))
    return fit_predictor(known)


@pytest.fixture(scope="module")
def genes():
    return SMT.sample(np.random.default_rng(4), 300)


def test_it_is_the_sum_of_its_parts(predictor, genes):
    level, rows = capacity.of_genes(SMT, genes), features.of_genes(SMT, genes)
    found = add_topology(level, rows, predictor, small=False)
    np.testing.assert_allclose(found.top1_pct, level.top1_pct + found.topology)
    assert found.topology.std() > 0.1


def test_published_networks_are_what_capacity_says_of_them(predictor):
    """Their topology is in the level already: it was laid through them."""
    archs = [*PRESETS.values(), reference.smallest(small=True)]
    for found in JointEvaluator(predictor).evaluate(archs):
        assert found.components["topology"] == pytest.approx(0, abs=1e-9)


def test_a_better_topology_than_the_published_one_is_worth_its_weight(predictor):
    t = PRESETS["smt_t"]
    few = t.model_copy(
        update={"stages": tuple(s.model_copy(update={"kernels": (3,)}) for s in t.stages)}
    )
    rows = features.of_archs([t, few])
    weight = predictor.held_out_slope * capacity.spread() / predictor.spread
    own = predictor.predict(rows).topology
    found = add_topology(capacity.of_arch(few), rows[1:], predictor, small=False).topology[0]
    assert found == pytest.approx(weight * (own[1] - own[0]), abs=0.02)
    assert found < 0


def test_a_deviation_of_the_topology_weighs_as_one_of_what_capacity_leaves_open(predictor):
    known = TrainingSet.of(bench(160))
    level = capacity.capacity(*np.full((3, 160), 1e9))
    effect = add_topology(level, known.features, predictor, small=True).topology
    assert effect.std() == pytest.approx(capacity.spread(), rel=0.25)


def test_the_interval_holds_that_of_capacity_and_grows_outside(predictor, genes):
    level, rows = capacity.of_genes(SMT, genes), features.of_genes(SMT, genes)
    found = add_topology(level, rows, predictor, small=False)
    assert (found.high - found.low >= level.high - level.low).all()
    extra = (found.high - found.low) - (level.high - level.low)
    far = found.extrapolation > np.median(found.extrapolation)
    assert extra[far].mean() > extra[~far].mean()


def test_details_tell_both_parts_and_that_small_images_have_no_level(predictor):
    full, small = JointEvaluator(predictor).evaluate([PRESETS["smt_t"], SMALL_PRESETS["smt_micro"]])
    for found in (full, small):
        parts = found.components
        assert found.value == pytest.approx(parts["capacity"] + parts["topology"])
        assert found.interval[0] < found.value < found.interval[1]
    assert small.relative and not full.relative
    assert 80 < full.components["capacity"] < 84


@pytest.mark.parametrize("share", [(0.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
def test_attention_counts_for_nothing_at_full_size_and_does_for_small_images(share):
    """There the bench contradicts the paper; here it is the evidence."""
    points = []
    for base in (PRESETS["smt_t"], SMALL_PRESETS["smt_micro"]):
        s1, s2, s3, s4 = base.stages
        third, fourth = (
            s.model_copy(update={"attention_ratio": a, "head_dim": s.dim // 4})
            for s, a in zip((s3, s4), share, strict=True)
        )
        other = base.model_copy(update={"stages": (s1, s2, third, fourth)})
        kept = features.of_archs([base, other])
        level = capacity.capacity(*np.full((3, 2), 1e9))
        costs_alike = kept.copy()  # attention has other costs, which do count
        at = [i for i, n in enumerate(features.NAMES) if n.startswith(("log_", "macs_share"))]
        costs_alike[1, at] = costs_alike[0, at]
        small = reference.is_small(base)
        found = add_topology(level, costs_alike, shipped_predictor(), small).topology
        points.append(abs(found[1] - found[0]))
    assert points[0] == pytest.approx(0, abs=1e-9) and points[1] > 0.05


def test_what_it_likes_best_is_no_corner():
    """Of what fits 2.4 GMACs, by the shipped evidence: networks that an engineer would build."""
    genes = SMT.sample(np.random.default_rng(0), 50_000)
    genes = genes[costs.estimate(SMT, genes).macs < 2.4e9]
    best = SMT.decode(genes[np.argsort(-JointEvaluator().predict(SMT, genes).mean)[:50]])
    for arch in best:
        parts = costs.by_part(arch)
        by_stage = [sum(p.macs for p in parts if f"stages.{i}." in p.name) for i in range(4)]
        assert sum(s.depth for s in arch.stages) >= 6
        assert max(by_stage) < 0.8 * sum(by_stage)


def test_learnt_anew_it_uses_what_it_was_taught(genes):
    known = TrainingSet.of(bench(160, rule=lambda arch: 0.8 - 0.02 * len(arch.stages[0].kernels)))
    few, many = (
        PRESETS["smt_t"].model_copy(
            update={
                "stages": tuple(
                    s.model_copy(update={"kernels": k}) for s in PRESETS["smt_t"].stages
                )
            }
        )
        for k in ((3,), (3, 5, 7, 9))
    )
    taught = JointEvaluator().fit(known).evaluate([few, many])
    assert taught[0].components["topology"] > taught[1].components["topology"]
