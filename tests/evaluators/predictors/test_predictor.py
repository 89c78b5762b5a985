"""The predictor learns what there is to learn, doubts the rest, and wins nothing by leaving it."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import kendalltau

from smt_nas.arch import SMALL_PRESETS
from smt_nas.errors import ConfigError
from smt_nas.evaluators.predictors import features, reference
from smt_nas.evaluators.predictors.gaussian_process import fit_gaussian_process
from smt_nas.evaluators.predictors.predictor import FEWEST, PredictorEvaluator, fit_predictor
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.space import SearchSpace
from tests.fakes.benches import MICRO, bench, by_size_and_kernels

SMT = SearchSpace.load("smt")


@pytest.fixture(scope="module")
def known():
    return TrainingSet.of(bench(160))


@pytest.fixture(scope="module")
def predictor(known):
    return fit_predictor(known)


@pytest.fixture(scope="module")
def fresh():
    """Networks that the bench has not."""
    return MICRO.sample(np.random.default_rng(99), 300)


def test_the_process_learns_and_knows_its_doubt(known, fresh):
    truth = np.array([100 * by_size_and_kernels(a) for a in MICRO.decode(fresh)])
    mean, std = fit_gaussian_process(known.features, known.top1, known.label_std).predict(
        features.of_genes(MICRO, fresh)
    )
    assert kendalltau(mean, truth).statistic > 0.75
    assert (std >= 0).all() and np.isfinite(std).all()
    again = fit_gaussian_process(known.features, known.top1, known.label_std).predict(
        features.of_genes(MICRO, fresh)
    )[0]
    np.testing.assert_array_equal(mean, again)


def test_points_are_relative_to_the_published_pattern(predictor):
    found = predictor.predict(features.of_archs([reference.smallest(small=True)]))
    assert found.points[0] == pytest.approx(0, abs=1e-9)


def test_the_interval_holds_what_it_says(predictor, fresh):
    rows = features.of_genes(MICRO, fresh)
    truth = np.array([100 * by_size_and_kernels(a) for a in MICRO.decode(fresh)])
    low, high = predictor.predict(rows).interval
    level = truth - predictor.zero
    assert 0.6 < np.mean((low <= level) & (level <= high)) <= 1


def test_topology_is_what_costs_do_not_explain(predictor, fresh):
    rows = features.of_genes(MICRO, fresh)
    found = predictor.predict(rows)
    many = sum(
        (rows[:, features.NAMES.index(f"log2_kernels_{i}")] > 1).astype(float) for i in range(1, 5)
    )
    assert kendalltau(found.topology, many).statistic > 0.5
    at = features.NAMES.index("log_params")
    assert abs(np.corrcoef(found.topology, rows[:, at])[0, 1]) < 0.3


def test_no_topology_is_better_than_the_best_that_was_trained(predictor, known, fresh):
    own = predictor.predict(known.features).topology
    assert (own.min(), own.max()) == pytest.approx(predictor.seen)
    rows = features.of_genes(SMT, SMT.sample(np.random.default_rng(0), 5000))
    others = predictor.predict(rows).topology
    assert own.min() <= others.min() and others.max() <= own.max()


class TestOutsideTheEvidence:
    """A network that differs from all that was trained."""

    def beyond(self, known, name, widths):
        rows = known.features[[0, 0]]
        at = features.NAMES.index(name)
        span = known.features[:, at].max() - known.features[:, at].min()
        rows[0, at] = known.features[:, at].max()
        rows[1, at] = known.features[:, at].max() + widths * span
        return rows

    @pytest.mark.parametrize("name", ["log_params", "log_depth", "log2_kernels_1", "macs_share_4"])
    def test_nothing_is_won_by_leaving(self, predictor, known, name):
        edge, out = predictor.predict(self.beyond(known, name, 3.0)).points
        assert out == edge

    def test_the_interval_grows_with_the_distance(self, predictor, known):
        widths = [
            predictor.predict(self.beyond(known, "log_depth", w)).std[1] for w in (0, 0.5, 1, 4)
        ]
        assert widths == sorted(widths) and widths[0] < widths[1] < widths[-1]
        assert widths[2] >= predictor.spread  # a width outside nothing but the costs is known

    def test_kernels_are_those_of_networks_that_have_some(self, predictor, known):
        """A stage of one small kernel is no stage of attention, which has none: it is outside."""
        at = features.NAMES.index("log2_kernel_size_3")
        share = features.NAMES.index("attention_share_3")
        assert known.features[:, at].min() == 0  # of stages of attention alone
        rows = known.features[[0, 0]]
        rows[:, share], rows[:, at] = (0.5, 1.0), 0.0
        found = predictor.predict(rows).extrapolation[:, at]
        assert found[0] > 0.2 and found[1] == 0

    def test_how_far_is_told(self, predictor, known):
        found = predictor.predict(self.beyond(known, "log_depth", 2.0)).extrapolation
        at = features.NAMES.index("log_depth")
        assert found[1, at] == pytest.approx(2.0)
        assert np.delete(found[1], at).max() == 0 and found[0].max() == 0


class TestEvaluator:
    def test_one_by_one_and_at_once_agree(self, predictor, fresh):
        evaluator = PredictorEvaluator(predictor)
        some = fresh[:20]
        at_once = evaluator.predict(MICRO, some).mean
        each = [e.value for e in evaluator.evaluate(MICRO.decode(some))]
        np.testing.assert_allclose(at_once, each, atol=1e-9)

    def test_it_says_its_interval_and_distance(self, predictor):
        [found] = PredictorEvaluator(predictor).evaluate([SMALL_PRESETS["smt_micro"]])
        assert found.provenance == "predicted"
        assert found.interval[0] < found.value < found.interval[1]
        assert found.extrapolation >= 0

    def test_full_size_networks_can_be_asked(self, predictor):
        genes = SMT.sample(np.random.default_rng(0), 50)
        assert np.isfinite(PredictorEvaluator(predictor).predict(SMT, genes).mean).all()

    def test_what_learnt_anew_speaks_of_top1_itself(self, known):
        learnt = PredictorEvaluator().fit(known)
        values = np.array([e.value for e in learnt.evaluate(known.archs[:20])])
        assert np.abs(values - known.top1[:20]).max() < 2


@dataclass(frozen=True)
class Memory:
    """Says of a network what it knows of the nearest one."""

    rows: np.ndarray
    top1: np.ndarray
    noise: np.ndarray

    def predict(self, rows):
        nearest = cdist(rows, self.rows).argmin(axis=1)
        return self.top1[nearest], np.ones(len(rows))


class TestHeldOutSlope:
    @pytest.fixture
    def memory(self, monkeypatch):
        monkeypatch.setattr("smt_nas.evaluators.predictors.predictor.fit_gaussian_process", Memory)

    def test_a_topology_that_is_real_is_worth_itself(self, predictor):
        assert 0.8 < predictor.held_out_slope <= 1

    def test_noise_learnt_by_heart_is_worth_nothing(self, known, memory):
        noise = np.random.default_rng(0).standard_normal(len(known.top1))
        assert 0 <= fit_predictor(replace(known, top1=noise)).held_out_slope < 0.2

    def test_networks_that_are_alike_are_held_out_together(self, known, memory):
        """Each twice, with its own noise: what is known of one is no foresight of the other."""
        noise = np.random.default_rng(0).standard_normal(len(known.top1))
        pairs = np.concatenate([np.arange(len(noise))] * 2)
        twice = replace(known, top1=noise).take(pairs)
        together = fit_predictor(twice).held_out_slope
        apart = fit_predictor(replace(twice, groups=np.arange(len(pairs)))).held_out_slope
        assert together < 0.2 and apart > 0.6


def test_too_few_networks_are_refused(known):
    with pytest.raises(ConfigError, match=rf"must have {FEWEST} networks .*\(got 20\)"):
        fit_predictor(known.take(np.arange(20)))


def test_networks_that_are_all_alike_are_refused(known):
    with pytest.raises(ConfigError, match=r"must differ in top-1 \(got 90 % for all\)"):
        fit_predictor(replace(known, top1=np.full(len(known.top1), 90.0)))
