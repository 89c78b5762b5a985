"""Trainings of a second's length: a tiny network, few digits, one process."""

import os
import signal
from pathlib import Path

import torch
from safetensors.torch import load_file

from smt_nas.runtime.progress import NullProgress
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.run import resume_training, start_training
from smt_nas.train.train_config import RunOptions, TrainRequest
from smt_nas.train.training_state import TrainResult
from tests.fakes.weights import TINY

ALONE = ProcessGroup(0, 1, torch.device("cpu"))
SHORT = TrainRequest("tiny", "digits", epochs=1, changes=("batch_size=40", "warmup_epochs=0.3"))
"""Of `few_digits(10)`: three updates an epoch."""


def start(request, run, resume=False, listener=None, arch=TINY, **options):
    """Start a training of TINY, or of another network; the rest are `RunOptions`."""
    return start_training(
        request, RunOptions(**options), run, resume, ALONE, listener or NullProgress(), arch
    )


def resume(run, listener=None, **options):
    """Go on with the training of a folder."""
    return resume_training(run, RunOptions(**options), ALONE, listener or NullProgress())


def last_checkpoint(run):
    """Every tensor of the newest checkpoint, by file."""
    *_, newest = sorted((run / "checkpoints").glob("update-*"))
    return {file.name: load_file(file) for file in sorted(newest.glob("*.safetensors"))}


def assert_same_tensors(ours, theirs):
    """They are the same bit for bit."""
    assert ours.keys() == theirs.keys()
    for file in ours:
        assert ours[file].keys() == theirs[file].keys()
        for name, value in ours[file].items():
            assert torch.equal(value, theirs[file][name]), f"{file}: {name}"


class Killed(Exception):
    """Stands for SIGKILL: nothing of the training runs after it."""


class KillAt(NullProgress):
    """Ends a training at an update, as it hears of it; keeps the first that it hears of."""

    def __init__(self, at):
        self.at, self.first = at, None

    def update(self, status):
        self.first = self.first or status.done
        if status.done >= self.at:
            raise Killed


class StopAt(NullProgress):
    """Sends SIGTERM to the training as an update ends; keeps what it hears of."""

    def __init__(self, at=0):
        self.at, self.heard = at, []

    def update(self, status):
        self.heard.append((status.done, status.epoch))
        if status.done == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


def result(**changes):
    """What came of a training of 300 epochs."""
    from smt_nas.arch import PRESETS
    from smt_nas.runtime.progress import EpochMetrics

    best = EpochMetrics(
        epoch=300,
        update=375300,
        lr=2e-6,
        train_loss=2.71828,
        val_loss=0.87654,
        val_top1=0.9123,
        val_n=10000,
        images_per_s=12345.6,
        waiting_share=0.0312,
        peak_memory_mb=78123.4,
    )
    values = {
        "run": Path("runs/a"),
        "arch": PRESETS["smt_t"],
        "epochs": 300,
        "updates": 375300,
        "skipped": 0,
        "best": best,
        "history": (best,),
        "validation_n": 10000,
        "images_per_s": 12345.6,
        "waiting_share": 0.0312,
        "peak_memory_mb": 78123.4,
        "unreadable": {},
        "interrupted": False,
        "weights": Path("runs/a/best.safetensors"),
    }
    return TrainResult(**values | changes)
