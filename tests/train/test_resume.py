"""A training that was killed and resumed ends with the weights of one that was not, bit for bit."""

import random
from dataclasses import replace

import pytest
import torch

from smt_nas.errors import TrainingError
from smt_nas.runtime.progress import NullProgress
from tests.fakes.images import few_digits
from tests.fakes.trainings import (
    SHORT,
    KillAt,
    Killed,
    assert_same_tensors,
    last_checkpoint,
    resume,
    start,
)

MIXED = replace(
    SHORT,
    epochs=2,
    changes=(
        "batch_size=20",
        "warmup_epochs=0.3",
        "augment.mixup=0.2",
        "augment.cutmix=1.0",
        "augment.erasing=0.25",
        "ema.decay=0.9",
        "drop_path=0.1",
    ),
)
WAYS = {  # in which images come
    "held in memory": {},
    "read": {"fast": False, "workers": 0},
    "read ahead": {"fast": False, "workers": 1},
}
STOPS = (1, 4, 7, 11)  # of 12 updates: in an epoch, at its end, in the second
DECIDED = ("epoch", "update", "lr", "train_loss", "val_loss", "val_top1")  # no times


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(10):
        yield


def train_in_one_go(folder, **options):
    """A training in one go, its folder and result."""
    result = start(MIXED, folder / "run", **options)
    assert (result.updates, result.epochs) == (12, 2)
    return folder / "run", result


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    return train_in_one_go(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def unbroken_read(tmp_path_factory):
    """One whose images are read anew every epoch."""
    return train_in_one_go(tmp_path_factory.mktemp("read"), fast=False)


def decided(history):
    return [[getattr(metrics, name) for name in DECIDED] for metrics in history]


@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_update_and_resumed(unbroken, unbroken_read, tmp_path, way):
    options = WAYS[way]
    whole, result = unbroken_read if options else unbroken
    run = tmp_path / "run"
    for at in STOPS:
        with pytest.raises(Killed):
            start(MIXED, run, True, KillAt(at), save_updates=2, **options)
    torch.manual_seed(7)  # whatever the caller did with the global generators
    resumed = resume(run, **options)
    assert not resumed.interrupted
    assert_same_tensors(last_checkpoint(whole), last_checkpoint(run))
    for file in ("best.safetensors", "checkpoints/update-0000012/ema.safetensors"):
        assert (whole / file).read_bytes() == (run / file).read_bytes()
    assert decided(resumed.history) == decided(result.history)
    rows = [(folder / "metrics.csv").read_text().splitlines() for folder in (whole, run)]
    assert len(rows[0]) == len(rows[1]) == 3 and rows[0][0] == rows[1][0]


class Lines(NullProgress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def threads():
    """Those of torch, put back afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_another_number_of_threads_is_told(tmp_path, threads):
    """Gradients are then summed in another order."""
    run = tmp_path / "run"
    threads(3)
    start(replace(SHORT, epochs=2), run, until_epoch=1)
    assert "torch_threads: 3" in (run / "train.yaml").read_text()
    same, other, done = Lines(), Lines(), Lines()
    resume(run, same, until_epoch=1)
    threads(1)
    resume(run, other)
    threads(2)
    resume(run, done)  # nothing is left to compute
    assert not [line for line in (*same.lines, *done.lines) if "gradients" in line]
    (line,) = [line for line in other.lines if "gradients" in line]
    assert "computed with 3 threads" in line and "with 1 thread:" in line
    assert "OMP_NUM_THREADS=3" in line


def test_stopped_after_an_epoch_and_gone_on_with(unbroken, tmp_path):
    run = tmp_path / "run"
    stopped = start(MIXED, run, True, until_epoch=1)
    assert (stopped.updates, stopped.epochs, stopped.interrupted) == (6, 1, False)
    assert start(MIXED, run, True, until_epoch=1).history == stopped.history
    finished = start(MIXED, run, True, until_epoch=5)
    assert (finished.updates, finished.epochs, finished.interrupted) == (12, 2, False)
    assert_same_tensors(last_checkpoint(unbroken[0]), last_checkpoint(run))
    earlier = start(MIXED, run, True, until_epoch=1)
    assert (earlier.history, earlier.interrupted) == (finished.history, False)


def test_a_training_leaves_the_callers_generators_alone_and_depends_on_its_seed(unbroken, tmp_path):
    torch.manual_seed(3)
    random.seed(3)
    before = torch.get_rng_state(), random.getstate()
    start(replace(MIXED, seed=1), tmp_path / "run")
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    own, other = (last_checkpoint(f)["model.safetensors"] for f in (tmp_path / "run", unbroken[0]))
    assert not torch.equal(own["head.weight"], other["head.weight"])


def test_a_finished_training_is_not_trained_again(unbroken):
    run, result = unbroken
    before = last_checkpoint(run)
    again = resume(run)
    assert again.updates == 12 and again.weights is not None
    assert again.history == result.history
    assert_same_tensors(before, last_checkpoint(run))


def test_gradients_that_stay_infinite_end_it_and_keep_the_checkpoint(tmp_path):
    wild = replace(SHORT, changes=("batch_size=40", "warmup_epochs=0", "max_nonfinite=1"))
    wild = replace(wild, changes=(*wild.changes, "optimizer.lr=1e9"), epochs=2)
    with pytest.raises(TrainingError, match="gradients must be finite"):
        start(wild, tmp_path / "run", save_updates=1)
    assert last_checkpoint(tmp_path / "run")
