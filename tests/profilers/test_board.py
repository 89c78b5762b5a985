"""The GPU that torch runs on is compared with its sheet; one that torch cannot use is predicted."""

import sys
from types import SimpleNamespace

import pytest
import torch

from smt_nas.devices.registry import load_sheet
from smt_nas.errors import MeasurementError
from smt_nas.profilers.board import check_board
from smt_nas.profilers.profile import resolve_target
from smt_nas.runtime import torch_device
from tests.fakes.nvml import FakeNvml, GpuState

GPU = torch.device("cuda", 0)


def tell(monkeypatch, sms, gb, capability, name="a card"):
    """Let torch say this of its GPU."""
    told = SimpleNamespace(
        multi_processor_count=sms,
        total_memory=int(gb * 1e9),
        major=capability[0],
        minor=capability[1],
        name=name,
    )
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: told)


@pytest.fixture
def nvml(monkeypatch):
    """NVML sees one A100."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(GpuState()))


def test_a_card_that_is_its_sheet_s(monkeypatch):
    tell(monkeypatch, 108, 85.0, (8, 0))
    check_board(load_sheet("a100"), GPU)
    check_board(load_sheet("epyc"), torch.device("cpu"))


def test_another_card_of_that_number_is_refused(monkeypatch):
    tell(monkeypatch, 40, 16.1, (7, 5), "Tesla T4")
    rule = r"cuda:0: must be the NVIDIA A100.*got Tesla T4: 40 SMs, not 108, .*CUDA_DEVICE_ORDER"
    with pytest.raises(MeasurementError, match=rule):
        check_board(load_sheet("a100"), GPU)


@pytest.mark.skipif(torch.version.cuda is not None, reason="a CUDA build of torch")
@pytest.mark.parametrize("name", ["cuda:0", "gpu", "a100"])
def test_a_cpu_torch_beside_a_gpu_predicts_and_says_why(nvml, name):
    said = []
    device, where = resolve_target(name, say=said.append)
    assert (device.sheet.key, where) == ("a100_80_sxm", None)
    (line,) = said
    assert "is here and is not measured, only predicted" in line and "a CPU build" in line


def refuse(error):
    def open_device(name):
        raise error

    return open_device


def test_a_slice_is_predicted_only_where_the_whole_card_was_named(nvml, monkeypatch):
    from smt_nas.profilers import profile

    error = torch_device.SharedGpu("cuda:0: a share of a GPU cannot be measured.")
    monkeypatch.setattr(profile, "open_device", refuse(error))
    with pytest.raises(MeasurementError, match="a share of a GPU"):
        resolve_target("cuda:0")
    assert resolve_target("a100")[1] is None


@pytest.mark.skipif(torch.version.cuda is not None, reason="a CUDA build of torch")
def test_where_unlike_gpus_are_counted_otherwise_by_cuda_it_is_said(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    two = FakeNvml(GpuState(name="Tesla T4"), GpuState(uuid="GPU-b"))
    monkeypatch.setitem(sys.modules, "pynvml", two)
    said = []
    device, _ = resolve_target("cuda:0", say=said.append)
    assert device.sheet.key == "t4" and "Set CUDA_DEVICE_ORDER=PCI_BUS_ID" in said[1]
    said.clear()
    resolve_target("a100", say=said.append)  # by its model: no number is taken
    assert len(said) == 1
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    said.clear()
    resolve_target("cuda:0", say=said.append)
    assert len(said) == 1
