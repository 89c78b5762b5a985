"""timm and torchvision come through one door, beside any torch, or say what is missing."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from smt_nas.errors import MeasurementError
from smt_nas.models import vision


@pytest.fixture
def fresh():
    """What was found before is forgotten, and what a test finds too."""
    doors = (vision.timm, vision.torchvision)
    for door in doors:
        door.cache_clear()
    yield
    for door in doors:
        door.cache_clear()


def test_timm_and_torchvision_are_imported_once():
    assert vision.timm() is vision.timm() is sys.modules["timm"]
    assert vision.torchvision() is sys.modules["torchvision"]
    assert vision.timm().is_model("resnet18")


def test_transforms_and_operators_of_torchvision_work():
    from torchvision import ops, transforms

    library = vision.torchvision()
    resized = transforms.Resize(8)(torch.ones(3, 16, 16))
    assert resized.shape == (3, 8, 8)
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]])
    assert library.ops is ops
    assert ops.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]


def test_our_suppression_drops_what_overlaps_a_better_box():
    boxes = torch.tensor([[0.0, 0, 2, 1], [1, 0, 3, 1], [2, 0, 4, 1], [0, 0, 2, 1]])
    scores = torch.tensor([0.1, 0.9, 0.2, 0.3])
    # neighbours overlap by 1/3; the last is the first again
    assert vision._nms(boxes, scores, 0.4).tolist() == [1, 3, 2]
    assert vision._nms(boxes, scores, 0.3).tolist() == [1]
    assert vision._nms(boxes[:0], scores[:0], 0.5).tolist() == []


def test_timm_alone_is_no_way_around_the_door():
    """A fresh process, in which nothing was declared before."""
    code = (
        "from smt_nas.models.vision import timm; import torch\n"
        "model = timm().create_model('resnet18').eval()\n"
        "print(model(torch.ones(1, 3, 32, 32)).shape[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "1000"), done.stderr


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_what_is_not_installed_is_told(monkeypatch, fresh, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MeasurementError, match=rf"^{name}: must be installed .*smt-nas\[train\]"):
        getattr(vision, name)()


def test_a_torchvision_that_does_not_fit_is_told_in_one_line(monkeypatch, fresh):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(vision.importlib, "import_module", broken)
    with pytest.raises(MeasurementError, match="must fit torch") as raised:
        vision.torchvision()
    assert "\n" not in str(raised.value)
    assert "and more" not in str(raised.value)
