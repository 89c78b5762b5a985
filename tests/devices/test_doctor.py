"""The doctor: each line ok, missing or unknown, with the way out, whatever the machine is."""

from importlib import metadata

import pytest

from smt_nas.devices import doctor
from smt_nas.devices.doctor import machine_checks
from tests.fakes import machine as laid
from tests.fakes import nvml as fakes
from tests.fakes.nvml import FakeNvml, GpuState


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(doctor, "_WATCH_S", 0.01)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def root(tmp_path, monkeypatch):
    return laid.machine(monkeypatch, tmp_path)


def lines(root, nvml=None, **kwargs):
    found = machine_checks(root=root, nvml=nvml or fakes.without_driver(), **kwargs)
    for check in found:
        assert check.finding and "\n" not in check.finding + check.way_out
        assert check.state == "ok" or check.way_out or check.state == "unknown"
    assert len({c.subject for c in found}) == len(found)
    return {check.subject: check for check in found}


def states(root, nvml=None, **kwargs):
    return {name: check.state for name, check in lines(root, nvml, **kwargs).items()}


def test_a_machine_without_a_gpu(root):
    found = lines(root)
    assert found["CPU"].state == "ok" and "sheet epyc" in found["CPU"].finding
    assert found["CPU load"].state == "ok" and found["CPU clock"].state == "ok"
    assert found["CPU energy"].state == "missing"
    assert found["NVIDIA GPU"].state == "missing"
    assert "driver" in found["NVIDIA GPU"].finding and "--gpu" in found["NVIDIA GPU"].way_out
    assert not [name for name in found if name.startswith("cuda")]


def test_an_honest_gpu(root):
    laid.rapl(root, 1000)
    found = states(root, FakeNvml())
    assert found["CPU energy"] == found["NVIDIA driver"] == "ok"
    gpu = {name: state for name, state in found.items() if name.startswith("cuda:0")}
    assert set(gpu) == {
        *("cuda:0", "cuda:0 clocks", "cuda:0 throttling", "cuda:0 energy", "cuda:0 load"),
        "cuda:0 table",
    }
    assert {name for name, state in gpu.items() if state != "ok"} <= {"cuda:0 table"}


def test_a_lying_gpu(root):
    found = lines(root, fakes.lying())
    assert found["cuda:0 clocks"].state == "unknown"
    assert "cannot be true" in found["cuda:0 clocks"].finding
    assert found["cuda:0 throttling"].state == "unknown"
    assert found["cuda:0 energy"].state == "missing"
    assert states(root, fakes.frozen())["cuda:0 energy"] == "unknown"


def test_a_gpu_without_counters(root):
    found = lines(root, fakes.without_counters())
    for what in ("clocks", "throttling", "load"):
        assert found[f"cuda:0 {what}"].state == "unknown"
        assert "unseen" in found[f"cuda:0 {what}"].finding
    assert found["cuda:0 energy"].state == "missing"


def test_a_gpu_that_dies(root):
    for after in range(40):  # wherever it falls, there is a line and no exception
        nvml = fakes.dying(after=after)
        found = lines(root, nvml)
        assert any("fallen off" in c.finding or c.state != "ok" for c in found.values())


def test_a_slice(root):
    found = lines(root, fakes.mig_slice())
    assert found["cuda:0"].state == "missing" and "MIG" in found["cuda:0"].finding


def test_two_gpus(root):
    nvml = FakeNvml(GpuState(), GpuState(name="A GPU nobody listed", uuid="GPU-b"))
    found = lines(root, nvml)
    assert "sheet a100" in found["cuda:0"].finding
    assert found["cuda:1"].state == "unknown" and "calibrate --device cuda:1" in (
        found["cuda:1"].way_out
    )


def test_a_driver_without_gpu(root):
    assert "sees no GPU" in lines(root, fakes.without_gpu())["NVIDIA GPU"].finding


def test_a_gpu_that_is_hidden(root, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" in lines(root, FakeNvml())["NVIDIA GPU"].way_out


def test_a_slice_that_is_shown_alone(root, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-41b36ccb-1f0e-5d3a-9e1e-77d0c5a8b0a1")
    check = lines(root, FakeNvml())["NVIDIA GPU"]
    assert check.state == "missing" and "MIG-41b36ccb" in check.finding
    assert "whole GPU" in check.way_out


def test_a_card_that_contradicts_its_sheet(root):
    found = lines(root, FakeNvml(GpuState(name="NVIDIA GeForce RTX 4090", cores=14592)))
    assert found["cuda:0"].state == "unknown"
    assert "not what its name says: unlike rtx4090 (114 SMs, not 128)" in found["cuda:0"].finding


def test_a_driver_that_was_updated_and_not_loaded_again(root):
    finding = lines(root, fakes.mismatched())["NVIDIA GPU"].finding
    assert "reload it, or reboot" in finding and "Install" not in finding


def test_others_on_the_gpu(root):
    found = lines(root, FakeNvml(GpuState(processes=(1, 2))))
    assert found["cuda:0 load"].state == "missing" and "2 other" in found["cuda:0 load"].finding


def test_others_on_the_cpu(root, monkeypatch):
    fake, busy = laid.install(monkeypatch), iter([0.0, 1.0])

    def sample(root):
        fake.busy = next(busy)
        return real(root)

    real = doctor.sample_host
    monkeypatch.setattr(doctor, "sample_host", sample)
    assert lines(root)["CPU load"].state == "missing"


def test_a_machine_that_tells_nothing(tmp_path, monkeypatch):
    laid.install(monkeypatch, busy=None, steal=None, mhz=None, load=None, processes={})
    found = states(tmp_path)
    assert found["CPU"] == found["CPU load"] == found["CPU clock"] == "unknown"


def test_a_compiler(root, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    assert states(root, which=lambda name: None)["C++ compiler"] == "missing"
    assert states(root, which={"clang++": "/usr/bin/clang++"}.get)["C++ compiler"] == "ok"
    monkeypatch.setenv("CXX", "my-c++")
    assert "my-c++" in lines(root, which={"my-c++": "/x"}.get)["C++ compiler"].finding


def test_packages(root):
    def version(name):
        if name == "timm":
            return "1.0"
        raise metadata.PackageNotFoundError(name)

    found = lines(root, version=version)
    assert found["timm"].finding == "1.0, for networks by timm:NAME"
    assert {found[n].state for n in ("thop", "fvcore", "plotly")} == {"missing"}
    assert "thop>=0.1.1" in found["thop"].way_out  # not ultralytics-thop


def test_disk(root, tmp_path, monkeypatch):
    assert states(root, folder=tmp_path)["disk"] == "ok"
    assert states(root, folder=tmp_path / "absent")["disk"] == "unknown"
    full = type("Usage", (), {"free": 3e8})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: full)
    assert "0.3 GB" in lines(root, folder=tmp_path)["disk"].finding


def test_a_table(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/epyc_zen3_2cpu.my-space.csv").write_text("")
    assert "my-space" in lines(root)["cpu table"].finding
