"""`train` as a user types it."""

import json

import pytest

from smt_nas.cli.training import training_process
from smt_nas.errors import ConfigError
from tests.fakes.terminal import invoke


@pytest.mark.slow
def test_the_first_command_of_the_readme_trains_well(tmp_path, monkeypatch):
    """At least 90 % on the digits' test split, after a third of the recipe's epochs already."""
    monkeypatch.chdir(tmp_path)
    invoke("train", "smt_micro", "--data", "digits", "--epochs", "4")
    told = json.loads(invoke("eval", "runs/train-smt_micro-digits", "--json").stdout)
    assert told["split"] == "test"
    assert told["score"]["top1"] >= 0.9


def test_a_dry_run_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = json.loads(invoke("train", "smt_t", "--data", "digits", "--dry-run", "--json").stdout)
    assert told["images_an_update"] == told["batch"] and told["updates"] > 200
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "fast"), [((), None), (("--fast",), True), (("--no-fast",), False)]
)
def test_the_fast_path_is_asked_for_or_not_or_left_open(monkeypatch, words, fast):
    asked = []

    def stop(request, options, group):
        asked.append(options.fast)
        raise ConfigError("train: stop here.")

    monkeypatch.setattr("smt_nas.train.dry_run.dry_run", stop)
    invoke("train", "smt_micro", "--data", "digits", "--dry-run", *words, code=1)
    assert asked == [fast]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("smt_micro",), "--data must be named"),
        ((), "ARCH must be named"),
        (("smt_mikro", "--data", "digits"), "No preset named 'smt_mikro'"),
        (("smt_micro", "--data", "nowhere/at/all"), "nowhere/at/all"),
        (("smt_micro", "--data", "digits", "--epochs", "0"), "epochs must be"),
        (("smt_micro", "--data", "digits", "--set", "optimizer.lr=nan"), "finite"),
        (("smt_micro", "--data", "digits", "--set", "optimizer.name=adamv"), "Did you mean"),
        (("smt_micro", "--data", "digits", "--resume", "yes"), "--resume"),
        (("smt_micro", "--data", "digits", "--keep", "0"), "keep must be"),
        (("--out", "nowhere", "--resume", "auto"), "holds no training"),
        (("runs/none", "--top", "2", "--data", "digits"), "front must have 2 networks"),
    ],
)
def test_bad_words_are_one_line_and_leave_nothing(tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    result = invoke("train", *words, code=1)
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert told in line
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("smt_micro", "--data", "digits", "--seeds", "3"), "--seeds: is for --top"),
        (("RUN", "--top", "2", "--data", "digits", "--dry-run"), "--dry-run: shows one training"),
        (("--out", "RUN", "--resume", "auto", "--epochs", "9"), "--epochs: a training goes on"),
        (("--out", "RUN", "--resume", "auto", "--set", "epochs=9"), "--set: a training goes on"),
        (("--out", "RUN", "--resume", "auto", "--data", "digits"), "train: ARCH must be named"),
        (("--out", "RUN", "--resume", "on"), "--resume: must be auto or never"),
        (("--out", "RUN", "--resume", "auto", "--keep", "3"), "RUN: holds no training"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, monkeypatch, words, told):
    monkeypatch.chdir(tmp_path)
    result = invoke("train", *words, code=1)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert told in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("device", "kept"), [("cpu", [True]), ("cuda:7", [])])
def test_a_command_keeps_the_memory_that_its_trainings_free_on_a_cpu(monkeypatch, device, kept):
    calls = []

    def stop(request, options, group):
        raise ConfigError("train: stop here.")

    monkeypatch.setattr("smt_nas.train.dry_run.dry_run", stop)
    monkeypatch.setattr(training_process, "keep_freed_memory", lambda: calls.append(True))
    words = ("smt_micro", "--data", "digits", "--dry-run", "--device", device)
    invoke("train", *words, code=1)
    assert calls == kept
