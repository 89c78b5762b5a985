"""Going on from a checkpoint that is of something else, or that not all processes see."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from smt_nas.errors import StoreError, TrainingError
from smt_nas.runtime.progress import NullProgress
from smt_nas.train import run as run_module
from smt_nas.train.data.examples import Subset
from smt_nas.train.processes.process_group import ProcessGroup
from smt_nas.train.session import Training, prepare_inputs
from smt_nas.train.session_start import open_session
from smt_nas.train.train_config import RunOptions
from smt_nas.train.training_directory import read_config
from tests.fakes.images import few_digits
from tests.fakes.trainings import ALONE, SHORT, resume, start

ASKED = replace(SHORT, changes=("batch_size=100", "warmup_epochs=0"))


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(10) as few:
        yield few


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return start(ASKED, tmp_path_factory.mktemp("own") / "run").run


def test_a_checkpoint_of_another_network_is_refused(run, tmp_path):
    other = tmp_path / "other"
    start(replace(ASKED, changes=(*ASKED.changes, "layer_scale=1e-4")), other)
    shutil.rmtree(other / "checkpoints")
    shutil.copytree(run / "checkpoints", other / "checkpoints")
    with pytest.raises(StoreError, match=r"must be of this training's network.* Remove it"):
        resume(other)


def test_other_images_are_refused(run, monkeypatch, few_images):
    fewer = replace(few_images, train=Subset(few_images.train, np.arange(120)))
    monkeypatch.setattr(run_module, "load_source", lambda spec: fewer)
    with pytest.raises(TrainingError, match=r"images that the training began with \(got 1"):
        resume(run)


class SecondOfTwo(ProcessGroup):
    """A process whose first one has gone on from update 2."""

    def broadcast(self, value):
        return 2


def test_a_folder_that_not_all_processes_share_is_refused(run, few_images):
    config, quiet = read_config(run), NullProgress()
    training = Training(run, config, RunOptions(), ALONE, few_images, quiet)
    inputs = prepare_inputs(training)
    second = replace(training, group=SecondOfTwo(0, 1, ALONE.device))
    with pytest.raises(StoreError, match=r"one of update 1, process 0 has 2\)"):
        open_session(second, inputs)
