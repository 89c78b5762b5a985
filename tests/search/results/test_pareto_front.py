"""The front is exactly the non-dominated feasible trials; what screening promises."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from smt_nas.evaluators import Evaluation
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.screen import POPULATION, make_formula_objective, screen
from smt_nas.search.results.results import select_front
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.trial import Trial
from smt_nas.space import SearchSpace

SPACE = SearchSpace.load("smt_micro")
PROBLEM = Problem.of(SPACE, ["12MMACs"], ["score", "macs", "params"])


def rated_trials(seed, n, figures=None):
    """Random networks, some over the budget, some failed; figures with ties."""
    rng = np.random.default_rng(seed)
    genes = SPACE.sample(rng, n)
    figures = rng.integers(0, 5, n) if figures is None else figures
    failed = rng.random(n) < 0.15
    keys = [arch.key for arch in SPACE.decode(genes)]
    return [
        Trial(i, g, key, Evaluation(None, "function", failure="broke"))
        if bad
        else Trial(i, g, key, Evaluation(float(f), "function"))
        for i, (g, key, f, bad) in enumerate(zip(genes, keys, figures, failed, strict=True))
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_trial_without_a_finite_figure_is_not_on_the_front(value):
    trials = rated_trials(0, 40)
    (first, *_) = [
        t for t in trials if t.evaluation.failure is None and PROBLEM.feasible(t.genes[None])
    ]
    odd = replace(first, evaluation=Evaluation(value, "function"), number=len(trials))
    without = [t for t in trials if t is not first]
    front = [r.arch.key for r in select_front(PROBLEM, [*without, odd])]
    assert front == [r.arch.key for r in select_front(PROBLEM, without)] and front


def brute_force(trials):
    good = [t for t in trials if t.evaluation.failure is None]
    good = [t for t in good if PROBLEM.feasible(t.genes[None])[0]]
    points = {}
    for t in good:
        values = {k: v[0] for k, v in PROBLEM.costs(t.genes[None]).items()}
        points[t.key] = (-t.evaluation.value, values["macs"], values["params"])

    def dominated(p):
        return any(
            all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in points.values()
        )

    return {key for key, p in points.items() if not dominated(p)}


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 60))
def test_front_is_the_nondominated_feasible_set(seed, n):
    trials = rated_trials(seed, n)
    members = select_front(PROBLEM, trials)
    assert {m.arch.key for m in members} == brute_force(trials)
    assert [m.name for m in members] == [str(i) for i in range(len(members))]
    assert all(m.values["macs"] <= 12e6 for m in members)
    scores = [m.values["score"] for m in members]
    assert scores == sorted(scores, reverse=True)
    shuffled = [trials[i] for i in np.random.default_rng(seed).permutation(n)]
    assert [m.arch.key for m in select_front(PROBLEM, shuffled)] == [m.arch.key for m in members]


def test_front_is_optunas_best_trials(tmp_path):
    trials = rated_trials(3, 40)
    study = Study.create_file(PROBLEM, tmp_path / "study.db", "s", {"seed": 3})
    for t in trials:
        study.add(t.genes, t.evaluation)
    best = {t.user_attrs["key"] for t in study.optuna.best_trials}
    assert (
        best == {m.arch.key for m in select_front(PROBLEM, study.trials())} == brute_force(trials)
    )
    assert len(best) > 2


def test_what_optuna_is_told(tmp_path):
    """Genes by name, limits as constraints, the rest as attributes: dashboards can use it."""
    trials = rated_trials(4, 30)
    study = Study.create_file(PROBLEM, tmp_path / "study.db", "s", {"seed": 4})
    stored = [study.add(t.genes, t.evaluation) for t in trials]
    assert [(t.number, t.key, t.evaluation) for t in stored] == [
        (t.number, t.key, t.evaluation) for t in trials
    ]
    named = {g.name for g in SPACE.genes if len(g.options) > 1}
    for t, frozen in zip(trials, study.optuna.trials, strict=True):
        assert set(frozen.params) == named
        costs = {k: v[0] for k, v in PROBLEM.costs(t.genes[None]).items()}
        excess = frozen.constraints["macs <= 1.2e+07"]
        assert excess == pytest.approx(costs["macs"] / 12e6 - 1)
        assert frozen.user_attrs["costs"] == costs
        assert frozen.user_attrs["architecture"]["stages"]
        assert frozen.user_attrs["evaluation"]["provenance"] == "function"
        failed = t.evaluation.failure is not None
        assert frozen.state == (TrialState.FAIL if failed else TrialState.COMPLETE)
        if not failed:
            assert frozen.values == [t.evaluation.value, costs["macs"], costs["params"]]
    assert {t.state for t in study.optuna.trials} == {TrialState.FAIL, TrialState.COMPLETE}
    again = Study.load(PROBLEM, f"sqlite:///{tmp_path / 'study.db'}", "s", {"seed": 4}).trials()
    assert all((a.genes == b.genes).all() for a, b in zip(again, trials, strict=True))


@pytest.mark.parametrize("space", ["smt", "smt_micro"])
def test_screening_judges_many_and_returns_a_front(space):
    loaded = SearchSpace.load(space)
    median = np.median(
        Problem.of(loaded, [], ["macs"]).costs(loaded.sample(np.random.default_rng(0), 500))["macs"]
    )
    problem = Problem.of(loaded, [f"{median / 1e6:.0f}MMACs"], ["macs", "params", "activations"])
    inner, judged = make_formula_objective(problem), []

    def objective(genes, values):
        judged.append(len(genes))
        return inner(genes, values)

    found = screen(
        problem,
        objective,
        np.random.default_rng(0),
        loaded.sample(np.random.default_rng(1), 5),
        40,
    )
    assert sum(judged) >= 0.9 * 40 * POPULATION
    assert problem.feasible(found).all()
    points = problem.objective_matrix(problem.costs(found))
    worse = [(points <= p).all(axis=1) & (points < p).any(axis=1) for p in points]
    assert not np.any(worse)
