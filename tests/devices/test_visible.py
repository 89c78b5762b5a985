"""`CUDA_VISIBLE_DEVICES`: which GPUs a process sees, and under which numbers."""

import pytest

from smt_nas.devices.registry import load_sheet, local_sheet, local_sheets, locate
from smt_nas.devices.visible import is_order_unsure, list_cuda_gpus
from smt_nas.errors import MeasurementError
from tests.fakes import nvml as fakes
from tests.fakes.nvml import FakeNvml, GpuState

T4 = "GPU-b7e5e1d2-0000-0000-0000-000000000001"


@pytest.mark.parametrize(
    ("visible", "found"),
    [
        ("1,0", {"cuda:0": "Tesla T4", "cuda:1": "NVIDIA L4"}),
        ("1", {"cuda:0": "Tesla T4"}),
        (" GPU-b ,7,0", {"cuda:0": "Tesla T4"}),
        ("", {}),
        ("-1", {}),
        ("1,1", {}),  # one that is named twice: CUDA shows none
        ("1,GPU-b7e5e1d2", {"cuda:0": "Tesla T4"}),  # no mixture: it ends at the second
        ("GPU-b7e5,0", {"cuda:0": "Tesla T4"}),
        ("GPU-", {}),
        ("1gpu", {"cuda:0": "Tesla T4"}),  # read as strtoul does
        (T4, {"cuda:0": "Tesla T4"}),
        ("MIG-41b36ccb-1f0e-5d3a-9e1e-77d0c5a8b0a1", {}),
        (f"MIG-{T4}/1/0", {}),
    ],
)
def test_cuda_may_hide_and_order(monkeypatch, visible, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvml = FakeNvml(GpuState(name="NVIDIA L4"), GpuState(name="Tesla T4", uuid=T4))
    assert {device: gpu.name for device, gpu in list_cuda_gpus(nvml=nvml).items()} == found
    assert locate(load_sheet("t4"), nvml=nvml) == ("cuda:0" if found else None)
    if not found:
        with pytest.raises(MeasurementError, match=r"hides it|a slice of a GPU"):
            local_sheet("cuda:0", nvml=nvml)


def test_two_gpus_whose_uuids_begin_alike_are_none(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-b")
    nvml = FakeNvml(GpuState(uuid="GPU-b1"), GpuState(uuid="GPU-b2"))
    assert list_cuda_gpus(nvml=nvml) == {}


@pytest.mark.parametrize("word", ["MIG-41b36ccb-1f0e-5d3a-9e1e-77d0c5a8b0a1", f"MIG-{T4}/1/0"])
def test_a_slice_in_the_variable_is_never_the_whole_card(monkeypatch, word):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", word)
    nvml = FakeNvml(GpuState(uuid=T4))  # its mode may be unreadable in a container
    with pytest.raises(MeasurementError, match=r"a slice of a GPU \(MIG\).*got MIG-"):
        local_sheet("cuda:0", nvml=nvml)
    assert set(local_sheets(nvml=nvml)) == {"cpu"}
    assert locate(load_sheet("a100"), nvml=nvml) is None


def test_a_card_that_is_cut_is_not_predicted():
    with pytest.raises(MeasurementError, match="a slice of a GPU"):
        local_sheet("cuda:0", nvml=fakes.mig_slice())


@pytest.mark.parametrize(
    ("names", "variables", "unsure"),
    [
        (("Tesla T4", "NVIDIA L4"), {}, True),
        (("Tesla T4", "NVIDIA L4"), {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, True),
        (("Tesla T4", "NVIDIA L4"), {"CUDA_VISIBLE_DEVICES": "1"}, True),
        (("Tesla T4", "NVIDIA L4"), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, False),
        (("Tesla T4", "NVIDIA L4"), {"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-0"}, False),
        (("Tesla T4", "NVIDIA L4"), {"CUDA_VISIBLE_DEVICES": ""}, False),
        (("Tesla T4", "Tesla T4"), {}, False),
        (("Tesla T4",), {}, False),
    ],
)
def test_cuda_may_put_the_fastest_of_unlike_gpus_first(monkeypatch, names, variables, unsure):
    for name in ("CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    gpus = FakeNvml(*(GpuState(name=name, uuid=f"GPU-{i}") for i, name in enumerate(names)))
    assert is_order_unsure(nvml=gpus) is unsure
