"""The Gaussian process that says which networks to evaluate next."""

import numpy as np
import pytest

from smt_nas.search.proposal.surrogate.surrogate import Surrogate
from tests.fakes.searches import make_problem, sample

PROBLEM = make_problem()
TRIED, NEW = sample(60), sample(40, seed=1)


def truth(genes):
    costs = PROBLEM.costs(genes)
    return np.log(costs["params"]) + 0.2 * genes[:, 0]


def test_it_orders_new_networks_as_the_evaluator_would():
    surrogate = Surrogate(PROBLEM, TRIED, truth(TRIED))
    predicted = surrogate.predict(NEW, PROBLEM.costs(NEW))
    assert predicted.shape == (len(NEW),)
    assert np.corrcoef(predicted, truth(NEW))[0, 1] > 0.95


def test_the_same_trials_give_the_same_predictions():
    first, again = (Surrogate(PROBLEM, TRIED, truth(TRIED)) for _ in range(2))
    costs = PROBLEM.costs(NEW)
    assert np.array_equal(first.predict(NEW, costs), again.predict(NEW, costs))


def test_a_prior_helps_where_it_knows_what_costs_do_not():
    def hidden(genes):
        return np.sin(7.0 * genes.sum(axis=1))

    few = TRIED[:20]
    blind = Surrogate(PROBLEM, few, hidden(few))
    helped = Surrogate(PROBLEM, few, hidden(few), hidden)
    costs = PROBLEM.costs(NEW)
    errors = [np.abs(s.predict(NEW, costs) - hidden(NEW)).mean() for s in (blind, helped)]
    assert errors[1] < 0.5 * errors[0]


def test_values_that_are_all_alike_are_no_error():
    alike = Surrogate(PROBLEM, TRIED, np.ones(len(TRIED)))
    assert alike.predict(NEW, PROBLEM.costs(NEW)) == pytest.approx(1.0)


def test_doubt_grows_with_the_distance_from_what_was_evaluated():
    surrogate = Surrogate(PROBLEM, TRIED, truth(TRIED) + 0.1 * np.sin(TRIED.sum(axis=1)))
    costs = PROBLEM.costs
    doubts = [surrogate.predict_with_doubt(g, costs(g))[1] for g in (TRIED, NEW)]
    assert doubts[0].mean() < doubts[1].mean()


def test_what_is_believed_together_agrees_with_what_is_believed_alone():
    surrogate = Surrogate(PROBLEM, TRIED, truth(TRIED))
    mean, std = surrogate.predict_with_doubt(NEW, PROBLEM.costs(NEW))
    belief = surrogate.predict_together(NEW, PROBLEM.costs(NEW))
    assert belief.mean == pytest.approx(mean)
    spread = np.ptp(truth(TRIED))
    assert np.sqrt(np.maximum(np.diag(belief.covariance), 0)) == pytest.approx(
        std, abs=0.02 * spread
    )


def test_one_network_that_learnt_nothing_does_not_hide_the_others():
    figures = truth(TRIED)
    spoilt = figures.copy()
    spoilt[7] -= 1000.0
    predicted = Surrogate(PROBLEM, TRIED, spoilt).predict(NEW, PROBLEM.costs(NEW))
    assert np.corrcoef(predicted, truth(NEW))[0, 1] > 0.8


def test_many_trials_are_taken_in():
    many = sample(400, seed=5)
    surrogate = Surrogate(PROBLEM, many, truth(many))
    predicted = surrogate.predict(NEW, PROBLEM.costs(NEW))
    assert np.corrcoef(predicted, truth(NEW))[0, 1] > 0.98
