"""timm and torchvision come through one door, beside any torch, or say what is missing."""

import importlib
import importlib.util
import subprocess
import sys

import pytest
import torch

from smt_nas.errors import MeasurementError
from smt_nas.runtime import torchvision_ops
from smt_nas.runtime.torchvision_ops import check_torchvision, import_timm, import_torchvision


@pytest.fixture
def fresh():
    """What the check found before is forgotten, and what a test makes it find too."""
    check_torchvision.cache_clear()
    yield
    check_torchvision.cache_clear()


def test_timm_and_torchvision_are_imported_once():
    assert import_timm() is import_timm() is sys.modules["timm"]
    assert import_torchvision() is sys.modules["torchvision"]
    assert import_timm().is_model("resnet18")
    assert check_torchvision() in ("whole", "declared")


def test_transforms_of_torchvision_work():
    import_torchvision()
    from torchvision import transforms

    assert transforms.Resize(8)(torch.ones(3, 16, 16)).shape == (3, 8, 8)


def test_suppression_drops_what_overlaps_a_better_box():
    nms = import_torchvision().ops.nms
    boxes = torch.tensor([[0.0, 0, 2, 1], [1, 0, 3, 1], [2, 0, 4, 1], [0, 0, 2, 1]])
    scores = torch.tensor([0.1, 0.9, 0.2, 0.3])
    # neighbours overlap by 1/3; the last is the first again
    assert nms(boxes, scores, 0.4).tolist() == [1, 3, 2]
    assert nms(boxes, scores, 0.3).tolist() == [1]
    assert nms(boxes[:0], scores[:0], 0.5).tolist() == []


@pytest.mark.skipif(
    check_torchvision() != "whole", reason="torchvision's operators do not load beside this torch"
)
def test_suppression_is_that_of_the_kernel():
    generator = torch.Generator().manual_seed(0)
    corners = 100 * torch.rand(500, 2, generator=generator)
    boxes = torch.cat([corners, corners + 5 + 40 * torch.rand(500, 2, generator=generator)], dim=1)
    scores = torch.rand(500, generator=generator)
    own = torchvision_ops._suppress_overlaps(boxes, scores, 0.5)
    assert own.tolist() == import_torchvision().ops.nms(boxes, scores, 0.5).tolist()


def test_code_of_a_user_may_import_timm_and_use_operators_by_itself(tmp_path):
    """A fresh process, in which nothing was declared before."""
    (tmp_path / "mine.py").write_text(
        "import timm, torch\n"
        "def net():\n"
        "    from torchvision import ops\n"
        "    assert ops.nms(torch.ones(1, 4), torch.ones(1), 0.5).tolist() == [0]\n"
        "    return timm.create_model('resnet18')\n"
    )
    code = (
        "from smt_nas.profilers.network_loader import load_network; import torch\n"
        "model = load_network('mine:net').build()\n"
        "print(model(torch.ones(1, 3, 32, 32)).shape[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1000"), done.stderr


@pytest.mark.parametrize("where", ["import timm\n", ""])
def test_an_evaluator_of_a_user_may_import_timm_first(tmp_path, where):
    """When its module is imported, or when it is called."""
    (tmp_path / "rates.py").write_text(
        f"{where}def fn(arch):\n    import timm\n    return float(timm.is_model('resnet18'))\n"
    )
    code = (
        "import sys; from smt_nas.evaluators.function import NamedFunction\n"
        "from smt_nas.arch import PRESETS\n"
        "evaluator = NamedFunction('rates:fn')\n"
        "(evaluation,) = evaluator.evaluate([PRESETS['smt_t']])\n"
        "print(evaluation.value, evaluation.failure)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    assert (done.returncode, done.stdout.strip()) == (0, "1.0 None"), done.stderr


@pytest.mark.parametrize("name", ["timm", "torchvision"])
def test_what_is_not_installed_is_told(monkeypatch, fresh, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MeasurementError, match=rf"^{name}: must be installed .*smt-nas\[train\]"):
        getattr(torchvision_ops, f"import_{name}")()


def test_a_torchvision_that_does_not_fit_is_told_in_one_line(monkeypatch, fresh):
    def broken(name):
        raise RuntimeError("operator torchvision::nms does not exist\nand more")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(MeasurementError, match="must fit torch") as raised:
        import_torchvision()
    assert "\n" not in str(raised.value)
    assert "and more" not in str(raised.value)
