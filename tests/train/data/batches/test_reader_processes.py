"""Processes that read images and come to an end: one line says why."""

import os
import signal
from types import SimpleNamespace

import pytest

from smt_nas.errors import TrainingError
from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_evaluation_batches,
)
from smt_nas.train.data.batches.reader_processes import explain_reader_failures
from tests.fakes.images import array, eval_transform

WRAPPED = """Caught RuntimeError in DataLoader worker process 0.
Original Traceback (most recent call last):
  File "worker.py", line 358, in _worker_loop
RuntimeError: unable to allocate shared memory(shm) for file </torch_1_2>: No space left (28)"""
BUS = "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that dataloader's"


def told(error, n=2):
    with pytest.raises(TrainingError) as raised, explain_reader_failures(n):
        raise error
    message = str(raised.value)
    assert message.startswith(f"--workers {n}: ") and "\n" not in message
    return message


@pytest.mark.parametrize(
    "error",
    [RuntimeError(WRAPPED), RuntimeError(BUS), OSError(28, "No space left on device")],
    ids=["wrapped", "bus", "queue"],
)
def test_a_full_shared_memory(error, monkeypatch):
    usage = SimpleNamespace(free=3_000_000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    message = told(error)
    assert "room for their batches in /dev/shm (got 3 MB free; " in message
    assert "Use --workers 0, or a larger /dev/shm, e.g. docker --shm-size" in message


def test_the_last_line_of_a_workers_own_error_is_told():
    assert "free; RuntimeError: unable to allocate shared memory(shm)" in told(
        RuntimeError(WRAPPED)
    )
    assert "Traceback" not in told(RuntimeError(WRAPPED))


def test_no_shared_memory_at_all(monkeypatch):
    def nowhere(path):
        raise FileNotFoundError(path)

    monkeypatch.setattr("shutil.disk_usage", nowhere)
    assert "in /dev/shm (got none; " in told(RuntimeError(BUS))


def test_too_many_open_files():
    assert "ulimit -n" in told(OSError(24, "Too many open files"))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("DataLoader worker (pid 3) is killed by signal: Killed. "),
        RuntimeError("DataLoader worker (pid(s) 3, 4) exited unexpectedly"),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=["killed", "ended", "not started"],
)
def test_a_worker_that_ended(error):
    assert "want of memory: use fewer, or --workers 0" in told(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), TrainingError("shared memory"), ValueError("x")]
)
def test_other_errors_go_through(error):
    with pytest.raises(type(error)) as raised, explain_reader_failures(2):
        raise error
    assert raised.value is error


def test_without_workers_nothing_is_explained():
    with pytest.raises(OSError, match="No space"), explain_reader_failures(0):
        raise OSError(28, "No space left on device")


class Deadly:
    """A split whose second image ends the process that reads it."""

    def __init__(self):
        self.examples, self.labels = array(6), array(6).labels

    def __len__(self):
        return 6

    def image(self, i):
        if i == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.examples.image(i)

    def name(self, i):
        return str(i)


def test_a_worker_that_is_killed_ends_the_training_with_one_line():
    batches = load_evaluation_batches(
        Deadly(), eval_transform(), 2, 0, 1, ReaderOptions(1), UnreadableImages(0)
    )
    with pytest.raises(TrainingError, match=r"must live \(got: RuntimeError: DataLoader worker"):
        list(batches)
