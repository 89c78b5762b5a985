"""A GPU is the one of a sheet by what it says of itself, not by its name alone."""

from types import SimpleNamespace

import pytest

from smt_nas.devices.identity import BoardFacts, list_contradictions
from smt_nas.devices.registry import load_sheet, local_sheet, locate
from smt_nas.errors import MeasurementError
from tests.fakes import machine as laid
from tests.fakes import nvml as fakes
from tests.fakes.nvml import FakeNvml, GpuState

ORIN = "Orin (nvgpu)"
UNTOLD = {"cores": None, "capability": None, "memory": None}


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (GpuState(name="NVIDIA GeForce RTX 4090", cores=14592), "114 SMs, not 128"),
        (
            GpuState(
                name="NVIDIA GeForce RTX 4090",
                memory=SimpleNamespace(used=0, total=51_500_000_000),
            ),
            "51.5 GB, not 24",
        ),
        (
            GpuState(name="Tesla T4", cores=2560, capability=(8, 6)),
            "compute capability 8.6, not 7.5",
        ),
    ],
)
def test_a_card_that_contradicts_its_sheet_is_probed(state, told):
    nvml = FakeNvml(state)
    sheet = local_sheet("cuda:0", nvml=nvml)
    assert sheet.probed and told in " ".join(sheet.warnings)
    named = load_sheet(state.name)
    assert sheet.key != named.key and locate(named, nvml=nvml) is None


def test_one_that_does_not_say_enough_is_refused_with_what_contradicts():
    state = GpuState(name="NVIDIA GeForce RTX 4090", cores=14592, bus_bits=None)
    with pytest.raises(MeasurementError, match=r"unlike rtx4090 \(114 SMs, not 128\)"):
        local_sheet("cuda:0", nvml=FakeNvml(state))


@pytest.mark.parametrize(
    ("name", "gb", "key"),
    [
        ("Tesla V100-SXM2-16GB", 16.9, "v100_sxm2"),
        ("Tesla V100-SXM2-32GB", 34.1, "v100_sxm2"),  # also sold with 32 GB
        ("NVIDIA A100-SXM4-40GB", 42.4, "a100_40_sxm"),
        ("NVIDIA H200", 150.8, "h200_sxm"),
        ("NVIDIA A10G", 24.1, "a10g"),
    ],
)
def test_memory_as_drivers_tell_it_is_no_contradiction(name, gb, key):
    state = fakes.board(name, load_sheet(key), memory=SimpleNamespace(used=0, total=int(gb * 1e9)))
    assert local_sheet("cuda:0", nvml=FakeNvml(state)).key == key


def test_what_is_not_said_contradicts_nothing():
    assert list_contradictions(load_sheet("a100"), BoardFacts()) == []
    state = GpuState(name="Tesla T4", **UNTOLD)
    assert local_sheet("cuda:0", nvml=FakeNvml(state)).key == "t4"


BOARDS = ["orin_agx64", "orin_agx32", "orin_nx_16gb", "orin_nx_8gb", "orin_nano_8gb"]


@pytest.mark.parametrize("key", ["orin_agx64", "orin_agx32", "orin_nx_16gb"])
def test_boards_of_one_name_are_told_apart_by_sms_and_memory(key, tmp_path, monkeypatch):
    root = laid.machine(monkeypatch, tmp_path)
    nvml = FakeNvml(fakes.board(ORIN, load_sheet(key)))
    assert local_sheet("cuda:0", root=root, nvml=nvml).key == key
    located = {k for k in BOARDS if locate(load_sheet(k), root=root, nvml=nvml)}
    assert located == {key}


@pytest.mark.parametrize(
    ("board", "facts", "key"),
    [
        ("NVIDIA Orin NX Developer Kit", "orin_nx_16gb", "orin_nx_16gb"),
        ("NVIDIA Orin NX Developer Kit", "orin_nx_8gb", "orin_nx_8gb"),
        ("NVIDIA Jetson Orin Nano Developer Kit", "orin_nano_8gb", "orin_nano_8gb"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "orin_agx64", "orin_agx64"),
        (
            "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
            "orin_nano_super",
            "orin_nano_super",
        ),
    ],
)
def test_what_they_do_not_tell_the_board_s_model_does(board, facts, key, tmp_path, monkeypatch):
    root = laid.machine(monkeypatch, tmp_path)
    laid.write(root, "proc/device-tree/model", f"{board}\0")
    nvml = FakeNvml(fakes.board(ORIN, load_sheet(facts)))
    assert local_sheet("cuda:0", root=root, nvml=nvml).key == key


@pytest.mark.parametrize("facts", ["orin_nano_8gb", "orin_nx_8gb", None])
def test_a_board_that_nothing_tells_apart_is_refused(facts, tmp_path, monkeypatch):
    root = laid.machine(monkeypatch, tmp_path)
    state = GpuState(name=ORIN, **UNTOLD) if facts is None else fakes.board(ORIN, load_sheet(facts))
    with pytest.raises(MeasurementError, match=r"orin_nano_8gb.* or .*orin_nx_8gb.*Name the one"):
        local_sheet("cuda:0", root=root, nvml=FakeNvml(state))


def test_the_model_of_another_board_is_refused(tmp_path, monkeypatch):
    root = laid.machine(monkeypatch, tmp_path)
    laid.write(root, "proc/device-tree/model", "NVIDIA Orin Something Developer Kit\0")
    nvml = FakeNvml(fakes.board(ORIN, load_sheet("orin_nano_8gb")))
    with pytest.raises(MeasurementError, match="none of those with a sheet"):
        local_sheet("cuda:0", root=root, nvml=nvml)
