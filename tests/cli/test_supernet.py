"""`supernet` as a user types it."""

import json
import shutil
from pathlib import Path

import pytest

from smt_nas.errors import ConfigError
from smt_nas.evaluators.supernet.training import supernet_training
from smt_nas.models.supernet import SupernetSpec
from smt_nas.space import SearchSpace
from smt_nas.train.data.sources import load_source
from smt_nas.train.weights.weights import read_card
from smt_nas.yaml import read_yaml
from tests.fakes.supernets import (
    draw_archs,
    load_few_digits,
    make_small_space,
    train,
    write_space,
)
from tests.fakes.terminal import invoke
from tests.fakes.trainings import result

QUICK = ("--set", "batch_size=16", "--device", "cpu")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_space(tmp_path / "small.yaml", make_small_space())
    return tmp_path


def test_it_trains_shows_and_goes_on():
    words = ("supernet", "train", "--space", "small.yaml", "--data", "digits", *QUICK)
    told = invoke(*words, "--steps", "3").stdout
    assert "3 steps of 3" in told
    assert "smt-nas search --evaluator supernet:runs/supernet-small-digits" in told
    document = json.loads(invoke(*words, "--steps", "3", "--json").stdout)  # it is there already
    assert document["step"] == document["steps"] == 3 and not document["interrupted"]
    said = invoke(*words, "--steps", "4", code=1).stderr
    assert "holds a supernet" in said and "steps" in said


def test_info_shows_range_losses_and_coverage(supernet_folder):
    words = " ".join(invoke("supernet", "info", str(supernet_folder)).stdout.split())
    assert "small: 1.79e+04 networks, 129.4 kMACs to 300.9 kMACs (2.3x)" in words
    assert "40 of 40" in words and "roll-backs: 0" in words and "of the steps" in words
    told = json.loads(invoke("supernet", "info", str(supernet_folder), "--json").stdout)
    assert told["macs"] == {"low": 129416.0, "high": 300928.0}
    assert told["coverage"]["stage1 block 1 sam"] == 1.0 and told["rare"] == {}
    assert told["losses"][-1]["step"] == 40


def test_ctrl_c_says_the_command_that_goes_on(monkeypatch):
    always = property(lambda self: True, lambda self, value: None)
    monkeypatch.setattr(supernet_training.Interrupts, "stop_requested", always, raising=False)
    words = ("--space", "small.yaml", "--data", "digits", "--steps", "3", *QUICK, "--out", "my sn")
    done = invoke("supernet", "train", *words, code=130)
    assert "Interrupted: 1 step of 3" in done.stdout
    assert (
        "Next: smt-nas supernet train --data digits --space small.yaml --steps 3 "
        "--set batch_size=16 --device cpu --out 'my sn'"
    ) in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--minutes", "1", "--steps", "2"), "minutes and steps say the same twice (got 1 and 2)"),
        (
            ("--space", "smt_micro", "--steps", "2"),
            "Use --space smt_micro_supernet, or train a part of it, as with --macs 2.5..39.83MMACs",
        ),
        (("--set", "precision=amp-fp16"), "--set precision=amp-bf16"),
        (("--set", "optimizer.name=adamv"), "Did you mean"),
        (("--recipe", "nowhere.yaml"), "nowhere.yaml"),
        (("--minutes", "0"), "minutes"),
        (("--macs", "20MMACs"), "must be a range of MACs"),
    ],
)
def test_bad_words_are_one_line_and_leave_nothing(home, words, told):
    said = invoke("supernet", "train", "--data", "digits", *words, "--out", "sn", code=1).stderr
    assert told in said and len(said.strip().splitlines()) <= 2
    assert not (home / "sn" / "supernet.yaml").exists()


def test_the_shipped_space_is_one_that_a_supernet_serves():
    space, whole = SearchSpace.load("smt_micro_supernet"), SearchSpace.load("smt_micro")
    assert SupernetSpec.for_space(space).space == space.digest
    archs = draw_archs(space, 50)
    assert whole.contains(archs).all()


def test_a_budget_stands_beside_the_range_that_was_trained(home):
    train(home / "sn", steps=1, macs=(1.5e5, 2.5e5), source=load_source("digits"))
    words = ("search", "--evaluator", "supernet:sn", "--budget", "0.2MMACs", "--n", "1")
    options = ("--no-verify", "--device", "epyc_zen3_2cpu", "--strategy", "random", "--out", "run")
    invoke(*words, *options)
    settings = read_yaml(home / "run" / "run.yaml")["settings"]
    assert settings["budgets"] == ["0.2MMACs", "0.15..0.25MMACs"]


def test_a_network_leaves_with_what_it_inherits(supernet_folder, home):
    shutil.copytree(supernet_folder, home / "sn")
    (arch,) = draw_archs(make_small_space(), 1)
    arch.save(home / "net.yaml")
    words = ("export", "net.yaml", "--weights", "supernet:sn", "--format", "python")
    said = invoke(*words, "--out", "net.py").stderr
    assert "inherited from a supernet of digits" in said and (home / "net.safetensors").is_file()
    said = invoke("export", "net.safetensors", "--format", "python", "--out", "again.py").stderr
    assert "inherited from a supernet of digits" in said  # the file alone says so too
    said = invoke("export", "net.yaml", "--weights", "inherited", code=1).stderr
    assert "is for a network of a search's front" in said and "--weights supernet:RUN" in said
    said = invoke("export", "net.yaml", "--weights", "net.py", "--supernet", "sn", code=1).stderr
    assert "--supernet sn: is for --weights inherited" in said


def test_a_training_starts_from_what_its_network_inherits(supernet_folder, home, monkeypatch):
    shutil.copytree(supernet_folder, home / "sn")
    inits = []
    (arch,) = draw_archs(make_small_space(), 1)
    arch.save(home / "net.yaml")

    def stop(request, *others):
        inits.append(request.init)
        raise ConfigError("train: stop here.")

    monkeypatch.setattr("smt_nas.train.run.start_training", stop)
    words = ("train", "net.yaml", "--data", "digits", "--device", "cpu")
    said = invoke(*words, "--init", "supernet:sn", code=1).stderr
    (file,) = (home / "sn" / "inherited").iterdir()
    assert inits == [f"sn/inherited/{file.name}"] and "tensors of" in said
    assert "--set split_seed=0 hold out" in " ".join(said.split())


def test_the_best_of_a_front_start_from_what_they_inherit(supernet_folder, home, monkeypatch):
    """The preset beside them starts from fresh weights, by the same recipe."""
    shutil.copytree(supernet_folder, home / "sn")
    (home / "run" / "front").mkdir(parents=True)
    archs = draw_archs(make_small_space(), 2)
    for i, arch in enumerate(archs):
        arch.save(home / "run" / "front" / f"{i}.yaml")
    begun = []

    def begin(request, options, out, resume, group, listener, arch):
        config = request.to_config(arch, load_few_digits(), 1)
        begun.append((out.name, config.init, config.recipe_name))
        if out.name.startswith("smt_t"):
            raise ConfigError("train: stop here.")
        return result(run=out, arch=arch)

    monkeypatch.setattr("smt_nas.train.front_training.start_training", begin)
    words = ("train", "run", "--top", "2", "--data", "digits", "--device", "cpu")
    said = invoke(*words, "--init", "supernet:sn", code=1).stderr
    *taken, last = begun
    assert last == ("smt_t-seed0", None, "small")
    for (out, init, recipe), arch in zip(taken, archs, strict=True):
        assert out in ("0-seed0", "1-seed0") and recipe == "small"
        assert read_card(Path(init)).arch.stages == arch.stages
    assert said.count("hold out") == 1 and "smt_t is not in the supernet" in said
