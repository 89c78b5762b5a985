"""The registry: a row is all it takes to add an evaluator; what users write becomes a choice."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from smt_nas.errors import ConfigError, UnknownName
from smt_nas.evaluators import (
    EVALUATORS,
    EvaluatorChoice,
    choose_evaluator,
    evaluator_fingerprint,
    make_evaluator,
)
from smt_nas.search import Settings

ROOT = Path(__file__).resolve().parents[2]
TOY = """
import sys
from pydantic import Field
from smt_nas.evaluators import EVALUATORS, EvaluatorEntry, Evaluation
from smt_nas.evaluators.configs import EvaluatorConfig
from smt_nas.evaluators.evidence import UnknownEvidence
from smt_nas.metrics import METRICS

class Told(EvaluatorConfig):
    epochs: int = 3
    seed: int = 0

class Toy:
    name = "toy"
    objective = METRICS["score"]
    fingerprint = "0123456789ab"
    evidence = UnknownEvidence(evaluator="toy", description="a sum of depths")

    def __init__(self, config):
        self.factor = 1 if config is None else config.epochs

    def evaluate(self, archs):
        depths = [float(self.factor * sum(s.depth for s in a.stages)) for a in archs]
        return [Evaluation(d, "proxy", components={"half": d / 2}) for d in depths]

EVALUATORS["toy"] = EvaluatorEntry(Toy, config=Told, default_n=5, help="a toy")
from smt_nas.cli import main
main()
"""
SEARCH = ["search", "--space", "smt_micro", "--budget", "20MMACs", "--no-verify", "--workers", 1]


def toy(*words, code=0):
    """A command where EVALUATORS has one row more."""
    done = subprocess.run(
        [sys.executable, "-c", TOY, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "TERM": "dumb"},
    )
    assert done.returncode == code, done.stderr
    return done


def test_a_row_is_all_that_a_new_evaluator_needs(tmp_path):
    run = tmp_path / "run"
    words = ["--evaluator", "toy", "--epochs", 2, "--objective", "score", "--objective", "macs"]
    document = json.loads(toy(*SEARCH, *words, "--out", run, "--json").stdout)
    assert document["trials"] == 5
    assert document["evidence"].startswith("toy: a sum of depths; nothing is known of how well")
    first = document["front"][0]
    assert first["details"] == {"half": first["values"]["score"] / 2}
    assert first["provenance"]["score"] == "proxy"
    resumed = json.loads(toy("resume", run, "--n", 7, "--workers", 1, "--json").stdout)
    assert resumed["trials"] == 7 and resumed["settings"]["evaluator"] == "toy"


@pytest.mark.slow
def test_help_and_validate_know_it_too():
    assert "supernet:RUN, toy, or your own function" in " ".join(
        toy("search", "--help").stdout.split()
    )
    assert "supernet:RUN, toy, or your own function" in " ".join(
        toy("validate", "--help").stdout.split()
    )
    document = json.loads(toy("validate", "toy", "--json", "--workers", 1).stdout)
    assert document["rows"][0]["name"] == "toy" and not document["rows"][0]["held_out"]
    said = toy(*SEARCH, "--evaluator", "toy", "--data", "digits", code=1).stderr
    assert "--data: is for evaluator short-train (got toy). Drop one." in said


@pytest.mark.parametrize(
    ("word", "options", "name", "said"),
    [
        (None, {}, "joint", {}),
        (None, {"data": None}, "joint", {}),
        (
            None,
            {"data": "digits", "epochs": 2},
            "short-train",
            {"data": "digits", "epochs": 2, "seed": 7},
        ),
        (None, {"bench": "runs/mine"}, "predictor", {"bench": "runs/mine"}),
        ("predictor", {}, "predictor", {}),
        ("zero-cost", {}, "zero-cost", {}),
        ("own.mod:fn", {}, "function", {"target": "own.mod:fn"}),
    ],
)
def test_what_users_write(word, options, name, said):
    choice = choose_evaluator(word, options, seed=7)
    assert (choice.name, choice.given) == (name, said)
    assert EvaluatorChoice.model_validate(choice.model_dump(mode="json")) == choice
    assert Settings(evaluator=choice.model_dump(mode="json")).evaluator == choice


@pytest.mark.parametrize(
    ("word", "options", "expected"),
    [
        ("jonit", {}, "Did you mean 'joint'?"),
        ("function", {}, "Or your own function, mypkg.mymod:fn."),
        ("capacity", {"epochs": 3}, "--epochs: is for evaluator short-train (got capacity). Drop"),
        (
            None,
            {"image_size": 64},
            "--image-size: is for evaluator short-train (got no --data). Ad",
        ),
        ("own.mod:fn", {"bench": "x"}, "--bench: is for evaluator predictor (got function)"),
        ("short-train", {}, "needs --data (got none). E.g. `smt-nas search --data digits`."),
        (None, {"data": "digits", "epochs": 0}, "search: epochs must be greater"),
    ],
)
def test_what_is_not_for_an_evaluator_is_told_in_one_line(word, options, expected):
    with pytest.raises(ConfigError) as caught:
        choose_evaluator(word, options)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_a_config_in_a_file_is_checked_by_the_entrys_model():
    with pytest.raises(ConfigError, match="evaluator short-train: epochs must be greater"):
        Settings(evaluator={"name": "short-train", "config": {"data": "digits", "epochs": 0}})
    with pytest.raises(ValueError, match="capacity takes no config"):
        Settings(evaluator={"name": "capacity", "config": {"data": "digits"}})
    with pytest.raises(UnknownName):
        make_evaluator(EvaluatorChoice(name="jonit"))


def test_the_default_stands_first_and_looking_at_the_table_loads_no_torch():
    assert next(iter(EVALUATORS)) == "joint"
    code = "import sys, smt_nas.evaluators; print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout == "False\n"


class TestProbes:
    """Fingerprints are of 200 networks that must stay the same ones."""

    def test_the_networks_are_those_of_the_first_day(self):
        probes = evaluator_fingerprint.probe_networks()
        assert {space.name: len(genes) for space, genes in probes} == {"smt": 100, "smt_micro": 100}
        keys = [space.decode(genes[:1])[0].key for space, genes in probes]
        assert keys == ["ad918c791e5e", "dda132566ed4"]

    @pytest.mark.parametrize(("change", "same"), [(1e-12, True), (1e-4, False)])
    def test_they_see_figures_and_not_the_last_digits(self, change, same):
        class Linear:
            is_final = True

            def __init__(self, extra):
                self.extra = extra

            def predict(self, space, genes):
                from smt_nas.evaluators import Estimate

                return Estimate(genes.sum(axis=1) * (1.0 + self.extra))

        one, other = (evaluator_fingerprint.fingerprint_by_probes(Linear(e)) for e in (0.0, change))
        assert (one == other) == same
        assert np.all([c in "0123456789abcdef" for c in one])
