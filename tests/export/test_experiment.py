"""A search as a folder that NNI's manager runs: its files, and how a trial rates a network."""

import json
import shlex
import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from smt_nas.cli.app import app
from smt_nas.errors import ConfigError, SpaceError, StoreError
from smt_nas.evaluators import FunctionEvaluator, make_evaluator
from smt_nas.export.experiment import load_experiment, write_experiment
from smt_nas.search import Settings, create_search
from smt_nas.search.stop_rule import ANY_NUMBER, StopRule
from smt_nas.space import SearchSpace
from smt_nas.space.sample import list_options, make_samples
from smt_nas.yaml import read_yaml, to_yaml

SPACE = SearchSpace.load("smt_micro")
RATED = ("score", "macs", "params")


def make_run(folder, evaluator=None, **settings):
    wanted = {"space": "smt_micro", "evaluator": "capacity", "n": 5, "seed": 3, "objectives": RATED}
    create_search(Settings(**(wanted | settings)), folder, evaluator=evaluator)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "a1", budgets=("12MMACs",))


@pytest.fixture(scope="module")
def folder(run):
    write_experiment(run, run.parent / "nni")
    return run.parent / "nni"


def draw(n, keep):
    """Samples of n networks and their costs, of those that `keep` takes by their MACs."""
    genes = SPACE.sample(np.random.default_rng(0), 2000)
    experiment_costs = SPACE.decode(genes[:200])
    from smt_nas import costs

    chosen = [i for i, arch in enumerate(experiment_costs) if keep(costs.of(arch).macs)][:n]
    archs = [experiment_costs[i] for i in chosen]
    return list(zip(make_samples(SPACE, genes[chosen]), archs, strict=True))


def test_the_config_says_how_many_networks_are_tried_by_which_figure(folder):
    config = read_yaml(folder / "config.yml")
    assert config["maxTrialNumber"] == 5
    assert config["tuner"] == {
        "name": "TPE",
        "classArgs": {"optimize_mode": "maximize", "seed": 3},
    }
    assert config["trainingService"] == {"platform": "local"}
    assert shlex.split(config["trialCommand"]) == [sys.executable, "trial.py"]
    assert (folder / "trial.py").is_file()


@pytest.mark.parametrize(
    ("asked", "limits"),
    [
        ({"n": ANY_NUMBER, "stop": StopRule(minutes=0.5)}, {"maxExperimentDuration": "30s"}),
        ({"n": 7, "stop": StopRule(minutes=90)}, {"n": 7, "maxExperimentDuration": "5400s"}),
        ({"n": ANY_NUMBER, "stop": StopRule(hv_stall=2)}, {}),
    ],
)
def test_a_search_that_ends_by_time_is_an_experiment_that_does(tmp_path, asked, limits):
    write_experiment(make_run(tmp_path / "run", **asked), tmp_path / "nni")
    config = read_yaml(tmp_path / "nni" / "config.yml")
    assert config.get("maxTrialNumber") == limits.get("n")
    assert config.get("maxExperimentDuration") == limits.get("maxExperimentDuration")


def test_a_run_whose_trials_are_on_a_server_needs_no_password(run, tmp_path):
    values = read_yaml(run / "run.yaml")
    values["settings"]["storage"] = "postgresql://me:***@nowhere/db"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.yaml").write_text(to_yaml(values))
    assert len(write_experiment(tmp_path / "run", tmp_path / "nni")) == 4


def test_the_search_space_is_that_of_the_run(folder):
    choices = json.loads((folder / "search_space.json").read_text())
    assert {c["_type"] for c in choices.values()} == {"choice"}
    assert {name: c["_value"] for name, c in choices.items()} == list_options(SPACE)


def test_a_trial_reports_what_the_evaluator_says_and_the_other_objectives(folder):
    experiment = load_experiment(folder)
    evaluator = make_evaluator("capacity").for_space(SPACE)
    for sample, arch in draw(3, lambda macs: macs <= 12e6):
        reported = experiment.rate(sample)
        [evaluation] = evaluator.evaluate([arch])
        assert reported["default"] == evaluation.compared
        assert reported["score"] == evaluation.value
        assert set(reported) == {"default", *RATED}
        json.dumps(reported)


def test_beyond_the_budget_nothing_is_evaluated_and_nearer_is_better(folder):
    experiment = load_experiment(folder)
    rated = [(arch, experiment.rate(sample)) for sample, arch in draw(6, lambda macs: macs > 12e6)]
    for _, reported in rated:
        assert reported["default"] == pytest.approx(-1e3 * (1 + reported["macs"] / 12e6 - 1))
        assert "score" not in reported
    by_default = sorted(rated, key=lambda row: -row[1]["default"])
    by_macs = sorted(rated, key=lambda row: row[1]["macs"])
    assert [arch.key for arch, _ in by_default] == [arch.key for arch, _ in by_macs]


def test_where_all_objectives_are_formulas_the_first_is_minimised(tmp_path):
    run = make_run(tmp_path / "run", objectives=("params", "macs"), evaluator=None)
    write_experiment(run, tmp_path / "nni")
    config = read_yaml(tmp_path / "nni" / "config.yml")
    assert config["tuner"]["classArgs"]["optimize_mode"] == "minimize"
    [(sample, _)] = draw(1, lambda macs: True)
    reported = load_experiment(tmp_path / "nni").rate(sample)
    assert reported["default"] == reported["params"]


def test_a_sample_of_another_space_is_refused(folder):
    [(sample, _)] = draw(1, lambda macs: True)
    with pytest.raises(SpaceError, match=r"stem.kernel must be one of"):
        load_experiment(folder).rate(sample | {"stem.kernel": 4})


def test_nothing_is_written_over_and_nothing_is_left(run, folder, tmp_path):
    kept = sorted(path.name for path in folder.iterdir())
    with pytest.raises(StoreError, match="must be new"):
        write_experiment(run, folder)
    assert sorted(path.name for path in folder.iterdir()) == kept
    with pytest.raises(StoreError, match="is not a run directory"):
        write_experiment(tmp_path, tmp_path / "nni")
    assert not list(tmp_path.iterdir())


def test_an_evaluator_that_a_program_handed_in_cannot_be_made_by_a_trial(tmp_path):
    run = make_run(tmp_path / "run", evaluator=FunctionEvaluator(lambda arch: 1.0))
    with pytest.raises(ConfigError, match="was handed in by a program"):
        write_experiment(run, tmp_path / "nni")
    assert not (tmp_path / "nni").exists()


def test_the_command_says_what_to_run_next(run, tmp_path):
    words = ["export-experiment", str(run), "--format", "nni", "--out", str(tmp_path / "e")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"nnictl create --config {tmp_path / 'e' / 'config.yml'}" in done.stderr
