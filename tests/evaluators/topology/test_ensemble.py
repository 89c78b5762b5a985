"""Averages of models, their scales, and what conditioning on a family's networks does."""

import numpy as np
import pytest

from smt_nas.evaluators.scaling_law import LAW
from smt_nas.evaluators.topology.ensemble import (
    FamilyEnsemble,
    Networks,
    Scaler,
    average_models,
)
from smt_nas.evaluators.topology.fits import load_fit
from smt_nas.evaluators.topology.pattern import load_presets
from smt_nas.evaluators.topology.published_table import load_published

TOP1 = np.array([82.2, 83.7, 84.3, 84.6])


def test_models_that_disagree_add_to_the_variance():
    answers = [(np.array([1.0, 2.0]), np.array([0.1, 0.2]))]
    answers.append((np.array([3.0, 2.0]), np.array([0.3, 0.4])))
    mean, variance = average_models(answers)
    np.testing.assert_allclose(mean, [2.0, 2.0])
    np.testing.assert_allclose(variance, [0.2 + 1.0, 0.3])


def test_the_scaler_gives_its_own_networks_mean_0_and_deviation_1():
    table = load_published()
    rows = table.select(table.comparable & table.metaformer)
    inputs = Scaler.of(("depth", "widths"), rows).make_inputs(
        Networks(rows.costs, rows.shapes), rows.family
    )
    for columns in (inputs.costs, inputs.topology):
        np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-10)
        np.testing.assert_allclose(columns.std(axis=0), 1)
    assert inputs.topology.shape == (len(rows.name), 4)
    assert (inputs.family == rows.family).all()


def test_logits_and_percent_are_inverse():
    np.testing.assert_allclose(LAW.percent(LAW.scale(TOP1)), TOP1)


@pytest.mark.parametrize("shift", [0.0, -1.0])
def test_known_members_carry_the_level_of_their_family(shift):
    presets = load_presets()
    ensemble = FamilyEnsemble.condition(load_fit(), load_published(), "smt", presets, TOP1 + shift)
    level, rise = ensemble.predict(presets, presets)
    np.testing.assert_allclose(LAW.percent(level.mean), TOP1 + shift, atol=0.35)
    np.testing.assert_allclose(rise.mean, 0, atol=1e-9)
    assert (level.std > 0).all()
