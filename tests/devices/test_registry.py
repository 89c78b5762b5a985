"""Devices by name and by presence: what this machine has, and what it calls itself."""

import shutil

import pytest

from smt_nas.devices.registry import (
    all_sheets,
    load_sheet,
    local_sheet,
    local_sheets,
    locate,
    sheet_names,
)
from smt_nas.errors import ConfigError, MeasurementError, UnknownName
from smt_nas.files import folders
from tests.fakes import machine as laid
from tests.fakes import nvml as fakes
from tests.fakes.nvml import FakeNvml, GpuState

L4 = folders("profiles")[1] / "l4.yaml"
OTHER_CPU = laid.CPU.replace(": 25", ": 6").replace("AMD EPYC", "A CPU nobody listed")


ALIKE = ("orin_nano_8gb", "orin_nano_super", "orin_nx_8gb")  # by name, SMs and memory
APART = [s for s in all_sheets() if s.kind == "gpu" and s.key not in ALIKE]


@pytest.mark.parametrize("sheet", APART, ids=lambda s: s.key)
def test_a_gpu_is_known_by_every_name_it_reports(sheet):
    for name in sheet.reported:
        nvml = FakeNvml(fakes.board(name, sheet))
        assert local_sheet("cuda:0", nvml=nvml).key == sheet.key
        assert locate(sheet, nvml=nvml) == "cuda:0"


def test_the_second_gpu():
    nvml = FakeNvml(GpuState(), GpuState(name="Tesla T4", uuid="GPU-b"))
    assert local_sheet("cuda:1", nvml=nvml).key == "t4"
    assert local_sheet("cuda:0", nvml=nvml).key == "a100_80_sxm"
    assert locate(load_sheet("t4"), nvml=nvml) == "cuda:1"
    assert locate(load_sheet("l4"), nvml=nvml) is None


def test_a_slice_is_not_the_whole_card():
    for state in (
        GpuState(name="NVIDIA A100-SXM4-80GB MIG 1g.10gb"),
        GpuState(mig=[1, 1]),
    ):
        nvml = FakeNvml(state)
        assert locate(load_sheet("a100"), nvml=nvml) is None
        assert set(local_sheets(nvml=nvml)) == {"cpu"}
        with pytest.raises(MeasurementError, match="a slice of a GPU"):
            local_sheet("cuda:0", nvml=nvml)


def test_an_unlisted_gpu_is_probed():
    state = GpuState(
        name="NVIDIA GeForce RTX 4080",
        cores=9728,
        capability=(8, 9),
        max_clocks={1: 2505, 2: 11201},
        bus_bits=256,
        limit_mw=320_000,
    )
    sheet = local_sheet("cuda:0", nvml=FakeNvml(state))
    assert sheet.probed and sheet.key == "nvidia-geforce-rtx-4080"
    assert (sheet.sms, sheet.tdp_w, sheet.fp32_flops_per_clk) == (76, 320, 256)
    assert sheet.bandwidth_gbps == pytest.approx(716.8, rel=1e-3)
    assert sheet.peak("fp32") == pytest.approx(48.7, rel=1e-2)
    assert sheet.peak("fp16") == pytest.approx(97.5, rel=1e-2)  # FP32 accumulation: half rate
    assert sheet.peak("tf32") == sheet.peak("fp16") / 2
    assert "assumed" in sheet.source("tensor_flops_per_clk_per_sm")


def test_the_probe_agrees_with_the_sheet():
    """An A100 that no sheet knew would be probed to what its data sheet says."""
    from smt_nas.devices import probe
    from smt_nas.runtime import nvml

    probed, listed = probe.probe_gpu(nvml.open_gpu(nvml=FakeNvml())), load_sheet("a100")
    for field in ("sms", "boost_ghz", "bandwidth_gbps", "tensor_flops_per_clk_per_sm", "tdp_w"):
        assert getattr(probed, field) == pytest.approx(getattr(listed, field), rel=1e-3)
    for precision in ("fp32", "tf32", "fp16", "bf16"):
        assert probed.peak(precision) == pytest.approx(listed.peak(precision), rel=1e-3)


def test_a_slice_is_not_the_device_of_the_sheet():
    assert locate(load_sheet("a100"), nvml=fakes.mig_slice()) is None


def test_what_is_probed_is_here(tmp_path, monkeypatch):
    root, nvml = (
        laid.machine(monkeypatch, tmp_path, cpus=64),
        FakeNvml(GpuState(name="NVIDIA Unheard")),
    )
    found = local_sheets(root=root, nvml=nvml)
    assert list(found) == ["cpu", "cuda:0"]
    for device, sheet in found.items():
        assert sheet.probed and locate(sheet, root=root, nvml=nvml) == device


def test_ones_own_sheet_of_what_is_here_is_here(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(L4.read_text().replace("reported: [", "reported: [NVIDIA Unheard, "))
    mine = load_sheet(str(path))
    assert locate(mine, nvml=FakeNvml(fakes.board("NVIDIA Unheard", mine))) == "cuda:0"
    assert locate(mine, nvml=FakeNvml(GpuState(name="NVIDIA Unheard"))) is None  # of other SMs
    assert locate(mine, nvml=FakeNvml()) is None


def test_a_gpu_that_does_not_say_enough_is_left_out():
    assert list(local_sheets(nvml=FakeNvml(GpuState(name="X", cores=None)))) == ["cpu"]


def test_a_volta_has_no_bf16():
    state = GpuState(name="Tesla V100-DGXS-32GB", cores=5120, capability=(7, 0))
    assert local_sheet("cuda:0", nvml=FakeNvml(state)).peak("bf16") is None


@pytest.mark.parametrize(
    ("device", "nvml", "message"),
    [
        ("cuda:0", fakes.without_driver(), "Install the NVIDIA driver"),
        ("cuda:0", fakes.without_gpu(), "sees no GPU"),
        ("cuda:7", FakeNvml(), "there is no GPU 7 here"),
        ("cuda:0", FakeNvml(GpuState(name="X", cores=None)), "Write a sheet"),
    ],
)
def test_a_device_that_is_not_there(device, nvml, message):
    with pytest.raises(MeasurementError, match=message) as caught:
        local_sheet(device, nvml=nvml)
    assert "\n" not in str(caught.value)


def test_a_listed_cpu(tmp_path, monkeypatch):
    root = laid.machine(monkeypatch, tmp_path)
    assert local_sheet("cpu", root=root).key == "epyc_zen3_2cpu"
    assert locate(load_sheet("epyc"), root=root) == "cpu"


def test_the_same_cpu_with_other_threads_is_probed(tmp_path, monkeypatch):
    root = laid.machine(monkeypatch, tmp_path, cpus=64)
    sheet = local_sheet("cpu", root=root)
    assert (sheet.probed, sheet.threads, sheet.key) == (True, 64, "amd-epyc-64cpu")
    assert sheet.peak("fp32") == pytest.approx(64 * 32 * 3.5e-3, rel=1e-3)
    assert sheet.bandwidth_gbps == 204.8 and "assumed" in sheet.source("bandwidth_gbps")
    assert locate(load_sheet("epyc"), root=root) is None


@pytest.mark.parametrize(
    ("flags", "per_clk"), [("avx2 avx512f", 64), ("avx2", 32), ("avx", 16), ("sse2", 4)]
)
def test_an_unlisted_cpu_is_probed(tmp_path, flags, per_clk, monkeypatch):
    cpu = OTHER_CPU.replace("fpu sse2 avx fma avx2", flags)
    sheet = local_sheet("cpu", root=laid.machine(monkeypatch, tmp_path, cpus=4, cpu=cpu))
    assert (sheet.probed, sheet.fp32_flops_per_clk) == (True, per_clk)
    assert sheet.name == "A CPU nobody listed" and sheet.kind == "cpu"


def test_a_machine_that_tells_nothing_is_still_a_cpu(tmp_path, monkeypatch):
    laid.install(monkeypatch, mhz=None)
    sheet = local_sheet("cpu", root=tmp_path)
    assert sheet.probed and sheet.peak("fp32") > 0 and "assumed" in sheet.source("boost_ghz")


def test_this_machine_has_a_sheet_that_can_be_named():
    sheet = local_sheet()
    assert sheet.kind == "cpu"
    assert load_sheet(sheet.key) == sheet


@pytest.fixture
def profiles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    return tmp_path / "profiles"


def test_ones_own_folder_goes_first(profiles):
    shutil.copy(L4, profiles / "l4.yaml")
    text = (profiles / "l4.yaml").read_text()
    (profiles / "l4.yaml").write_text(text.replace("value: 72", "value: 40"))
    (profiles / "mine.yaml").write_text(text.replace("[]", "[my-l4]"))
    assert load_sheet("l4").tdp_w == 40
    assert load_sheet("my-l4").key == "mine"
    assert {"mine", "l4", "t4"} <= set(sheet_names())


def test_other_data_in_the_folder_is_no_device(profiles):
    (profiles / "efficiency.yaml").write_text("curves: {linear: [1, 2]}\n")
    (profiles / "broken.yaml").write_bytes(b"\xff\xfe kind: gpu")
    (profiles / "l4.smt.csv").write_text("a,b\n")
    (profiles / "folder.yaml").mkdir()
    assert not {"efficiency", "broken", "folder", "l4.smt"} & set(sheet_names())
    with pytest.raises(UnknownName):
        load_sheet("efficiency")


def test_a_broken_sheet_names_its_file(profiles):
    (profiles / "mine.yaml").write_text("kind: gpu\n")
    with pytest.raises(ConfigError, match=r"mine.yaml: name is missing"):
        load_sheet("mine")


def test_only_sheets_are_listed():
    assert "README" not in sheet_names()
    assert all(load_sheet(name).key == name for name in sheet_names())
