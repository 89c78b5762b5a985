"""What torch can do here, as the doctor tells it."""

import pytest
import torch

from smt_nas.errors import MeasurementError
from smt_nas.profilers import capabilities
from smt_nas.profilers.capabilities import torch_checks


def lines():
    found = torch_checks()
    assert all(c.finding and "\n" not in c.finding for c in found)
    return {c.subject: c for c in found}


def test_the_build_and_the_cpu():
    found = lines()
    assert torch.__version__ in found["torch"].finding
    assert found["cpu precisions"].state == "ok"
    assert found["cpu precisions"].finding.startswith("fp32")
    assert "not tf32" in found["cpu precisions"].finding


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_reason_is_told():
    assert lines()["torch on a GPU"].state == "missing"


def test_with_two_gpus(monkeypatch):
    monkeypatch.setattr(capabilities, "open_device", lambda device: torch.device(device))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)

    def check(conditions, device):
        if device.type == "cuda" and conditions.precision.endswith("bf16"):
            raise MeasurementError("an old GPU")

    monkeypatch.setattr(capabilities, "check", check)
    found = lines()
    assert {"triton", "cpu precisions", "cuda:0 precisions", "cuda:1 precisions"} <= set(found)
    assert "torch on a GPU" not in found
    assert found["cuda:1 precisions"].finding == "fp32, tf32, fp16, amp-fp16; not bf16, amp-bf16"


def test_a_gpu_that_refuses_all(monkeypatch):
    def check(conditions, device):
        if device.type == "cuda":
            raise MeasurementError("no")

    monkeypatch.setattr(capabilities, "open_device", lambda device: torch.device(device))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(capabilities, "check", check)
    found = lines()
    assert found["cuda:0 precisions"].state == "missing"
    assert found["cuda:0 precisions"].finding.startswith("none; not fp32")
    assert found["cpu precisions"].state == "ok"


@pytest.mark.parametrize(
    ("state", "shown", "words"),
    [
        ("whole", "ok", "its operators load"),
        ("declared", "ok", "nms is declared for it"),
        ("absent", "missing", "not installed"),
    ],
)
def test_torchvision_has_a_line(monkeypatch, state, shown, words):
    monkeypatch.setattr(capabilities, "check_torchvision", lambda: state)
    line = lines()["torchvision"]
    assert line.state == shown and words in line.finding
    assert bool(line.way_out) == (state == "absent")
