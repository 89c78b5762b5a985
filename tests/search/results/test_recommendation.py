"""Which member to take first: a certain gain, else the cheapest that is as sure as the preset."""

from dataclasses import replace

import pytest

from smt_nas.evaluators import Evaluation
from smt_nas.search.results.recommendation import PresetGain, recommend
from tests.fakes import devices as fakes
from tests.fakes.searches import make_outcome, make_problem, make_trials, sample


@pytest.fixture
def problem(monkeypatch):
    fakes.install(monkeypatch)
    return make_problem(objectives=("score", "latency", "macs"))


def rate(value, low, high, bound=None):
    gains = {"gain": value, "gain_low": low, "gain_high": high}
    interval = (value - 1 if bound is None else bound, value + 1)
    return Evaluation(value, "predicted", interval, components=gains, by_lower_bound=True)


def make_front(problem, *evaluations, preset=0.0):
    outcome = make_outcome(problem, make_trials(problem, sample(len(evaluations)), evaluations))
    rated = [replace(b, evaluation=rate(0.0, -0.5, 0.5, bound=preset)) for b in outcome.baselines]
    return replace(outcome, baselines=rated)


def test_a_certain_gain_comes_first(problem):
    outcome = make_front(problem, rate(3.0, 1.0, 5.0), rate(1.0, -1.0, 3.0))
    choice = recommend(problem, outcome.front, outcome.baselines)
    assert choice.member.name == "0" and choice.gain == PresetGain(3.0, 1.0, 5.0)
    assert choice.gain.is_certain and choice.ratios.keys() >= {"latency_ms", "macs", "params"}
    macs = choice.member.values["macs"] / choice.preset.values["macs"]
    assert choice.ratios["macs"] == pytest.approx(macs)


def test_where_no_gain_is_certain_the_fastest_that_is_as_sure_as_the_preset(problem):
    rated = [rate(1.0, -1.0, 3.0, bound=b) for b in (0.4, 0.3, 0.2, -5.0)]
    outcome = make_front(problem, *rated)
    choice = recommend(problem, outcome.front, outcome.baselines)
    sure = [r for r in outcome.front if r.evaluation.interval[0] >= 0]
    assert choice.is_as_accurate and not choice.gain.is_certain
    assert choice.member.values["latency_ms"] == min(r.values["latency_ms"] for r in sure)


def test_a_bound_below_by_less_than_two_trainings_differ_counts_as_equal(problem):
    outcome = make_front(problem, *[rate(1.0, -1.0, 3.0, bound=b) for b in (-0.08, -0.09, -0.2)])
    choice = recommend(problem, outcome.front, outcome.baselines)
    assert choice.is_as_accurate and choice.bound_difference in (-0.08, -0.09)


def test_all_members_stand_beside_the_preset_nearest_to_the_best(problem):
    """A small member that is as sure as a small preset is no answer to a large budget."""
    outcome = make_front(problem, *[rate(1.0, -1.0, 3.0, bound=b) for b in (5.1, 2.0, 1.0)])
    best = outcome.front[0]
    rated = [
        replace(b, evaluation=rate(0.0, -0.5, 0.5, bound=5.0 if i else 0.0), values=dict(b.values))
        for i, b in enumerate(outcome.baselines)
    ]
    rated[1].values["macs"] = best.values["macs"]
    choice = recommend(problem, outcome.front, rated)
    assert (choice.member.name, choice.preset.name) == ("0", rated[1].name)


@pytest.mark.parametrize(
    ("budget", "cost"),
    [("3Mparams", "params"), ("100MB", "peak_memory_mb"), ("90MMACs", "macs"), ("9s@cpu", "macs")],
)
def test_the_preset_is_that_of_equal_cost_in_what_the_budget_limits(monkeypatch, budget, cost):
    fakes.install(monkeypatch)
    problem = make_problem(budget, objectives=("score", "latency", "macs"))
    outcome = make_front(problem, rate(3.0, 1.0, 5.0))
    best = outcome.front[0].values
    near = [
        replace(b, values=b.values | {"macs": 1e12, "params": 1e12, "peak_memory_mb": 1e12, **own})
        for b, own in zip(
            outcome.baselines,
            ({name: best[name]} for name in ("macs", "params", "peak_memory_mb", "macs")),
            strict=True,
        )
    ]
    choice = recommend(problem, outcome.front, near)
    assert choice.ratios[cost] == pytest.approx(1)
    told = [name for name in choice.ratios if not name.startswith("latency")]
    assert told[0] == cost and set(told) == {"macs", "params", "peak_memory_mb"}


def test_the_best_is_the_most_accurate_though_a_front_be_in_the_order_of_a_cost(monkeypatch):
    fakes.install(monkeypatch)
    problem = make_problem(objectives=("params", "score"))
    rated = [rate(0.1, -2.0, 2.0, bound=b) for b in (-1.0, -2.0, -3.0)]
    outcome = make_front(problem, *rated, preset=5.0)
    choice = recommend(problem, outcome.front, outcome.baselines)
    bounds = [r.evaluation.interval[0] for r in outcome.front]
    assert choice.member.evaluation.interval[0] == max(bounds) > bounds[0]


def test_the_cheapest_is_so_in_what_the_search_minimises(monkeypatch):
    fakes.install(monkeypatch)
    problem = make_problem(objectives=("score", "params"))
    outcome = make_front(problem, *[rate(1.0, -1.0, 3.0, bound=b) for b in (0.1, 0.3, 0.2)])
    choice = recommend(problem, outcome.front, outcome.baselines)
    assert choice.member.values["params"] == min(r.values["params"] for r in outcome.front)


def test_where_none_is_as_sure_the_best(problem):
    outcome = make_front(problem, rate(0.1, -2.0, 2.0), rate(0.0, -2.0, 2.0), preset=5.0)
    choice = recommend(problem, outcome.front, outcome.baselines)
    assert choice.member.name == "0" and not choice.is_as_accurate


def test_a_gain_that_is_written_as_nothing_is_not_certain():
    assert not PresetGain(0.6, 0.04, 1.1).is_certain and PresetGain(0.6, 0.06, 1.1).is_certain


def test_without_gains_the_first_and_of_nothing_none(problem):
    outcome = make_outcome(problem, make_trials(problem, sample(9)))
    choice = recommend(problem, outcome.front, outcome.baselines)
    assert choice.member.name == "0" and choice.gain is None
    assert recommend(problem, [], outcome.baselines) is None
