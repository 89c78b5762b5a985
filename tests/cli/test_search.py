"""`search` and `resume`: what is said, and when; what run.yaml keeps."""

import json
import shutil
from pathlib import Path

import optuna
import pytest
from pandas import read_csv

from smt_nas.files import sqlite_url
from smt_nas.yaml import read_yaml
from tests.fakes.screening import short_screening  # noqa: F401
from tests.fakes.terminal import invoke

pytestmark = pytest.mark.usefixtures("short_screening")

SEARCH = ["search", "--space", "smt_micro", "--budget", "20MMACs", "--no-verify", "--workers", "1"]
SEARCH += ["--device", "epyc_zen3_2cpu", "--strategy", "random", "--evaluator", "capacity"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    invoke(*SEARCH, "--n", 6, "--out", path)
    return path


@pytest.fixture
def run(searched, tmp_path):
    """A finished search of six networks, to be gone on with."""
    return Path(shutil.copytree(searched, tmp_path / "run"))


def read_n(run):
    return read_yaml(run / "run.yaml")["settings"]["n"]


def count(run):
    study = optuna.load_study(study_name="run", storage=sqlite_url(run / "study.db"))
    return len(study.trials)


def test_the_same_command_again_goes_on_with_its_run(run):
    for n, tried in ((4, 6), (8, 8)):
        again = invoke(*SEARCH, "--n", n, "--out", run)
        assert again.stderr.startswith(f"{run}: holds this very search already. Going on with it.")
        assert "Space smt_micro" not in again.stderr and "Front of" in again.stdout
        assert count(run) == read_n(run) == tried


@pytest.mark.parametrize(
    ("words", "told"),
    [(["--seed", 1], "holds a search with seed 0"), (["--budget", "1Mparams"], "with budgets")],
)
def test_another_search_there_is_refused_before_anything_else_is_said(run, words, told):
    refused = invoke(*SEARCH, *words, "--n", 6, "--out", run, code=1)
    assert refused.stderr.count("\n") == 1 and told in refused.stderr and not refused.stdout


def test_a_folder_of_something_else_is_refused_before_anything_else_is_said(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    refused = invoke(*SEARCH, "--n", 6, "--out", tmp_path, code=1)
    assert refused.stderr.count("\n") == 1 and "must be empty or new" in refused.stderr


@pytest.mark.parametrize("n", [None, 4])
def test_resume_says_that_all_is_tried(run, n):
    resumed = invoke("resume", run, *([] if n is None else ["--n", n]), "--workers", 1)
    assert "Tried already: 6 of 6 networks. They stay, and none is added: " in resumed.stderr
    assert count(run) == read_n(run) == 6 and "Front of" in resumed.stdout


def test_resume_keeps_how_many_networks_it_is_to_try(run):
    resumed = invoke("resume", run, "--n", 9, "--workers", 1)
    assert "Tried already: 6 of 9 networks." in resumed.stderr
    assert count(run) == read_n(run) == 9


@pytest.mark.parametrize("word", ["top1", "Accuracy"])
def test_an_accuracy_may_be_asked_for_by_the_words_people_use(word, tmp_path):
    words = ["search", "--budget", "2.4GFLOPs", *SEARCH[5:], "--n", 2]
    invoke(*words, "--objective", word, "--objective", "flops", "--out", tmp_path / "run")
    assert read_yaml(tmp_path / "run" / "run.yaml")["settings"]["objectives"] == [
        "top1_pct",
        "macs",
    ]


def test_an_accuracy_is_not_taken_for_a_score(tmp_path):
    words = [*SEARCH[:-1], "zero-cost", "--n", 2, "--objective", "top1", "--out", tmp_path / "run"]
    refused = invoke(*words, code=1).stderr
    assert "--objective top1_pct: evaluator zero-cost rates score." in refused


@pytest.mark.parametrize("word", ["top1", "top1_pct"])
def test_a_top1_of_other_images_is_refused_with_the_reason(word, tmp_path):
    words = [*SEARCH, "--n", 2, "--objective", word, "--out", tmp_path / "run"]
    refused = invoke(*words, code=1).stderr
    assert (
        "capacity rates score at 32 px, 10 classes and 3 channels, where ImageNet's top-1"
        in refused
    )


def percentages(run):
    """Where a run of other images than ImageNet's tells a top-1: nowhere."""
    texts = [invoke("front", run).stdout, invoke("front", run, "--json").stdout]
    texts += [(run / name).read_text() for name in ("front.csv", "run.yaml")]
    return [t for t in texts if "top-1 %" in t or "top1_pct" in t]


@pytest.mark.parametrize("evaluator", ["capacity", "joint"])
def test_no_percentage_is_told_of_other_images(evaluator, tmp_path):
    run = tmp_path / "run"
    invoke(*SEARCH[:-1], evaluator, "--n", 4, "--out", run)
    assert percentages(run) == []
    table = invoke("front", run).stdout
    heading = [[w.strip() for w in line.split("┃")] for line in table.splitlines() if "┃" in line]
    columns = list(zip(*heading, strict=True))
    assert any([w for w in c if w] == ["score", evaluator, "predicted"] for c in columns)
    rows = json.loads(invoke("front", run, "--json").stdout)
    assert {r["provenance"]["score"] for r in rows["baselines"]} == {"predicted"}
    assert all(abs(r["values"]["score"]) < 30 and not r["published"] for r in rows["baselines"])


def test_the_presets_published_accuracy_stands_beside_the_estimate(tmp_path):
    words = ["search", "--budget", "2.4GFLOPs", *SEARCH[5:], "--n", 2, "--out", tmp_path / "run"]
    shown = invoke(*words).stdout
    assert "top-1 %" in shown and "published" in shown and "Published: top-1 of" in shown
    assert [line.rsplit("│", 2)[1].strip() for line in shown.splitlines() if "smt_t " in line[:6]]
    rows = json.loads(invoke("front", tmp_path / "run", "--json").stdout)
    assert [r["published"] for r in rows["baselines"]] == [
        {"top1_pct": value} for value in (82.2, 83.7, 84.3, 84.6)
    ]
    assert not any(r["published"] for r in rows["front"])
    table = read_csv(tmp_path / "run" / "front.csv").set_index("name")
    assert table["top1_pct_published"]["smt_t"] == 82.2


def test_a_front_counts_its_own_members(run):
    document = json.loads(invoke("front", run, "--json").stdout)
    n = len(document["front"])
    assert invoke("front", run).stdout.startswith(
        f"Front of {n} networks, of 6 tried in space smt_micro, at most 20 MMACs"
    )
