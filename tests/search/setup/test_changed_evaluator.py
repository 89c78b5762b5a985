"""A resumed search is held to its evaluator: refused where that has changed, or evaluated anew."""

import csv
import json
import shutil
import sys
from pathlib import Path

import optuna
import pytest
import yaml

from smt_nas.errors import StoreError
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.report.search.front import as_document
from smt_nas.search import Settings, create_search, resume_search
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.storage.study_notes import StudyNotes
from smt_nas.space.baselines import baselines
from tests.fakes.benches import rows, written
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import invoke

pytestmark = pytest.mark.usefixtures("short_screening")
SETTINGS = {
    "space": "smt_micro",
    "budgets": ("10MMACs",),
    "objectives": ("score", "macs", "params"),
    "verify": False,
}
N = 34  # more than a round


class Stop(BaseException):
    """Stands for SIGKILL."""


def depths(arch):
    return float(sum(s.depth for s in arch.stages))


def widths(arch):
    return {"score": -float(sum(s.dim for s in arch.stages)), "first": float(arch.stages[0].dim)}


def evaluator(function, version, fail_at=None):
    calls = []

    def evaluate(arch):
        calls.append(arch)
        if len(calls) == fail_at:
            raise Stop
        return function(arch)

    return FunctionEvaluator(evaluate, version=version)


def run(path, function=depths, version="1", n=N):
    search = create_search(Settings(**SETTINGS, n=n), path, evaluator=evaluator(function, version))
    return search.run()


def go_on(path, function=widths, version="2", fail_at=None, **more):
    own = evaluator(function, version, fail_at)
    return resume_search(path, evaluator=own, accept_changed_evaluator=True, **more).run()


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A run by the first evaluator; tests change copies of it."""
    path = tmp_path_factory.mktemp("ran") / "run"
    run(path)
    return path


@pytest.fixture(scope="module")
def changed(ran, tmp_path_factory):
    """The same by the second."""
    path = tmp_path_factory.mktemp("changed") / "run"
    shutil.copytree(ran, path)
    go_on(path)
    return path


@pytest.fixture
def copy(ran, tmp_path):
    """A copy of `ran`, to be changed."""
    return shutil.copytree(ran, tmp_path / "run")


def front(path):
    with (path / "front.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_refused_in_one_line_with_the_way_out(tmp_path):
    run(tmp_path / "run", n=4)
    with pytest.raises(StoreError) as caught:
        resume_search(tmp_path / "run", evaluator=evaluator(widths, "2"))
    text = str(caught.value)
    assert "evaluator function has changed since (fingerprint " in text and "\n" not in text
    assert text.endswith(f"smt-nas resume {tmp_path / 'run'} --accept-changed-evaluator.")
    assert len(resume_search(tmp_path / "run", read_only=True).outcome().trials) == 4


def test_accepted_all_is_as_if_the_new_one_had_been_asked_of_the_same_networks(copy):
    before = resume_search(copy, read_only=True).outcome()
    after = go_on(copy)
    assert after.finished and [t.key for t in after.trials] == [t.key for t in before.trials]
    archs = after.problem.space.decode([t.genes for t in after.trials])
    assert [t.evaluation.value for t in after.trials] == [widths(a)["score"] for a in archs]
    assert all(r.evaluation.components["first"] == r.arch.stages[0].dim for r in after.front)
    assert all("score" in b.values and b.values["score"] < 0 for b in after.baselines)
    again = resume_search(copy, evaluator=evaluator(widths, "2"))  # no complaint
    assert as_document(again.outcome()) == as_document(after)


def test_more_networks_are_proposed_by_the_new_one_alone(tmp_path):
    run(tmp_path / "run", n=32)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    go_on(tmp_path / "run", n=40)
    go_on(tmp_path / "copy")  # in two steps
    resume_search(tmp_path / "copy", n=40, evaluator=evaluator(widths, "2")).run()
    assert front(tmp_path / "run") == front(tmp_path / "copy")
    resumed = resume_search(tmp_path / "run", read_only=True).outcome()
    assert len(resumed.trials) == 40 and len({t.key for t in resumed.trials}) == 40


@pytest.mark.parametrize("fail_at", [1, 7, 33])
def test_killed_amid_it_goes_on_to_the_same(copy, changed, fail_at):
    with pytest.raises(Stop):
        go_on(copy, fail_at=fail_at)
    halfway = resume_search(copy, read_only=True).outcome()
    assert not halfway.finished and len(halfway.trials) == fail_at - 1
    own = evaluator(widths, "2")
    outcome = resume_search(copy, evaluator=own).run()  # accepted already
    assert outcome.finished and front(copy) == front(changed)


def die_in(monkeypatch, owner, method, path):
    """A run of four networks whose new evaluator is accepted by a process that dies in a method."""
    run(path, n=4)

    def die(*arguments):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, die)
        with pytest.raises(Stop):
            go_on(path)


def test_killed_before_run_yaml_names_the_new_study(tmp_path, monkeypatch):
    die_in(monkeypatch, RunDirectory, "adopt_evaluator", tmp_path / "run")
    assert len(resume_search(tmp_path / "run", read_only=True).outcome().trials) == 4
    assert go_on(tmp_path / "run").finished


def test_killed_before_the_new_study_says_what_it_depends_on(tmp_path, monkeypatch):
    die_in(monkeypatch, StudyNotes, "write_identity", tmp_path / "run")
    assert go_on(tmp_path / "run").finished


def test_changed_again_amid_a_change_every_network_is_evaluated_by_the_last(copy):
    before = resume_search(copy, read_only=True).outcome()
    with pytest.raises(Stop):
        go_on(copy, fail_at=7)
    after = go_on(copy, depths, "3")
    assert [t.key for t in after.trials] == [t.key for t in before.trials]
    assert [t.evaluation.value for t in after.trials] == [t.evaluation.value for t in before.trials]


def test_the_study_of_optuna_that_counts_holds_the_new_figures_alone(tmp_path):
    run(tmp_path / "run", n=8)
    go_on(tmp_path / "run")
    name = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())["study"]
    study = optuna.load_study(study_name=name, storage=f"sqlite:///{tmp_path / 'run' / 'study.db'}")
    assert [t.number for t in study.trials] == list(range(8))
    assert all(t.values[0] < 0 for t in study.trials)


def test_what_was_verified_stays_so(tmp_path):
    settings = {**SETTINGS, "verify": True, "device": "a100"}
    own = evaluator(depths, "1")
    create_search(Settings(**settings, n=1), tmp_path / "run", evaluator=own).run()
    search = resume_search(
        tmp_path / "run", evaluator=evaluator(widths, "2"), accept_changed_evaluator=True
    )
    notes = search.study.read_notes()
    presets = baselines(search.problem.space)
    assert all(notes.read_verification(arch.key, ()) for arch in presets.values())
    assert not any(notes.read_baseline(name) for name in presets) and not notes.exhausted


@pytest.fixture
def module(tmp_path, monkeypatch):
    """`own` in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("def fn(arch):\n    return float(arch.stages[2].depth)\n")
    yield
    sys.modules.pop("own", None)


WORDS = ["--space", "smt_micro", "--budget", "20MMACs", "--no-verify", "--workers", 1]
WORDS += ["--objective", "score", "--objective", "macs"]


def test_an_edited_function_from_the_command_line(module):
    invoke("search", *WORDS, "--evaluator", "own:fn", "--n", 4, "--out", "run")
    Path("own.py").write_text("def fn(arch):\n    return -float(arch.stages[2].depth)\n")
    del sys.modules["own"]
    result = invoke("resume", "run", "--workers", 1, code=1)
    assert "evaluator own:fn has changed since" in result.stderr
    assert result.stderr.count("\n") == 1
    words = ["resume", "run", "--workers", 1, "--accept-changed-evaluator", "--json"]
    document = json.loads(invoke(*words).stdout)
    assert document["trials"] == 4 and all(r["values"]["score"] < 0 for r in document["front"])


def test_a_bench_of_ones_own_that_grew(tmp_path):
    table = written(tmp_path / "mine", rows(40))
    words = [*WORDS, "--bench", tmp_path / "mine", "--n", 6, "--out", tmp_path / "run"]
    document = json.loads(invoke("search", *words, "--json").stdout)
    assert "bench " in document["evidence"] and ", 40 networks" in document["evidence"]
    assert document["settings"]["evaluator"] == "predictor"
    more = invoke("resume", tmp_path / "run", "--n", 8, "--workers", 1, "--json")
    assert json.loads(more.stdout)["trials"] == 8
    table.unlink()
    table.with_suffix(".yaml").unlink()
    written(tmp_path / "mine", rows(44))
    result = invoke("resume", tmp_path / "run", "--n", 9, "--workers", 1, code=1)
    assert "evaluator predictor has changed since" in result.stderr


def test_a_bench_of_another_input_is_refused_before_anything_is_written(tmp_path):
    written(tmp_path / "mine", rows(40))
    words = ["--space", "smt", "--bench", tmp_path / "mine", "--out", tmp_path / "run"]
    result = invoke("search", *words, code=1)
    assert "must be of the input of space smt, image_size 224 (got 32)" in result.stderr
    assert not (tmp_path / "run").exists()


class TestRunsOfBefore:
    """Without a fingerprint, and with what candidates are trained for beside the evaluator."""

    @pytest.fixture
    def old(self, tmp_path):
        path = tmp_path / "run"
        invoke("search", *WORDS, "--evaluator", "zero-cost", "--n", 2, "--out", path)
        values = yaml.safe_load((path / "run.yaml").read_text())
        del values["evaluator_fingerprint"]
        values["evidence"] = "zero-cost: a sentence of before."
        values["settings"] |= {"evaluator": "zero-cost", "training": None}
        (path / "run.yaml").write_text(yaml.safe_dump(values))
        study = optuna.load_study(study_name="run", storage=f"sqlite:///{path / 'study.db'}")
        identity = dict(study.user_attrs["search"])
        del identity["fingerprint"]
        study.set_user_attr("search", identity)
        return path

    def test_it_is_read_and_resumed_without_a_complaint_and_held_to_that_from_then_on(self, old):
        assert "a sentence of before." in invoke("front", old).stdout
        assert "fingerprint" not in (old / "run.yaml").read_text()  # reading writes nothing
        invoke("resume", old, "--n", 3, "--workers", 1)
        values = yaml.safe_load((old / "run.yaml").read_text())
        assert len(values["evaluator_fingerprint"]) == 12
        assert values["evidence"] == "zero-cost: a sentence of before."

    def test_a_changed_one_is_then_told(self, old, monkeypatch):
        from smt_nas.evaluators.zero_cost import ZeroCostEvaluator

        invoke("resume", old, "--n", 3, "--workers", 1)
        monkeypatch.setattr(ZeroCostEvaluator, "fingerprint", "0" * 12)
        assert "now 000000000000)" in invoke("resume", old, code=1).stderr


def test_one_that_was_handed_in_must_be_handed_in_again(tmp_path):
    run(tmp_path / "run", n=2)
    with pytest.raises(StoreError, match="evaluator function was handed in by a program"):
        resume_search(tmp_path / "run")
    values = yaml.safe_load((tmp_path / "run" / "run.yaml").read_text())
    assert values["settings"]["evaluator"] == {"name": "function", "handed_in": True}


@pytest.mark.parametrize(
    ("evaluator", "training", "expected"),
    [
        ("joint", None, ("joint", {})),
        ("own.mod:fn", None, ("own.mod:fn", {"target": "own.mod:fn"})),
        (
            "short-train",
            {"data": "digits", "seed": 3},
            ("short-train", {"data": "digits", "seed": 3}),
        ),
        ("oracle", None, ("oracle", {})),
    ],
)
def test_settings_of_before_are_read(evaluator, training, expected):
    choice = Settings.model_validate({"evaluator": evaluator, "training": training}).evaluator
    assert (choice.word, choice.given) == expected
    assert choice.handed_in == (evaluator == "oracle")
