"""Trainings whose images are held: the same bits where nothing is drawn, and what is said."""

from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from smt_nas.runtime.progress import NullProgress
from smt_nas.train import loop
from smt_nas.train.data.memory.holding import HoldingOptions, hold_in_all
from smt_nas.train.data.sources import load_source, make_splits
from tests.fakes.images import few_digits
from tests.fakes.trainings import (
    ALONE,
    SHORT,
    assert_same_tensors,
    last_checkpoint,
    resume,
    start,
)

FIXED = replace(SHORT, epochs=2, changes=(*SHORT.changes, "padding=0", "flip=0", "mixup=0.2"))
COLOURS = replace(SHORT, changes=(*SHORT.changes, "color_jitter=0.2"))


class Lines(NullProgress):
    """Keeps what is said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)

    @property
    def obstacles(self):
        return [line for line in self.lines if "anew every epoch" in line]


@pytest.fixture(autouse=True, scope="module")
def few_images():
    with few_digits(10):
        yield


@pytest.fixture
def same_operators(monkeypatch):
    """Both ways take gradients by torch's operators: they differ in the images alone."""
    monkeypatch.setattr(loop, "use_fast_gradients", lambda is_fast: nullcontext())


def test_the_weights_are_those_of_images_read_one_by_one_where_nothing_is_drawn(
    tmp_path, same_operators
):
    """Mixing is no matter of the images: both draw it alike."""
    held = start(FIXED, tmp_path / "held")
    read = start(FIXED, tmp_path / "read", fast=False)
    assert_same_tensors(last_checkpoint(tmp_path / "held"), last_checkpoint(tmp_path / "read"))
    assert [row.val_loss for row in held.history] == [row.val_loss for row in read.history]


def test_a_training_may_change_the_way_in_between(tmp_path, same_operators):
    start(FIXED, tmp_path / "mixed", until_epoch=1)
    resume(tmp_path / "mixed", fast=False)
    start(FIXED, tmp_path / "held")
    assert_same_tensors(last_checkpoint(tmp_path / "held"), last_checkpoint(tmp_path / "mixed"))


@pytest.mark.parametrize("before", [True, False])
def test_a_change_of_the_way_is_said_as_what_is_drawn_is_other(tmp_path, before):
    run, words = tmp_path / "run", ("read one by one", "held in memory")
    start(FIXED, run, until_epoch=1, fast=None if before else False)
    changed, same = Lines(), Lines()
    resume(run, changed, fast=not before)
    told = f"Images were {words[before]} until there, and now are {words[not before]}"
    assert [line for line in changed.lines if line.startswith(told)]
    start(FIXED, tmp_path / "same", until_epoch=1, fast=None if before else False)
    resume(tmp_path / "same", same)  # goes on as it began
    assert not [line for line in same.lines if "until there" in line]


def test_what_cannot_be_held_is_read_and_said_in_one_line(tmp_path, same_operators):
    asked, default, plain, held = Lines(), Lines(), Lines(), Lines()
    start(COLOURS, tmp_path / "asked", listener=asked, fast=True)
    start(COLOURS, tmp_path / "default", listener=default)
    start(COLOURS, tmp_path / "plain", listener=plain, fast=False)
    start(SHORT, tmp_path / "held", listener=held)
    assert default.obstacles == [
        "Images are read anew every epoch, not held in memory: augment.color_jitter (0.2) is not "
        "done on whole batches."
    ]
    assert asked.obstacles == default.obstacles
    assert not plain.obstacles and not held.obstacles
    weights = [last_checkpoint(tmp_path / name) for name in ("default", "plain")]
    assert_same_tensors(*weights)


def test_a_finished_training_decodes_nothing(tmp_path, monkeypatch):
    from smt_nas.train.data.memory import holding

    start(SHORT, tmp_path / "run")
    monkeypatch.setattr(holding, "decode_images", lambda request: pytest.fail("decoded"))
    assert resume(tmp_path / "run").updates == 3


def test_unreadable_images_of_a_training_are_told(tmp_path):
    draw = np.random.default_rng(0)
    for c in range(2):
        for i in range(24):
            file = tmp_path / "data" / f"class{c}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file)
    broken = tmp_path / "data" / "class0" / "3.png"
    broken.write_bytes(broken.read_bytes()[:100])
    spec = str(tmp_path / "data")
    request = replace(SHORT, data=spec, changes=("batch_size=8", "warmup_epochs=0.3"))
    from smt_nas.train import run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "load_source", load_source)
        results = [start(request, tmp_path / str(fast), fast=fast) for fast in (None, False)]
    for result in results:
        assert list(result.unreadable) == [str(broken)]


class Two:
    """A process of two, of which the other cannot hold its images."""

    def __init__(self):
        self.device, self.size = ALONE.device, 2

    def run_on_all(self, run):
        return run()

    def all_gather(self, value):
        return [value, "its memory is full"]


def test_all_processes_of_a_training_hold_images_or_none_does(tmp_path):
    source = load_source("digits")
    splits = make_splits(source, 0.1, 0, 50)
    from tests.fakes.weights import TINY

    config = replace(SHORT, data="digits").to_config(TINY, source, 1)
    heard = []
    place = HoldingOptions(torch.device("cpu"), TINY.image_size, TINY.in_channels)
    what = (splits, source, config.recipe, config.seed, place, heard.append)
    assert hold_in_all(ALONE, *what) is not None
    assert not heard
    assert hold_in_all(Two(), *what) is None
    assert heard == ["Images are read anew every epoch, not held in memory: its memory is full."]
