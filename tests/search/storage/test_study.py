"""Trials in an Optuna study: stored whole, read back the same."""

import json
from wsgiref.util import setup_testing_defaults

import pytest
from optuna.trial import TrialState

from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators import Evaluation
from smt_nas.files import sqlite_url
from smt_nas.search.storage.database import check_url, hide_password
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.trial import make_history
from tests.fakes import devices as fakes
from tests.fakes.searches import make_problem, make_trials, sample

EVALUATIONS = [
    Evaluation(0.5, "predicted", interval=(0.4, 0.7), components={"topology": 0.1}, seconds=2.0),
    Evaluation(None, "function", failure="broke"),
    Evaluation(None, "trained", failure="stopped at epoch 1", stopped=True),
]


@pytest.fixture
def problem(monkeypatch):
    fakes.install(monkeypatch)
    return make_problem("12MMACs", objectives=("score", "latency"))


@pytest.fixture
def study(problem, tmp_path):
    return Study.create_file(problem, tmp_path / "study.db", "s", {"seed": 1})


def test_trials_are_read_back_as_they_were_added(study, problem, tmp_path):
    added = [study.add(g, e) for g, e in zip(sample(3), EVALUATIONS, strict=True)]
    again = Study.load(problem, sqlite_url(tmp_path / "study.db"), "s", {"seed": 1}).trials()
    for a, b, expected in zip(added, again, make_trials(problem, sample(3)), strict=True):
        assert (a.number, a.key, a.evaluation) == (b.number, b.key, b.evaluation)
        assert (a.genes == b.genes).all() and a.key == expected.key
        assert a.predictions == b.predictions == expected.predictions
    assert [t.evaluation for t in again] == EVALUATIONS


def test_optuna_knows_states_values_and_constraints(study):
    for genes, evaluation in zip(sample(3), EVALUATIONS, strict=True):
        study.add(genes, evaluation)
    frozen = study.optuna.trials
    assert [t.state for t in frozen] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.PRUNED]
    costs, predictions = (frozen[0].user_attrs[k] for k in ("costs", "predictions"))
    assert frozen[0].values == [0.5, predictions["latency_ms"][0]]
    violation = frozen[0].constraints["macs <= 1.2e+07"]
    assert violation == pytest.approx(costs["macs"] / 12e6 - 1)
    assert study.optuna.metric_names == ["score", "latency_ms"]


def test_an_objective_that_is_a_lower_bound_is_named_so(study):
    study.add(sample(1)[0], Evaluation(0.5, "predicted", (0.2, 0.7), by_lower_bound=True))
    assert study.optuna.metric_names == ["score_low", "latency_ms"]
    assert study.optuna.trials[0].values[0] == 0.2


def get(app, path):
    """What an app of the web answers in this process, as JSON; no socket is opened."""
    environ, begun = {"PATH_INFO": path}, []
    setup_testing_defaults(environ)
    body = b"".join(app(environ, lambda status, *_: begun.append(status)))
    assert begun == ["200 OK"]
    return json.loads(body)


def test_the_dashboard_and_optuna_agree_on_what_is_feasible(problem, tmp_path):
    dashboard = pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    study = Study.create_file(problem, tmp_path / "study.db", "s", {})
    for genes in sample(12):
        study.add(genes, EVALUATIONS[0])
    app = dashboard.wsgi(sqlite_url(tmp_path / "study.db"))
    (summary,) = get(app, "/api/studies")["study_summaries"]
    trials = get(app, f"/api/studies/{summary['study_id']}")["trials"]
    macs = [problem.costs(genes[None])["macs"][0] for genes in sample(12)]
    feasible = [m <= 12e6 for m in macs]
    assert len(set(feasible)) == 2
    assert [len(t["constraints"]) for t in trials] == [1] * 12
    assert [all(c <= 0 for c in t["constraints"]) for t in trials] == feasible
    stored = study.optuna.trials
    assert [all(c <= 0 for c in t.constraints.values()) for t in stored] == feasible


def test_a_history_is_genes_and_values_in_order(study, problem):
    assert make_history(problem, []).genes.shape == (0, len(problem.space.genes))
    trials = [study.add(g, e) for g, e in zip(sample(3), EVALUATIONS, strict=True)]
    history = make_history(problem, trials)
    assert (history.genes == sample(3)).all() and list(history.figures) == [0.5, None, None]


def test_a_study_of_another_search_is_refused(study, problem, tmp_path):
    url = sqlite_url(tmp_path / "study.db")
    with pytest.raises(StoreError, match=r"belongs to a search with seed 1 \(got 2\)"):
        Study.load(problem, url, "s", {"seed": 2})
    with pytest.raises(StoreError, match="is not there"):
        Study.load(problem, url, "other", {})
    with pytest.raises(StoreError, match="exists already"):
        Study.create(problem, url, "s", {})
    assert Study.exists(url, "s") and not Study.exists(url, "other")


def test_notes_are_kept_in_the_study(study, problem, tmp_path):
    notes = study.read_notes()
    assert notes.identity == {"seed": 1} and not notes.exhausted
    notes.write_exhausted()
    again = Study.load(problem, sqlite_url(tmp_path / "study.db"), "s", {"seed": 1})
    assert again.read_notes().exhausted


def test_a_storage_is_a_url_whose_password_is_not_shown():
    with pytest.raises(ConfigError, match="must be the URL of a database") as caught:
        check_url("user:secret")
    assert "secret" not in str(caught.value)
    check_url("postgresql://me:secret@host/db")
    shown = hide_password("postgresql://me:secret@host/db?sslpassword=hush")
    assert "secret" not in shown and "hush" not in shown and "me:***@host" in shown


def test_an_unquoted_password_is_refused_and_not_shown():
    for url in ("postgresql://me:se@cret@host/db", "postgresql://me:p@se/cret@host/db"):
        with pytest.raises(ConfigError, match="special characters of the password") as caught:
            check_url(url)
        assert "cret" not in str(caught.value)
    check_url("postgresql://me:se%40cret@host/db")
    check_url("sqlite:////home/me@work/study.db")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:"])
def test_a_storage_in_memory_is_refused(url):
    with pytest.raises(ConfigError, match="cannot go on"):
        check_url(url)
