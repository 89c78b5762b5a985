"""Outcomes of updates that are read several at a time: nothing but the time of reading changes."""

import os
import signal
from dataclasses import replace

import pytest

from smt_nas.errors import TrainingError
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.learner import Learner
from tests.fakes.graphs import capture_on_cpu
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

LONG = replace(SHORT, epochs=2, changes=("batch_size=10", "warmup_epochs=0.3", "drop_path=0.2"))
"""Of `few_digits(10)`: 13 updates an epoch."""
DECIDED = ("epoch", "update", "lr", "train_loss", "val_loss", "val_top1", "skipped")


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(10):
        yield


@pytest.fixture
def read_every(monkeypatch):
    """Sets after how many updates outcomes are read."""

    def set_number(number):
        monkeypatch.setattr(Learner, "read_every", property(lambda self: number))

    return set_number


def decided(result):
    return [[getattr(metrics, name) for name in DECIDED] for metrics in result.history]


class Heard(NullProgress):
    def __init__(self):
        self.updates = []

    def update(self, status):
        self.updates.append(status.done)


class StopAtSecondEpoch(NullProgress):
    def update(self, status):
        if status.epoch == 2:
            os.kill(os.getpid(), signal.SIGTERM)


def test_metrics_and_weights_do_not_depend_on_when_outcomes_are_read(read_every, tmp_path):
    at_once, late = Heard(), Heard()
    expected = start(LONG, tmp_path / "a", listener=at_once)
    read_every(5)
    ours = start(LONG, tmp_path / "b", listener=late)
    assert decided(ours) == decided(expected)
    assert at_once.updates == list(range(1, expected.updates + 1))
    per_epoch = expected.updates // 2
    assert set(late.updates) >= {5, per_epoch, 2 * per_epoch} and len(late.updates) < 10
    assert_same_tensors(last_checkpoint(tmp_path / "b"), last_checkpoint(tmp_path / "a"))


def test_a_checkpoint_between_two_readings_holds_what_came_before_it(read_every, tmp_path):
    expected = start(LONG, tmp_path / "a")
    read_every(5)
    with pytest.raises(Killed):
        start(LONG, tmp_path / "b", listener=KillAt(8), save_updates=7)
    stopped = resume(tmp_path / "b", StopAtSecondEpoch())
    assert stopped.interrupted and stopped.stop_requested
    assert decided(resume(tmp_path / "b")) == decided(expected)
    assert_same_tensors(last_checkpoint(tmp_path / "b"), last_checkpoint(tmp_path / "a"))


@pytest.mark.parametrize("number", [1, 4])
def test_gradients_that_stay_infinite_end_it_a_few_updates_late(read_every, tmp_path, number):
    wild = replace(LONG, changes=("batch_size=10", "max_nonfinite=2", "optimizer.lr=1e9"))
    heard = Heard()
    read_every(number)
    with pytest.raises(TrainingError, match=r"update \d+: gradients .* 3 updates in a row") as e:
        start(wild, tmp_path / "run", listener=heard)
    failed_at = int(str(e.value).split(":")[0].split()[1])
    assert failed_at - number <= heard.updates[-1] < failed_at


def test_a_training_by_graphs_is_the_plain_one_within_rounding(monkeypatch, tmp_path):
    expected = start(LONG, tmp_path / "plain")
    capture_on_cpu(monkeypatch)
    with pytest.raises(Killed):
        start(LONG, tmp_path / "fast", listener=KillAt(14), save_updates=7, fast=True)
    ours = resume(tmp_path / "fast", fast=True)
    for own, other in zip(ours.history, expected.history, strict=True):
        assert own.train_loss == pytest.approx(other.train_loss, rel=1e-3)
        assert own.val_loss == pytest.approx(other.val_loss, rel=1e-2)
