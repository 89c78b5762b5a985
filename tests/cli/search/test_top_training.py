"""`search … --train-top K`: from the space to trained networks, in one command and resumable."""

import json

import pytest

from smt_nas.cli.search import top_training
from smt_nas.train import front_training
from smt_nas.yaml import read_yaml
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import invoke
from tests.fakes.trainings import Killed, result

pytestmark = pytest.mark.usefixtures("short_screening")

SEARCH = ["search", "--space", "smt_micro", "--budget", "20MMACs", "--no-verify", "--workers", "1"]
SEARCH += ["--device", "epyc_zen3_2cpu", "--evaluator", "capacity", "--n", "6"]


class Trainings:
    """Stands for `start_training`: keeps what is trained, and may be killed at one of them."""

    def __init__(self):
        self.requests, self.kill_at = [], None

    def __call__(self, request, options, place, resume, group, listener, arch):
        self.requests.append((request.name, request.data, request.recipe, place.name))
        if len(self.requests) == self.kill_at:
            raise Killed
        place.mkdir(parents=True, exist_ok=True)
        return result(run=place, arch=arch, history=())


@pytest.fixture
def trainings(monkeypatch):
    fake = Trainings()
    monkeypatch.setattr(front_training, "start_training", fake)
    monkeypatch.setattr(
        front_training, "read_config", lambda run: type("Config", (), {"recipe_name": "small"})
    )
    return fake


def test_the_mission_ends_with_the_trained_comparison(trainings, tmp_path):
    run = tmp_path / "run"
    shown = invoke(*SEARCH, "--train-top", 2, "--data", "digits", "--out", run)
    assert "Front of" in shown.stdout
    table = shown.stdout[shown.stdout.index("Trained on digits by recipe small, seeds 0") :]
    assert "smt_t scaled to" in table and "91.23" in table
    assert "6 train networks" not in shown.stdout
    names = [name for name, *_ in trainings.requests]
    assert len(names) == len(set(names)) >= 3
    assert {data for _, data, *_ in trainings.requests} == {"digits"}
    assert all(folder == f"{name}-seed0" for name, _, _, folder in trainings.requests)
    settings = read_yaml(run / "run.yaml")["settings"]
    assert settings["train_top"] == {"top": 2, "data": "digits", "recipe": None}
    assert settings["evaluator"] == "capacity"  # --data is of the training alone
    document = json.loads((run / "trained" / "comparison.json").read_text())
    assert [n["baseline"] for n in document["networks"]][:3] == [False, False, True]


def test_killed_while_it_trains_it_goes_on_by_resume(trainings, tmp_path):
    run, trainings.kill_at = tmp_path / "run", 2
    with pytest.raises(Killed):
        from typer.testing import CliRunner

        from smt_nas.cli.app import app

        words = [*SEARCH, "--train-top", "1", "--data", "digits", "--out", str(run)]
        CliRunner().invoke(app, words, catch_exceptions=False)
    trainings.kill_at = None
    first = list(trainings.requests)
    document = json.loads(invoke("resume", run, "--workers", 1, "--json").stdout)
    assert trainings.requests[len(first) :] == first
    assert document["trials"] == 6 and document["trained"]["kind"] == "comparison"


@pytest.mark.parametrize(
    ("words", "told", "code"),
    [
        (["--train-top", 1], "--train-top: needs --data, to train on (got none)", 1),
        (["--train-top", 0, "--data", "digits"], "--train-top", 2),
        (["--train-top", "some", "--data", "digits"], "--train-top", 2),
        (["--train-top", 10**8, "--data", "digits"], "--train-top: top must be less than", 1),
        (["--train-top", 1, "--data", "nowhere"], "nowhere", 1),
        (["--train-top", 1, "--data", "digits", "--recipe", "smal"], "smal", 1),
        (["--minutes", "0"], "--minutes: must be more than 0 (got 0)", 1),
        (["--minutes", "soon"], "--minutes", 2),
        (["--until", "hv"], "--until: must be hv-stall:R", 1),
        (["--workers", "0"], "--workers", 2),
        (["--n", "-5"], "search: n must be", 1),
        (["--objective", "energy_mj"], "energy_mj", 1),
        (["--objective", "val_top1", "--objective", "macs"], "evaluator capacity rates score", 1),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(words, told, code, tmp_path):
    refused = invoke(*SEARCH, *words, "--out", tmp_path / "run", code=code)
    assert told in refused.stderr and "Traceback" not in refused.stderr and not refused.stdout
    assert code == 2 or refused.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_the_wish_names_what_it_needs():
    assert top_training.read_wish(None, "digits", None) is None
    wish = top_training.read_wish(2, "digits", "small")
    assert (wish.top, wish.data, wish.recipe) == (2, "digits", "small")


def test_nothing_is_trained_after_an_interruption(tmp_path):
    from tests.fakes.searches import make_outcome, make_problem

    outcome = make_outcome(make_problem(), interrupted=True)
    assert top_training.run_top_training(outcome) is None
