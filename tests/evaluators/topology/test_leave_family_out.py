"""Errors in families left out: the goals on the shipped data, and how they are reckoned."""

import numpy as np
import pytest

from smt_nas.evaluators.scaling_law import KNOWN_MEMBERS, LAW
from smt_nas.evaluators.topology.ensemble import (
    REFERENCE_SETS,
    Networks,
    Scaler,
    average_models,
)
from smt_nas.evaluators.topology.family_process import Inputs, Posterior
from smt_nas.evaluators.topology.fits import FOLDS, load_fit
from smt_nas.evaluators.topology.leave_family_out import SHARE, assign_folds
from smt_nas.evaluators.topology.left_out import LeftOutErrors
from smt_nas.evaluators.topology.published_table import load_published
from tests.fakes.published import leave_families_out


@pytest.mark.parametrize(
    ("whole_lines", "known", "unknown"), [(False, 0.36, 0.70), (True, 0.36, 0.73)]
)
def test_errors_are_within_the_goals(whole_lines, known, unknown):
    """Those of families, and nearly so where their siblings are left out too."""
    errors = leave_families_out(whole_lines).ensemble
    assert errors.mean_error(KNOWN_MEMBERS, hybrids=True) <= known
    assert errors.mean_error(0, hybrids=True) <= unknown


@pytest.mark.parametrize("whole_lines", [False, True])
def test_topology_is_better_than_costs_alone_and_than_the_law_beyond_doubt(whole_lines):
    experiment = leave_families_out(whole_lines)
    for other in (experiment.costs_alone, experiment.law):
        difference = experiment.ensemble.compare(other)
        assert difference.families >= 20
        assert difference.low < difference.mean < difference.high < 0


def test_intervals_hold_what_they_say():
    experiment = leave_families_out()
    factor = experiment.fit.interval_factor
    assert 0.75 <= experiment.ensemble.coverage(KNOWN_MEMBERS, True, factor) <= 0.85
    assert 0.75 <= experiment.ensemble.cross_coverage(SHARE) <= 0.85
    assert experiment.ensemble.calibrate(SHARE) == pytest.approx(factor, abs=1e-3)


def test_the_shipped_agreement_is_what_the_experiment_says():
    assert leave_families_out().summarise() == load_fit().agreement


def test_a_line_is_in_one_fold_and_hybrids_are_in_all():
    table = load_published()
    folds = assign_folds(table)
    assert set(folds) == set(table.family[table.comparable].tolist())
    rated = table.select(table.comparable)
    for line in np.unique(rated.line):
        assert len({folds[f] for f in rated.family[rated.line == line]}) == 1
    assert {folds[f] for f in rated.family[rated.hybrid]} == set(range(FOLDS))


def test_a_member_is_predicted_from_all_other_families_and_the_known_members():
    """One network, by conditioning anew on all but the family, and on four of it."""
    experiment, family = leave_families_out(), "pvt_v2"
    table, fold = experiment.table, assign_folds(experiment.table)[family]
    own = np.flatnonzero(experiment.targets & (table.family == family))
    at, known = own[:1], own[1 : 1 + KNOWN_MEMBERS]
    answers = []
    for model in experiment.fit.models:
        chosen = REFERENCE_SETS[model.reference_set](table)
        rows = np.flatnonzero(chosen & (table.family != family))
        scaler = Scaler.of(model.features, table.select(chosen))

        def inputs(rows: np.ndarray, scaler: Scaler = scaler) -> Inputs:
            some = table.select(rows)
            return scaler.make_inputs(Networks(some.costs, some.shapes), some.family)

        for_all = np.concatenate([rows, known])
        posterior = Posterior(model.folds[fold], inputs(for_all), LAW.scale(table.top1[for_all]))
        mean, covariance = posterior.predict_jointly(inputs(at))
        answers.append((mean, np.diag(covariance)))
    points = table.top1[at] - LAW.percent(average_models(answers)[0])
    errors = experiment.ensemble
    ours = errors.points[(errors.family == family) & (errors.known == KNOWN_MEMBERS)]
    assert np.abs(ours - points[0]).min() < 1e-4


def test_a_network_counts_once_however_many_ways_its_relatives_are_known():
    errors = leave_families_out().ensemble
    assert errors.count(0).networks == leave_families_out().targets.sum()
    known = errors.count(KNOWN_MEMBERS)
    assert known.families == len(errors.family_errors(KNOWN_MEMBERS))
    assert known.hybrids < known.networks < errors.count(0).networks


def make(points, deviations, family, hybrid=True, known=KNOWN_MEMBERS):
    n = len(points)
    return LeftOutErrors(
        line=np.array(family),
        family=np.array(family),
        hybrid=np.full(n, hybrid),
        known=np.full(n, known),
        points=np.array(points),
        deviations=np.array(deviations),
        weight=np.ones(n),
    )


def test_errors_and_coverage_of_a_small_case():
    errors = make([1.0, -3.0, 2.0], [0.5, -2.0, 1.0], ["a", "a", "b"])
    assert errors.mean_error(KNOWN_MEMBERS, True) == 2.0
    assert errors.coverage(KNOWN_MEMBERS, True) == pytest.approx(2 / 3)
    assert errors.coverage(KNOWN_MEMBERS, True, factor=2.0) == 1.0
    assert errors.family_errors(KNOWN_MEMBERS) == {"a": 2.0, "b": 2.0}


def test_where_nothing_is_predicted_there_is_no_figure():
    errors = make([1.0, 2.0], [np.nan, np.nan], ["a", "b"], hybrid=False, known=0)
    assert errors.mean_error(KNOWN_MEMBERS, False) is None
    assert errors.mean_error(0, True) is None
    assert errors.coverage(0, False) is None
    assert errors.cross_coverage(SHARE) is None
    assert errors.compare(errors) is None
