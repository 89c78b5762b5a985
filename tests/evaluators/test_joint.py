"""`joint`: published networks tell of ImageNet's images, the bench of small ones."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from smt_nas import costs
from smt_nas.arch import PRESETS, SMALL_PRESETS
from smt_nas.evaluators import capacity
from smt_nas.evaluators.base import NORMAL_80
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_by_probes
from smt_nas.evaluators.evidence import CombinedEvidence, FamilyEvidence
from smt_nas.evaluators.joint import JointEvaluator
from smt_nas.evaluators.predictors import recorded_probes
from smt_nas.evaluators.predictors.predictor import fit_predictor
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.evaluators.topology import gain
from smt_nas.evaluators.topology.design_region import load_region
from smt_nas.evaluators.topology.shapes import Shapes
from smt_nas.space import SearchSpace
from tests.fakes.benches import bench
from tests.fakes.published import promised_before

SMT, MICRO = SearchSpace.load("smt"), SearchSpace.load("smt_micro")


@pytest.fixture(scope="module")
def presets():
    return JointEvaluator().evaluate(list(PRESETS.values()))


def test_presets_have_their_published_top1_and_an_interval_about_it(presets):
    for evaluation, top1 in zip(presets, capacity.PUBLISHED_TOP1.values(), strict=True):
        assert evaluation.value == pytest.approx(top1, abs=0.3)
        low, high = evaluation.interval
        assert low < top1 < high
        assert not evaluation.relative and evaluation.extrapolation == 0


def test_it_asks_to_be_compared_by_the_lower_bound(presets):
    assert all(e.by_lower_bound and e.compared == e.interval[0] for e in presets)
    genes = SMT.sample(np.random.default_rng(0), 20)
    assert JointEvaluator().predict(SMT, genes).by_lower_bound
    small = JointEvaluator().evaluate([SMALL_PRESETS["smt_micro"]])[0]
    assert not small.by_lower_bound and small.relative


def test_genes_and_architectures_are_rated_alike():
    for space in (SMT, MICRO):
        genes = space.sample(np.random.default_rng(1), 8)
        estimate = JointEvaluator().predict(space, genes)
        each = JointEvaluator().evaluate(space.decode(genes))
        np.testing.assert_allclose(estimate.mean, [e.value for e in each], rtol=1e-6)
        if estimate.by_lower_bound:
            lows = estimate.mean - NORMAL_80 * estimate.std
            np.testing.assert_allclose(lows, [e.interval[0] for e in each], rtol=1e-6)


def test_the_parts_add_up():
    s = PRESETS["smt_s"]
    other = s.model_copy(update={"image_size": 256})
    evaluations = JointEvaluator().evaluate([other, SMALL_PRESETS["smt_micro"]])
    for evaluation in evaluations:
        parts = evaluation.components
        assert evaluation.value == pytest.approx(parts["capacity"] + parts["topology"])
    gain = evaluations[0].components
    assert gain["gain_low"] < gain["gain"] < gain["gain_high"]


def test_what_it_recommended_before_lies_outside_and_a_point_below_smt_t(presets):
    before = JointEvaluator().evaluate([promised_before()])[0]
    assert before.extrapolation > 0
    assert before.compared < presets[0].compared - 1.0


def test_what_it_likes_best_is_what_an_engineer_would_build():
    """Of what fits 2.4 GMACs within the region: no shallow network, and most of it in stage 3."""
    genes = SMT.sample(np.random.default_rng(0), 20_000)
    genes = genes[costs.estimate(SMT, genes).macs < 2.4e9]
    region = load_region()
    genes = genes[region.measure_genes(SMT, genes) <= region.limit]
    estimate = JointEvaluator().predict(SMT, genes)
    best = genes[np.argsort(NORMAL_80 * estimate.std - estimate.mean)[:20]]
    shapes = Shapes.of_genes(SMT, best)
    assert (shapes.depth.sum(axis=1) >= 8).all()
    assert (shapes.depth.argmax(axis=1) == 2).mean() >= 0.8


def test_the_bench_says_nothing_at_full_size_and_all_for_small_images():
    known = TrainingSet.of(bench(160, rule=lambda arch: 0.8 - 0.02 * len(arch.stages[0].kernels)))
    taught, shipped = JointEvaluator().fit(known), JointEvaluator()
    t, micro = PRESETS["smt_t"], SMALL_PRESETS["smt_micro"]
    few, many = (
        micro.model_copy(
            update={"stages": tuple(s.model_copy(update={"kernels": k}) for s in micro.stages)}
        )
        for k in ((3,), (3, 5, 7, 9))
    )
    assert taught.evaluate([t])[0].value == shipped.evaluate([t])[0].value
    ours = [e.components["topology"] for e in taught.evaluate([few, many])]
    assert ours[0] > ours[1]


def test_its_evidence_is_of_the_images_it_is_for():
    full, small = (JointEvaluator().for_space(space).evidence for space in (SMT, MICRO))
    assert isinstance(full, FamilyEvidence) and full.agreement.networks > 300
    assert isinstance(small, CombinedEvidence) and small.agreement is not None
    own = JointEvaluator(fit_predictor(TrainingSet.of(bench(100)))).evidence
    assert own.networks == 100


def test_a_published_network_gains_nothing_over_itself():
    for rated in JointEvaluator().evaluate(list(PRESETS.values())):
        parts = rated.components
        assert (parts["gain"], parts["gain_low"], parts["gain_high"]) == (0, 0, 0)


def test_its_fingerprint_is_that_of_any_number_of_threads():
    fingerprints = set()
    for threads in (1, 2, 3):
        for cached in (gain._condition_on_smt, gain._measure_residuals):
            cached.cache_clear()
        with threadpool_limits(threads):
            fingerprints.add(fingerprint_by_probes(JointEvaluator()))
    assert len(fingerprints) == 1


def test_the_recorded_figures_are_what_is_predicted_now():
    """Else run `python -m tools.joint_probes`."""
    small = recorded_probes.read_recorded()
    assert small is not None, "the bench, the code or a library has changed"
    assert JointEvaluator().fingerprint == fingerprint_by_probes(JointEvaluator())


def test_figures_of_other_inputs_are_not_taken(monkeypatch):
    for name in ("_LIBRARIES", "_CODE"):
        with monkeypatch.context() as patch:
            patch.setattr(recorded_probes, name, getattr(recorded_probes, name)[1:])
            assert recorded_probes.read_recorded() is None
    with monkeypatch.context() as patch:
        patch.setattr(recorded_probes.capacity, "spread", lambda: 2.0)
        assert recorded_probes.read_recorded() is None
