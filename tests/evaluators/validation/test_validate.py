"""Validation finds good figures good, useless ones useless, and does not ask of what was learnt."""

from dataclasses import replace

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.errors import ConfigError
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.evaluators.predictors.predictor import PredictorEvaluator
from smt_nas.evaluators.predictors.training_set import FOLDS, TrainingSet, split_folds
from smt_nas.evaluators.validation.validate import BASELINES, validate
from tests.fakes.benches import bench, by_size_and_kernels, planned

FEW = 20  # resamples, where no interval is looked at


@pytest.fixture(scope="module")
def made_up():
    return bench(120, seeds=3)


@pytest.fixture(scope="module")
def found(made_up):
    oracle = FunctionEvaluator(by_size_and_kernels, name="oracle")
    return validate([oracle, PredictorEvaluator()], made_up, resamples=200)


def row(found, name):
    return found.row(name)


def test_the_truth_itself_is_found_good_and_better_than_params(found):
    judged = row(found, "oracle")
    assert judged.agreement.kendall.value > 0.9
    assert judged.agreement.in_band.value > 0.75
    assert judged.beats_params and judged.above_params.in_band.low > 0
    assert not judged.held_out and judged.seconds > 0


def test_params_come_second_and_chance_is_chance(found):
    params, chance = row(found, "#params"), row(found, "random")
    assert 0.5 < params.agreement.kendall.value < row(found, "oracle").agreement.kendall.value
    assert abs(chance.agreement.kendall.value) < 0.2
    assert params.above_params is None and not chance.beats_params
    assert [r.name for r in found.rows[-3:]] == list(BASELINES)


def test_the_predictor_is_judged_by_what_it_has_not_seen(found, made_up):
    judged = row(found, "predictor")
    assert judged.held_out and judged.agreement.failed == 0
    known = TrainingSet.of(made_up)
    seen = PredictorEvaluator().fit(known).evaluate(known.archs)
    own = np.abs(np.array([e.value for e in seen]) - known.top1).mean()
    assert np.abs(judged.figures - known.top1).mean() > own


def test_a_predictor_of_noise_is_not_found_good():
    noise = bench(120, rule=lambda arch: 0.8, noise=0.01)
    judged = row(validate([PredictorEvaluator()], noise, resamples=100), "predictor")
    assert abs(judged.agreement.kendall.value) < 0.2
    assert not judged.beats_params


def test_the_ceiling_is_of_networks_with_seeds(found):
    assert found.noise_ceiling.n == 24
    assert 0.7 < found.noise_ceiling.kendall.value <= 1
    assert validate([], bench(30), resamples=FEW).noise_ceiling is None


def test_the_largest_quarter_is_judged_after_learning_from_the_rest(found, made_up):
    known = TrainingSet.of(made_up)
    assert known.large.sum() == 30
    assert row(found, "predictor").largest_quarter.n == 30
    assert known.macs[known.large].min() > known.macs[~known.large].max()


def test_folds_leave_no_group_divided_and_hold_out_everything_once():
    groups = np.array([0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 11])
    parts = split_folds(groups, 0)
    assert len(parts) == FOLDS
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)
    for part in parts:
        assert len({*groups[part]} & {*groups[~part]}) == 0


def test_ablations_of_one_base_are_one_group(made_up):
    rows = [r for r in made_up.rows if r.seed == 0][:4]
    names = ("heads:3:1", "mixers:3:sam+sam", "heads:2:1", "band:3")
    renamed = tuple(replace(r, group=g) for r, g in zip(rows, names, strict=True))
    groups = TrainingSet.of(replace(made_up, rows=renamed)).groups
    assert groups[0] == groups[1] and len(set(groups)) == 3


def test_failures_are_counted_and_left_out(made_up):
    def fails_on_some(arch):
        if costs.of(arch).params % 3 == 0:
            raise RuntimeError("no")
        return by_size_and_kernels(arch)

    judged = row(
        validate([FunctionEvaluator(fails_on_some, name="f")], made_up, resamples=FEW), "f"
    )
    assert 0 < judged.agreement.failed < 100
    assert judged.agreement.n + judged.agreement.failed == 120


def test_one_that_fails_on_all_large_networks_is_judged_by_the_others(made_up):
    most = np.quantile(TrainingSet.of(made_up).macs, 0.7)

    def fails_on_large(arch):
        return 1 / 0 if costs.of(arch).macs > most else by_size_and_kernels(arch)

    judged = row(
        validate([FunctionEvaluator(fails_on_large, name="f")], made_up, resamples=FEW), "f"
    )
    assert judged.agreement.n == 84 and judged.agreement.kendall.value > 0.9
    assert judged.largest_quarter is None and judged.largest_above_params is None


def test_the_ceiling_compares_seeds_that_are_the_same(made_up):
    """Two networks whose first training failed: their second is not compared with others' first."""
    gone = {r.arch.key for r in made_up.rows if r.seed == 1}
    gone = set(sorted(gone)[:2])
    left = [r for r in made_up.rows if not (r.seed == 0 and r.arch.key in gone)]
    far = [
        replace(r, figures={**r.figures, "val_top1": r.figures["val_top1"] - 0.3 * (r.seed > 0)})
        for r in left
    ]
    found = validate([], replace(made_up, rows=tuple(far)), resamples=FEW).noise_ceiling
    assert found.n == 24 and found.kendall.value > 0.7


def test_ablations_are_resampled_together():
    """A bench of ablations has wider intervals than its networks each alone would have."""
    whole = planned(80)
    apart = replace(whole, rows=tuple(replace(r, group="band:0") for r in whole.rows))
    widths = []
    for made in (whole, apart):
        tau = row(validate([], made, resamples=300), "#params").agreement.kendall
        widths.append(tau.high - tau.low)
    assert len(set(TrainingSet.of(whole).groups)) < 70 and widths[0] > 1.1 * widths[1]


def test_what_learns_is_taught_with_groups_and_noise(made_up):
    taught = []

    class Learner:
        name, objective = "l", PredictorEvaluator.objective

        def fit(self, training_set):
            taught.append(training_set)
            return FunctionEvaluator(by_size_and_kernels, name="l")

        def evaluate(self, archs):
            raise AssertionError("asked of what it was not taught")

    validate([Learner()], made_up, resamples=FEW)
    known = TrainingSet.of(made_up)
    assert len(taught) == FOLDS + 1 and len(taught[-1].archs) == 90
    for one in taught:
        assert one.noise == known.noise > 0 and len(one.groups) == len(one.archs) < 120
        assert one.name.endswith("networks held out")


def test_what_is_clearly_worse_is_beaten_and_an_equal_is_not(made_up):
    noisy = {key: i for i, key in enumerate(made_up.networks)}
    good = FunctionEvaluator(by_size_and_kernels, name="good")
    alike = FunctionEvaluator(lambda arch: 2 * by_size_and_kernels(arch), name="alike")
    poor = FunctionEvaluator(lambda arch: float(noisy[arch.key] * 7 % 11), name="poor")
    found = validate([good, alike, poor], made_up, resamples=FEW)
    assert [found.is_beaten(name) for name in ("good", "alike", "poor")] == [False, False, True]


def test_size_alone_is_beaten_at_equal_macs(made_up):
    """Where size explains so much that over all networks nobody could tell."""
    good = FunctionEvaluator(by_size_and_kernels, name="good")
    size = FunctionEvaluator(lambda arch: float(costs.of(arch).macs), name="size")
    found = validate([good, size], made_up, resamples=FEW)
    assert found.is_beaten("size") and not found.is_beaten("good")


def test_a_bench_of_one_group_is_refused(made_up):
    alike = tuple(replace(r, group="heads:0:1") for r in made_up.rows)
    with pytest.raises(ConfigError, match="two groups or more"):
        validate([PredictorEvaluator()], replace(made_up, rows=alike))


def test_few_groups_are_as_many_folds():
    assert len(split_folds(np.array([3, 3, 5, 5, 9]), 0)) == 3


def test_an_evaluator_that_always_fails_is_told_so(made_up):
    with pytest.raises(ConfigError, match="needs figures of"):
        validate([FunctionEvaluator(lambda arch: 1 / 0, name="f")], made_up)


def test_a_bench_where_all_are_alike_is_refused():
    with pytest.raises(ConfigError, match="must differ"):
        validate([], bench(30, rule=lambda arch: 0.9, noise=0.0))
