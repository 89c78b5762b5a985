"""Signals: a training that is asked to stop saves, leaves, and goes on to the same end."""

import os
import signal
from dataclasses import replace

import pytest
import torch

from smt_nas.train.data.batches.loader import (
    ReaderOptions,
    UnreadableImages,
    load_evaluation_batches,
)
from smt_nas.train.processes.training_context import catch_interrupts, use_deterministic_algorithms
from smt_nas.train.weights.weights import read_card
from tests.fakes.images import array, eval_transform, few_digits
from tests.fakes.trainings import SHORT, StopAt, resume, start

SHORT_TWICE = replace(SHORT, epochs=2)


@pytest.mark.parametrize("at", [2, 3], ids=["inside an epoch", "at its end"])
def test_sigterm_saves_that_moment(tmp_path, at):
    run, before = tmp_path / "run", signal.getsignal(signal.SIGTERM)
    with few_digits(10):
        stopped = start(SHORT_TWICE, run, listener=StopAt(at))
        assert (stopped.interrupted, stopped.updates, stopped.epochs) == (True, at, at // 3)
        assert stopped.stop_requested and signal.getsignal(signal.SIGTERM) is before
        (saved,) = (run / "checkpoints").iterdir()
        card = read_card(saved)
        assert card.update == at
        assert (card.validation is None) == (at == 2)  # not written again without its score
        rest = StopAt()
        assert not resume(run, rest).interrupted
    assert rest.heard == [(u, (u - 1) // 3 + 1) for u in range(at + 1, 7)]


def test_ctrl_c_again_leaves_at_once():
    with catch_interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.stop_requested
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


class Signalled:
    """A split whose second image sends its reader what torchrun and a terminal send to all."""

    def __init__(self):
        self.examples, self.labels = array(6), array(6).labels

    def __len__(self):
        return 6

    def image(self, i):
        if i == 1:
            for number in (signal.SIGINT, signal.SIGTERM):
                os.kill(os.getpid(), number)
        return self.examples.image(i)

    def name(self, i):
        return str(i)


def test_readers_live_until_the_training_has_saved():
    batches = load_evaluation_batches(
        Signalled(), eval_transform(), 2, 0, 1, ReaderOptions(1), UnreadableImages(0)
    )
    assert [len(labels) for _, labels in batches] == [2, 2, 2]


def test_deterministic_asks_all_that_a_gpu_needs(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    with use_deterministic_algorithms(True):
        assert torch.are_deterministic_algorithms_enabled()
        assert (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark) == (True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.backends.cudnn.benchmark
