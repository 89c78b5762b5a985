"""A run within other budgets: judged again, never evaluated again; killed on the way, unchanged."""

import shutil

import numpy as np
import optuna
import pytest

from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators import Evaluation, FunctionEvaluator
from smt_nas.files import sqlite_url
from smt_nas.search import Settings, create_search, resume_search
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.setup.budget_change import change_budgets
from smt_nas.search.setup.evaluator_change import OpenedStudy
from smt_nas.search.storage.trial_queue import TrialQueue
from smt_nas.yaml import read_yaml

ASKED = {"space": "smt_micro", "strategy": "random", "verify": False, "n": 40}
ASKED |= {"objectives": ("score", "macs"), "budgets": ("20MMACs",)}


class Counting:
    def __init__(self):
        self.keys = []

    def __call__(self, arch):
        self.keys.append(arch.key)
        return float(arch.stages[2].dim * arch.stages[1].depth)


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def run(tmp_path, counting):
    evaluator = FunctionEvaluator(counting)
    create_search(Settings(**ASKED), tmp_path / "run", evaluator=evaluator).run()
    return tmp_path / "run"


def go_on(run, counting, *budgets, **more):
    return resume_search(run, budgets=budgets, evaluator=FunctionEvaluator(counting), **more)


def load(run, name):
    return optuna.load_study(study_name=name, storage=sqlite_url(run / "study.db"))


def test_what_was_tried_is_judged_again_and_nothing_is_evaluated_twice(run, counting):
    before = resume_search(run, read_only=True).outcome()
    evaluated = len(counting.keys)
    outcome = go_on(run, counting, "8MMACs").run()
    assert outcome.finished and len(outcome.trials) == 40
    assert len(counting.keys) == evaluated
    assert [(t.number, t.key, t.evaluation) for t in outcome.trials] == [
        (t.number, t.key, t.evaluation) for t in before.trials
    ]
    assert outcome.front and all(r.values["macs"] <= 8e6 for r in outcome.front)
    assert any(r.values["macs"] > 8e6 for r in before.front)
    assert resume_search(run, read_only=True).outcome().frame().equals(outcome.frame())
    assert len(go_on(run, counting, wishes=None, n=50).run().trials) == 50
    assert len(counting.keys) == len(set(counting.keys))  # the presets too


def test_run_yaml_keeps_every_budget_and_optuna_judges_by_the_last(run, counting):
    go_on(run, counting, "8MMACs").run()
    outcome = go_on(run, counting, "8MMACs", "300kparams").run()
    file = read_yaml(run / "run.yaml")
    assert file["settings"]["budgets"] == ["8MMACs", "300kparams"]
    assert file["earlier_budgets"] == [
        {"budgets": ["20MMACs"], "study": "run", "trials": 40},
        {"budgets": ["8MMACs"], "study": "run, budgets 2", "trials": 40},
    ]
    study = load(run, file["study"])
    assert {name for t in study.trials for name in t.constraints if not name.isdecimal()} == {
        "macs <= 8e+06",
        "params <= 300000",
    }
    feasible = [t for t in study.trials if all(v <= 0 for v in t.constraints.values())]
    assert {r.arch.key for r in outcome.front} <= {t.user_attrs["key"] for t in feasible}
    assert len(load(run, "run").trials) == 40  # that of before stays as it was


def test_the_same_budgets_change_nothing(run, counting):
    go_on(run, counting, "20MMACs").run()
    file = read_yaml(run / "run.yaml")
    assert file["study"] == "run" and not file.get("earlier_budgets")


@pytest.mark.parametrize("budget", ["1kMACs", "nonsense"])
def test_a_budget_that_nothing_meets_is_refused_and_nothing_changes(run, counting, budget):
    before = (run / "run.yaml").read_text()
    with pytest.raises(ConfigError) as error:
        go_on(run, counting, budget)
    assert "\n" not in str(error.value)
    assert (run / "run.yaml").read_text() == before


def test_killed_on_the_way_nothing_is_changed_and_it_can_be_said_again(run, counting, monkeypatch):
    def die(self, changed):
        raise KeyboardInterrupt

    before = resume_search(run, read_only=True).outcome().frame()
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "adopt", die)
        with pytest.raises(KeyboardInterrupt):
            go_on(run, counting, "8MMACs")
    assert resume_search(run, read_only=True).outcome().frame().equals(before)
    outcome = go_on(run, counting, "8MMACs").run()
    assert len(outcome.trials) == 40 and all(r.values["macs"] <= 8e6 for r in outcome.front)


def test_a_run_that_another_process_works_on_keeps_its_budgets(run, counting):
    with RunDirectory.open(run).lock(), pytest.raises(StoreError, match="another process"):
        go_on(run, counting, "8MMACs")
    assert read_yaml(run / "run.yaml")["settings"]["budgets"] == ["20MMACs"]


def test_what_was_evaluated_and_not_ended_when_its_process_died_stays(run, counting, monkeypatch):
    study = resume_search(run, read_only=True).study
    genes = study.problem.space.sample(np.random.default_rng(9), 1)
    study.enqueue(genes)
    [trial] = TrialQueue(study).take(lambda _: [])
    storage = study.database.storage
    with monkeypatch.context() as patch:
        patch.setattr(storage, "set_trial_state_values", None)  # dies before the last step
        with pytest.raises(StoreError):
            study.finish(trial, Evaluation(7.0, "function"))
    search = go_on(run, counting, "8MMACs")
    assert len(search.study.trials()) == 41
    assert search.study.trials()[40].evaluation.value == 7.0


def test_budgets_that_another_process_changed_meanwhile_are_not_lost(run, counting):
    stale = RunDirectory.open(run)
    changed = go_on(run, counting, "8MMACs")
    problem, opened = changed.problem, OpenedStudy(changed.study)
    with pytest.raises(
        StoreError, match=r"was given other budgets by another process \(got 8MMACs"
    ):
        change_budgets(stale, problem, opened, ["5MMACs"])
    assert len(changed.study.trials()) == 40


def test_who_follows_with_a_folder_of_its_own_goes_on_in_the_same_study(run, counting, tmp_path):
    settings = resume_search(run, read_only=True).directory.settings
    shared = sqlite_url(run / "study.db")
    own = shutil.copytree(run, tmp_path / "own")
    text = (own / "run.yaml").read_text()
    assert settings.storage is None and "storage: null" in text
    (own / "run.yaml").write_text(text.replace("storage: null", f"storage: {shared}"))
    go_on(run, counting, "8MMACs", n=42).run()
    evaluated = len(counting.keys)
    assert len(go_on(own, counting, "8MMACs", n=42).run().trials) == 42
    assert len(counting.keys) == evaluated
