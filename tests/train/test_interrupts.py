"""Signals: a training that is asked to stop saves, leaves, and goes on to the same end."""

import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from smt_nas.runtime.progress import NullProgress
from smt_nas.train import run
from smt_nas.train.data.examples import Subset
from smt_nas.train.data.loader import Loading, Unreadable, evaluation_batches
from smt_nas.train.data.sources import load_source
from smt_nas.train.interrupts import interrupts
from smt_nas.train.process_group import World
from smt_nas.train.run import Asked, go_on, start
from smt_nas.train.settings import How
from smt_nas.train.weights.weights import read_card
from tests.fakes.images import array
from tests.train.data.test_loader import EVALUATE

ALONE = World(0, 1, torch.device("cpu"))
ASKED = Asked("smt_micro", "digits", epochs=2, changes=("batch_size=40",))  # 3 updates an epoch


@pytest.fixture(autouse=True, scope="module")
def few_images():
    whole = load_source("digits")
    few = replace(whole, train=Subset(whole.train, np.arange(0, len(whole.train), 10)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load_source", lambda spec: few)
        yield


class Stopper(NullProgress):
    """Sends a signal to the training as an update ends."""

    def __init__(self, at):
        self.at, self.shown = at, []

    def update(self, moment):
        self.shown.append((moment.done, moment.epoch))
        if moment.done == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("at", [2, 3], ids=["inside an epoch", "at its end"])
def test_sigterm_saves_that_moment(tmp_path, monkeypatch, at):
    monkeypatch.setattr("smt_nas.train.loop._SHOWN_S", -1.0)
    before = signal.getsignal(signal.SIGTERM)
    stopped = start(ASKED, How(), tmp_path / "run", False, ALONE, Stopper(at))
    assert (stopped.interrupted, stopped.updates, stopped.epochs) == (True, at, at // 3)
    assert signal.getsignal(signal.SIGTERM) is before
    (saved,) = (tmp_path / "run" / "checkpoints").iterdir()
    card = read_card(saved)
    assert card.update == at
    assert (card.validation is None) == (at == 2)  # not written again without its score
    rest = Stopper(0)
    assert not go_on(tmp_path / "run", How(), ALONE, rest).interrupted
    assert rest.shown == [(u, (u - 1) // 3 + 1) for u in range(at + 1, 7)]


def test_ctrl_c_again_leaves_at_once():
    with interrupts() as heard:
        os.kill(os.getpid(), signal.SIGINT)
        assert heard.asked
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
            time.sleep(0.01)
        return self.examples.image(i)

    def name(self, i):
        return str(i)


def test_readers_live_until_the_training_has_saved():
    batches = evaluation_batches(Signalled(), EVALUATE, 2, 0, 1, Loading(1), Unreadable(0))
    assert [len(labels) for _, labels in batches] == [2, 2, 2]
