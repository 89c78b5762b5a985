"""A training that was killed and resumed ends with the weights of one that was not, bit for bit."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from smt_nas.errors import TrainingError
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.learner import Learner
from smt_nas.train.process_group import World
from smt_nas.train.run import Asked, go_on, start
from smt_nas.train.settings import How
from tests.fakes.images import few_digits

ROOT = Path(__file__).resolve().parents[2]
ALONE = World(0, 1, torch.device("cpu"))
SHORT = Asked(
    "smt_micro",
    "digits",
    epochs=2,
    changes=(
        "batch_size=40",
        "augment.mixup=0.2",
        "augment.cutmix=1.0",
        "augment.erasing=0.25",
        "ema.decay=0.9",
        "drop_path=0.1",
    ),
)
STOPS = (1, 4, 7, 11)  # of 12 updates: in an epoch, at its end, in the second


class Died(Exception):
    """Stands for SIGKILL: nothing runs after it."""


class Killer(NullProgress):
    """Ends a training at an update, as it hears of it."""

    def __init__(self, at):
        self.at = at

    def update(self, moment):
        if moment.done >= self.at:
            raise Died


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(5):
        yield


def weights(run):
    (last,) = sorted((run / "checkpoints").glob("update-*"))[-1:]
    return {file.name: load_file(file) for file in sorted(last.glob("*.safetensors"))}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for file in a:
        assert a[file].keys() == b[file].keys()
        for name, value in a[file].items():
            assert torch.equal(value, b[file][name]), f"{file}: {name}"


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    finished = start(SHORT, How(), run, False, ALONE, NullProgress())
    assert (finished.updates, finished.epochs) == (12, 2)
    return run


@pytest.mark.parametrize("workers", [0, 1])
def test_killed_at_any_update_and_resumed(unbroken, tmp_path, monkeypatch, workers):
    monkeypatch.setattr("smt_nas.train.loop._SHOWN_S", -1.0)
    run, how = tmp_path / "run", How(save_updates=2, workers=workers)
    for at in STOPS:
        with pytest.raises(Died):
            start(SHORT, how, run, True, ALONE, Killer(at))
    torch.manual_seed(7)  # whatever the caller did with the global generators
    finished = go_on(run, how, ALONE, NullProgress())
    assert not finished.interrupted
    assert_same(weights(unbroken), weights(run))
    rows = [(unbroken / "metrics.csv"), (run / "metrics.csv")]
    whole, resumed = (path.read_text().splitlines() for path in rows)
    assert len(whole) == len(resumed) == 3
    columns = whole[0].split(",")
    for name in ("epoch", "update", "lr", "train_loss", "val_loss", "val_top1"):
        at = columns.index(name)
        assert [x.split(",")[at] for x in whole] == [x.split(",")[at] for x in resumed]


@pytest.mark.parametrize("workers", [0, 1])
def test_stopped_after_an_epoch_and_gone_on_with(unbroken, tmp_path, workers):
    run, how = tmp_path / "run", How(until_epoch=1, workers=workers)
    stopped = start(SHORT, how, run, True, ALONE, NullProgress())
    assert (stopped.updates, stopped.epochs, stopped.interrupted) == (6, 1, False)
    again = start(SHORT, how, run, True, ALONE, NullProgress())
    assert again.history == stopped.history
    finished = start(SHORT, How(until_epoch=5, workers=workers), run, True, ALONE, NullProgress())
    assert (finished.updates, finished.epochs, finished.interrupted) == (12, 2, False)
    assert_same(weights(unbroken), weights(run))
    earlier = start(SHORT, how, run, True, ALONE, NullProgress())
    assert (earlier.history, earlier.interrupted) == (finished.history, False)


def test_the_callers_generators_are_left_alone(tmp_path):
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    start(SHORT, How(), tmp_path / "run", False, ALONE, NullProgress())
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


def test_another_seed_is_another_training(unbroken, tmp_path):
    run = tmp_path / "run"
    start(replace(SHORT, seed=1), How(), run, False, ALONE, NullProgress())
    mine, other = weights(run)["model.safetensors"], weights(unbroken)["model.safetensors"]
    assert not torch.equal(mine["head.weight"], other["head.weight"])


def test_a_finished_training_is_not_trained_again(unbroken):
    before = weights(unbroken)
    finished = go_on(unbroken, How(), ALONE, NullProgress())
    assert finished.updates == 12
    assert finished.weights is not None
    assert_same(before, weights(unbroken))


def test_gradients_that_stay_infinite_end_it_and_keep_the_checkpoint(tmp_path):
    run = tmp_path / "run"
    wild = Asked(
        "smt_micro",
        "digits",
        epochs=2,
        changes=("batch_size=80", "max_nonfinite=1", "warmup_epochs=0"),
    )
    start(wild, How(), run, False, ALONE, NullProgress())

    def broken(self, images, labels, last):
        value = self.model.head.weight.sum() * float("nan")
        value.backward()
        return value.detach()

    other = tmp_path / "other"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "_step", broken)
        with pytest.raises(TrainingError, match="gradients must be finite"):
            start(wild, How(), other, False, ALONE, NullProgress())


COMMAND = ["-m", "smt_nas", "train", "smt_micro", "--data", "digits", "--epochs", "1"]
COMMAND += ["--save-updates", "1", "--set", "ema.decay=0.9", "--set", "augment.mixup=0.2"]


def process(run, processes):
    """A training by the command line, in its own session so that all of it can be killed."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHONWARN")}
    env |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    head = [sys.executable]
    if processes > 1:
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
        head += [*torchrun, str(processes)]
    words = [*head, *COMMAND, "--set", f"batch_size={200 // processes}"]
    return subprocess.Popen(
        [*words, "--out", str(run), "--resume", "auto"],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_sigkill_of_the_real_thing(tmp_path, processes):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    done = process(whole, processes)
    text, _ = done.communicate(timeout=240)
    assert done.returncode == 0, text

    first = process(broken, processes)
    wait_for(lambda: list((broken / "checkpoints").glob("update-*")), first)
    time.sleep(random.random() / 4)
    if processes == 1:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    else:  # the one that writes dies; torchrun and the other must end too, and say so
        os.kill(first_rank(first.pid), signal.SIGKILL)
        text, _ = first.communicate(timeout=120)
        assert first.returncode not in (0, None), text

    second = process(broken, processes)
    text, _ = second.communicate(timeout=240)
    assert second.returncode == 0, text
    assert_same(weights(whole), weights(broken))


def wait_for(condition, running):
    end = time.monotonic() + 120
    while not condition():
        assert running.poll() is None, running.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.05)


def first_rank(launcher):
    """Process id of rank 0 among those that torchrun started."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # it ended, or is not ours
            continue
        if parent == launcher and b"RANK=0" in environment:
            return int(folder.name)
    raise AssertionError("no process of rank 0")
