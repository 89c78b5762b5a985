"""`short-train` on real images: a few networks, a few updates each."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from smt_nas import costs
from smt_nas.arch import load_arch
from smt_nas.errors import ConfigError, SmtNasError, StoreError
from smt_nas.evaluators.configs import ShortTraining
from smt_nas.evaluators.short_train.candidate_training import plan_training
from smt_nas.evaluators.short_train.evaluator import ShortTrainEvaluator
from smt_nas.evaluators.short_train.successive_halving import Race
from smt_nas.report.evidence import describe_evidence
from smt_nas.runtime.progress import NullProgress
from smt_nas.space import SearchSpace
from smt_nas.train import train_job
from smt_nas.train.data.sources import load_source
from smt_nas.train.learner import Learner
from smt_nas.yaml import validated
from tests.fakes.images import array
from tests.fakes.waiting import WATCHDOG_S

ROOT = Path(__file__).resolve().parents[3]
SPACE = SearchSpace.load("smt_micro")
POOL = SPACE.sample(np.random.default_rng(3), 200)
CHEAP = SPACE.decode(POOL[np.argsort(costs.estimate(SPACE, POOL).macs)[[0, 1, 3, 5]]])
CHANGES = ("images=90", "batch_size=30", "validation=0.1")
DIGITS = "00710922d999"  # the fingerprint of searches of before
TINY = ShortTraining(data="digits", epochs=3, changes=CHANGES)
UPDATES = 3  # an epoch


class Died(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    return tmp_path_factory.mktemp("short") / "trainings"


@pytest.fixture(scope="module")
def found(trainings):
    return ShortTrainEvaluator(TINY, trainings, 1).evaluate(CHEAP)


def record_updates(patch):
    """The numbers of the updates that are made from now on."""
    made, true = [], Learner.update

    def update(self, number, batches):
        made.append(number)
        return true(self, number, batches)

    patch.setattr(Learner, "update", update)
    return made


@pytest.fixture
def updates(monkeypatch):
    return record_updates(monkeypatch)


class Heard(NullProgress):
    """Keeps the steps it hears of."""

    def __init__(self):
        self.steps = []

    def step(self, phase, done, total):
        self.steps.append((phase, done, total))


class Lines(NullProgress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


class Killer(NullProgress):
    """Dies as the second rung begins."""

    def say(self, text):
        if "to epoch 3" in text:
            raise Died


@pytest.fixture(scope="module")
def one_rung(tmp_path_factory):
    """What a leader leaves that was killed between the rungs; tests go on in copies."""
    folder = tmp_path_factory.mktemp("one_rung") / "trainings"
    with pytest.MonkeyPatch.context() as patch:
        made = record_updates(patch)
        with pytest.raises(Died):
            ShortTrainEvaluator(TINY, folder, 1, Killer()).evaluate(CHEAP)
    assert made == [*range(UPDATES)] * 4
    return folder


@pytest.fixture
def begun(one_rung, tmp_path):
    """A copy of `one_rung`."""
    return shutil.copytree(one_rung, tmp_path / "begun")


def figures(evaluations):
    """All but what time took."""
    timed = ("seconds", "images_per_s")
    return [
        (e.value, e.failure, {k: v for k, v in e.components.items() if k not in timed})
        for e in evaluations
    ]


def test_two_of_four_go_to_the_end(found):
    whole = [e for e in found if e.value is not None]
    stopped = [e for e in found if e.value is None]
    assert len(whole) == len(stopped) == 2
    for e in whole:
        assert 0.05 < e.value <= 1 and e.provenance == "trained" and e.seconds > 0
        assert set(e.components) == {"epochs", "val_loss", "images_per_s", "seconds"}
        assert e.components["epochs"] == 3
    for e in stopped:
        assert e.failure.startswith("stopped after 1 of 3 epochs: val top-1 ")
        assert set(e.components) == {"val_top1_at_rung", "epochs"}


def test_each_leaves_its_rows_and_best_weights(found, trainings):
    for arch, e in zip(CHEAP, found, strict=True):
        run = trainings / arch.key
        rows = (run / "metrics.csv").read_text().splitlines()
        assert len(rows) == 1 + e.components["epochs"]
        assert (run / "best.safetensors").is_file()
        assert not (run / "checkpoints").exists()


def test_what_is_judged_is_not_trained_again(found, trainings, updates):
    again = ShortTrainEvaluator(TINY).in_workdir(trainings)
    assert again.evaluate(CHEAP[::-1]) == found[::-1]
    assert again.evaluate([CHEAP[2], CHEAP[2]]) == [found[2]] * 2
    assert updates == []


def test_workers_do_not_matter(found, tmp_path):
    several = ShortTrainEvaluator(TINY, tmp_path, 2).evaluate(CHEAP)
    assert figures(several) == figures(found)


def test_killed_between_rungs_it_trains_only_what_is_missing(found, begun, updates):
    evaluator = ShortTrainEvaluator(TINY, begun, 1)
    assert figures(evaluator.evaluate(CHEAP)) == figures(found)
    assert updates == [*range(UPDATES, 3 * UPDATES)] * 2


@pytest.mark.parametrize(
    ("death", "at"), [("kill", 2), ("signal", 2), ("signal", 2 * UPDATES)], ids=str
)
def test_killed_in_a_training_it_goes_on(found, begun, monkeypatch, death, at):
    true, made = Learner.update, []

    def update(self, number, batches):
        made.append(number)
        if len(made) == at:
            if death == "kill":
                raise Died
            os.kill(os.getpid(), signal.SIGTERM)
        return true(self, number, batches)

    evaluator = ShortTrainEvaluator(TINY, begun, 1)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "update", update)
        with pytest.raises(Died if death == "kill" else KeyboardInterrupt):
            evaluator.evaluate(CHEAP)
    assert not (begun / "evaluations.json").exists()
    assert figures(evaluator.evaluate(CHEAP)) == figures(found)


def test_failures_are_recorded_and_spare_the_others(found, begun, monkeypatch, updates):
    true = train_job.iterate_training
    first, second = (a for a, e in zip(CHEAP, found, strict=True) if e.value is not None)
    errors = {
        first.key: torch.OutOfMemoryError("CUDA out of memory"),
        second.key: ConfigError("optimizer: is not good"),
    }

    def start(asked, how, *others):
        if asked.name in errors and how.until_epoch == 3:
            raise errors[asked.name]
        return true(asked, how, *others)

    monkeypatch.setattr(train_job, "iterate_training", start)
    evaluator = ShortTrainEvaluator(TINY, begun, 1)
    now = evaluator.evaluate(CHEAP)
    failed = [now[CHEAP.index(arch)] for arch in (first, second)]
    assert [e.value for e in failed] == [None, None]
    assert [e.failure for e in failed] == [
        "OutOfMemoryError: CUDA out of memory",
        "optimizer: is not good",
    ]
    assert sum(e.value is not None for e in now) == 2  # others took their places
    updates.clear()
    assert evaluator.evaluate(CHEAP) == now and not updates


def test_a_worker_that_dies_is_a_failure(monkeypatch, tmp_path):
    # an error there, so it ends
    monkeypatch.setattr("smt_nas.evaluators.short_train.evaluator.train_job", os._exit)
    found = ShortTrainEvaluator(TINY, tmp_path, 2).evaluate(CHEAP[:2])
    assert all("its worker process" in e.failure for e in found)


def test_the_data_decide_over_the_head_and_the_settings_over_the_size(tmp_path):
    arch = CHEAP[0].model_copy(update={"num_classes": 7})
    short = TINY.model_copy(update={"epochs": 1, "image_size": 64})
    (found,) = ShortTrainEvaluator(short, tmp_path, 1).evaluate([arch])
    assert found.value is not None
    trained = load_arch(str(tmp_path / arch.key / "arch.yaml"))
    assert (trained.num_classes, trained.image_size) == (10, 64)


def test_without_a_folder_nothing_is_kept(found, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    one = TINY.model_copy(update={"epochs": 1})
    (only,) = ShortTrainEvaluator(one, workers=1).evaluate(CHEAP[:1])
    assert only.value is not None
    assert list(tmp_path.iterdir()) == []


def test_what_is_trained_to_the_end_is_told_before_the_round_is_over(found, begun, monkeypatch):
    true, starts = train_job.iterate_training, []

    def start(asked, how, *others):
        if how.until_epoch == 3:
            starts.append(asked.name)
        if len(starts) > 1:
            raise KeyboardInterrupt
        return true(asked, how, *others)

    evaluator = ShortTrainEvaluator(TINY, begun, 1)
    assert evaluator.read_finished(CHEAP) == {}  # one epoch of three is no figure
    with monkeypatch.context() as patch:
        patch.setattr(train_job, "iterate_training", start)
        with pytest.raises(KeyboardInterrupt):
            evaluator.evaluate(CHEAP)
    finished = evaluator.read_finished(CHEAP)
    assert list(finished) == starts[:1]
    same = [e for a, e in zip(CHEAP, found, strict=True) if a.key in finished]
    assert figures(finished.values()) == figures(same)
    assert figures(evaluator.evaluate(CHEAP)) == figures(found)  # as if it had not been stopped
    assert ShortTrainEvaluator(TINY).read_finished(CHEAP) == {}


def test_epochs_are_told_while_they_are_trained(tmp_path):
    listener = Heard()
    evaluator = ShortTrainEvaluator(TINY, tmp_path, 1, listener)
    evaluator.evaluate(CHEAP)
    done = [done for phase, done, _ in listener.steps if phase == "epochs"]
    assert {total for _, _, total in listener.steps} == {4 * 1 + 2 * 2}
    assert done[0] == 0 and done[-1] == 8 and done == sorted(done)
    assert all(train_job.read_epochs(tmp_path / arch.key) > 0 for arch in CHEAP)
    assert train_job.read_epochs(tmp_path / "none") == 0


@pytest.mark.parametrize(("changes", "told"), [((), 0), (("color_jitter=0.2",), 1)])
def test_images_that_are_read_anew_every_epoch_are_told_once(tmp_path, changes, told):
    short = TINY.model_copy(update={"epochs": 1, "changes": (*TINY.changes, *changes)})
    listener = Lines()
    ShortTrainEvaluator(short, tmp_path, 1, listener).evaluate(CHEAP[:2])
    lines = [line for line in listener.lines if "anew every epoch" in line]
    assert len(lines) == told and all("augment.color_jitter (0.2)" in line for line in lines)


def test_nothing_in_nothing_out(tmp_path):
    assert ShortTrainEvaluator(TINY, tmp_path / "none").evaluate([]) == []
    assert not (tmp_path / "none").exists()


def test_the_recipe_is_shortened_in_proportion():
    source = load_source("digits")

    def recipe(**changes):
        config = ShortTraining(data="digits", **changes)
        training = plan_training(config, 32, source)
        made = training.make_request(config, CHEAP[0]).to_config(CHEAP[0], source, 1).recipe
        assert made == training.recipe
        return made

    short = recipe(epochs=3, changes=("eval_every=2",))
    assert (short.epochs, short.warmup_epochs, short.eval_every) == (3, 0.25, 1)
    assert recipe(changes=("warmup_epochs=2",)).warmup_epochs == 2


@pytest.mark.parametrize(
    ("size", "images", "name", "batch", "updates"),
    [
        (96, 300, "own-images", 16, 4 * 15),
        (224, 3000, "own-images", 64, 4 * 37),
        (32, 300, "small", 16, 4 * 16),
        (32, 1438, "small", 128, 4 * 10),  # as digits, whose searches keep their figures
        (224, 20_000, "imagenet1k", 128, 4 * 140),
    ],
)
def test_candidates_get_a_recipe_that_suits_their_size_and_the_images(
    size, images, name, batch, updates
):
    source = replace(load_source("digits"), train=array(images, classes=10))
    config = ShortTraining(data="digits")
    training = plan_training(config, size, source)
    assert (training.recipe_name, training.recipe.batch_size) == (name, batch)
    assert training.updates == updates
    arch = CHEAP[0].model_copy(update={"image_size": size})
    assert training.make_request(config, arch).to_config(arch, source, 1).recipe == training.recipe


def test_a_recipe_that_is_named_is_not_fitted_to_candidates():
    source = replace(load_source("digits"), train=array(300, classes=10))
    named = ShortTraining(data="digits", recipe="imagenet1k")
    assert plan_training(named, 96, source).recipe.batch_size == 128
    fixed = ShortTraining(data="digits", changes=("batch_size=64",))
    assert plan_training(fixed, 96, source).recipe.batch_size == 64


def test_the_fingerprint_follows_the_recipe_of_few_images():
    evaluator = ShortTrainEvaluator(ShortTraining(data="digits"))
    large = evaluator.for_space(SearchSpace.load("smt"))
    assert evaluator.for_space(SPACE).fingerprint == evaluator.fingerprint == DIGITS
    assert large.fingerprint != evaluator.fingerprint
    assert 1100 < large.evidence.images < 1200  # a fifth is held out


def test_evidence():
    assert describe_evidence(ShortTrainEvaluator(TINY).evidence) == (
        "short-train: val top-1 after 3 epochs on digits (90 images), successive halving by "
        "accuracy and MACs at epochs 1, 3; trained, but short (9 updates: few networks learn much "
        "from them; more --epochs): the order may change in a full "
        "training. The predictor chooses the first networks (SMT-Bench-mini: "
        "held-out Kendall tau 0.71, 0.60 at equal MACs, recall of the best ten 0.30, regret 0.21 "
        "points (#params 0.55, 0.37, 0.20, 0.31; as a pick of the best better beyond doubt))."
    )
    two = ShortTrainEvaluator(ShortTraining(data="digits", epochs=2))
    plain = describe_evidence(two.evidence)
    assert "(1,297 images), every network to the end; trained, but short (20 updates" in plain
    long = ShortTrainEvaluator(ShortTraining(data="digits", epochs=20))
    assert "trained, but short: the order" in describe_evidence(long.evidence)


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"epochs": 0}, r"short-train: epochs must be greater than or equal to 1 \(got 0\)"),
        ({"eta": 1}, "short-train: eta must be greater"),
        ({"image_size": 16}, "short-train: image_size must be greater"),
        ({"epoch": 3}, "short-train: epoch is not a known field. Did you mean 'epochs'"),
    ],
)
def test_bad_values_are_told_in_a_line(values, complaint):
    with pytest.raises(ConfigError, match=complaint):
        validated(ShortTraining, {"data": "digits", **values}, "short-train")


@pytest.mark.parametrize(
    "changes",
    [
        {"data": "digitss"},
        {"recipe": "smal"},
        {"changes": ("optimizer.lr=-1",)},
        {"changes": ("images=9000",)},
        {"changes": ("optimizer.name=adamww",)},
        {"device": "cuda:99"},
    ],
)
def test_what_is_wrong_with_all_is_told_before_the_first(tmp_path, monkeypatch, changes):
    monkeypatch.setattr(Race, "run", lambda self, jobs: pytest.fail("began"))
    evaluator = ShortTrainEvaluator(TINY.model_copy(update=changes), tmp_path)
    with pytest.raises(SmtNasError):
        evaluator.evaluate(CHEAP)


def test_a_folder_is_of_one_kind_of_training(found, trainings, tmp_path):
    other = ShortTrainEvaluator(TINY.model_copy(update={"epochs": 4}), trainings)
    with pytest.raises(StoreError, match=r"holds trainings with epochs 3 \(got 4\)"):
        other.evaluate(CHEAP)
    elsewhere = TINY.model_copy(update={"device": "cpu"})
    assert ShortTrainEvaluator(elsewhere, trainings).evaluate(CHEAP) == found
    (tmp_path / "evaluations.json").write_text(json.dumps({"schema": 2}))
    with pytest.raises(StoreError, match=r"must hold evaluations .* to train anew"):
        ShortTrainEvaluator(TINY, tmp_path).evaluate(CHEAP)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be made a folder"):
        ShortTrainEvaluator(TINY, tmp_path / "file" / "in").evaluate(CHEAP)


SCRIPT = """
from pathlib import Path
from tests.evaluators.short_train.test_evaluator import CHEAP, TINY, ShortTrainEvaluator
ShortTrainEvaluator(TINY, Path({folder!r}), 2).evaluate(CHEAP)
"""


@pytest.mark.slow
def test_sigkill_of_the_leader_leaves_no_one_behind(found, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = SCRIPT.format(folder=str(tmp_path))
    leader = subprocess.Popen([sys.executable, "-c", script], env=env)
    end = time.monotonic() + WATCHDOG_S
    while not list(tmp_path.glob("*/checkpoints/update-*")):
        assert leader.poll() is None and time.monotonic() < end
        time.sleep(0.02)
    leader.kill()
    leader.wait()
    evaluator = ShortTrainEvaluator(TINY, tmp_path, 1)
    while True:  # until its workers have seen that it is gone
        try:
            assert figures(evaluator.evaluate(CHEAP)) == figures(found)
            return
        except StoreError:
            assert time.monotonic() < end
            time.sleep(0.1)
