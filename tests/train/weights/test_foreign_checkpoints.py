"""Going on from a checkpoint that is of something else, or that not all processes see."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from smt_nas.errors import StoreError, TrainingError
from smt_nas.runtime.progress import NullProgress
from smt_nas.train.data.examples import Subset
from smt_nas.train.process_group import World
from smt_nas.train.run import Asked, go_on, start
from smt_nas.train.session import _check_shared
from smt_nas.train.settings import How
from tests.fakes.images import few_digits

ALONE = World(0, 1, torch.device("cpu"))
ASKED = Asked("smt_micro", "digits", epochs=1, changes=("batch_size=100",))


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(10) as few:
        yield few


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("own") / "run"
    start(ASKED, How(), run, False, ALONE, NullProgress())
    return run


def test_a_checkpoint_of_another_network_is_refused(run, tmp_path):
    other = tmp_path / "other"
    asked = replace(ASKED, changes=(*ASKED.changes, "layer_scale=1e-4"))
    start(asked, How(), other, False, ALONE, NullProgress())
    shutil.rmtree(other / "checkpoints")
    shutil.copytree(run / "checkpoints", other / "checkpoints")
    with pytest.raises(StoreError, match=r"must be of this training's network.* Remove it"):
        go_on(other, How(), ALONE, NullProgress())


def test_other_images_are_refused(run, monkeypatch, few_images):
    fewer = replace(few_images, train=Subset(few_images.train, np.arange(120)))
    monkeypatch.setattr(run, "load_source", lambda spec: fewer)
    with pytest.raises(TrainingError, match=r"images that the training began with \(got 1"):
        go_on(run, How(), ALONE, NullProgress())


def test_a_folder_that_not_all_processes_share_is_refused(run):
    _check_shared(run, 2, 2)
    with pytest.raises(StoreError, match=r"of update 0, process 0 has 2\)"):
        _check_shared(run, 2, 0)
