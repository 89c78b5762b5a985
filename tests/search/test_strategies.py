"""What each strategy does beside its contract (tests/contracts/test_strategy_contract.py)."""

import numpy as np
import pytest

from smt_nas.errors import UnknownName
from smt_nas.search.proposal import screen as screening
from smt_nas.search.proposal.strategy import History, Prior
from smt_nas.search.proposal.surrogate import surrogate_search
from smt_nas.search.strategies import make_strategy, read_earlier_settings
from smt_nas.space.baselines import baselines
from tests.fakes.searches import make_problem, sample


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(screening, "POPULATION", 40)


def empty(problem):
    return History(np.empty((0, len(problem.space.genes)), dtype=np.int64), [])


def propose(problem, history, n=16, prior=None, name="surrogate"):
    strategy = make_strategy(name, problem, prior)
    return strategy.propose(history, n, np.random.default_rng(0))


def test_a_history_drops_what_failed():
    genes = sample(3)
    tried, values = History(genes, [1.0, None, 3.0]).complete
    assert (tried == genes[[0, 2]]).all() and values.tolist() == [1.0, 3.0]


def test_the_first_round_spreads_over_the_macs():
    problem = make_problem()
    macs = problem.costs(propose(problem, empty(problem)))["macs"]
    everywhere = problem.costs(sample(2_000))["macs"]
    assert macs.min() < np.quantile(everywhere, 0.02)
    assert macs.max() > np.quantile(everywhere, 0.98)


def test_the_first_round_tries_the_presets_that_lie_in_the_space(monkeypatch):
    problem = make_problem()
    inside = problem.space.decode(sample(1, seed=5))[0]
    monkeypatch.setattr(
        surrogate_search, "baselines", lambda space: baselines(space) | {"smt_t": inside}
    )
    assert problem.space.decode(propose(problem, empty(problem)))[0].key == inside.key


def test_a_final_prior_is_screened_at_once_and_nothing_is_drawn_at_random():
    problem = make_problem(objectives=("score", "macs"))

    def predict(genes):
        return np.log(problem.costs(genes)["params"])

    genes = propose(problem, empty(problem), prior=Prior(predict, is_final=True))
    points = problem.objective_matrix(problem.values(genes) | {"score": predict(genes)})
    worse = [(points <= p).all(axis=1) & (points < p).any(axis=1) for p in points]
    assert len(genes) == 16 and not np.any(worse)


def test_a_network_that_was_tried_is_not_proposed_again():
    problem = make_problem(objectives=("macs", "params"))
    first = propose(problem, empty(problem))
    second = propose(problem, History(first, [None] * len(first)))
    assert not {r.tobytes() for r in first} & {r.tobytes() for r in second}


def test_a_strategy_of_0_1_is_read_by_its_name_of_today_and_its_rounds_of_32():
    earlier = read_earlier_settings({"strategy": "nsga2", "seed": 1})
    assert earlier == {"strategy": "surrogate", "batch": 32, "seed": 1}
    today = {"strategy": "nsga2", "batch": 8}
    assert read_earlier_settings(today) == today


def test_an_unknown_strategy_is_told_with_what_was_meant():
    with pytest.raises(UnknownName, match="Did you mean 'nsga2'"):
        make_strategy("nsga3", make_problem())


def test_the_surrogate_says_how_well_it_foretold_a_round():
    problem = make_problem(objectives=("score", "macs"))
    genes = sample(40)
    figures = np.log(problem.costs(genes)["params"])
    strategy = make_strategy("surrogate", problem)
    assert strategy.assess(History(genes[:4], list(figures[:4])), genes[4:8], figures[4:8]) is None
    history = History(genes[:32], list(figures[:32]))
    accuracy = strategy.assess(history, genes[32:], figures[32:])
    assert (accuracy.first, accuracy.n) == (32, 8)
    assert accuracy.kendall_tau > 0.7 and accuracy.spearman_rho > 0.7 and accuracy.rmse < 0.3


def test_a_large_round_of_what_is_known_is_the_best_of_all_candidates():
    problem = make_problem(objectives=("macs", "params"))
    genes = propose(problem, empty(problem), n=1000)
    assert len(np.unique(genes, axis=0)) == 1000
    costs = problem.costs(genes)["params"]
    assert np.median(costs) < np.median(problem.costs(sample(2_000))["params"])
