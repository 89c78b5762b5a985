"""The stamp: flat, complete, and silent about whose machine it is."""

import importlib
import json
import os
import platform
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import smt_nas
from smt_nas.conditions import Conditions
from smt_nas.runtime.environment import read_environment
from smt_nas.runtime.host import available_cores
from smt_nas.runtime.nvml import open_gpu
from tests.fakes.nvml import FakeNvml, GpuState, dying, without_counters, without_driver

stamps = importlib.import_module("smt_nas.runtime.environment")
GPU = ("gpu", "gpu_uuid_hash", "gpu_driver", "gpu_power_limit_w", "gpu_other_processes")


def seen_by(monkeypatch, nvml, uuid=None):
    """Let torch tell of a GPU, and this NVML of what is there."""
    told = SimpleNamespace(uuid=uuid)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: told)
    monkeypatch.setattr(
        stamps, "open_gpu", lambda *args, uuid: open_gpu(*args, uuid=uuid, nvml=nvml)
    )


def test_it_is_flat_plain_json():
    found = read_environment("cpu")
    assert json.loads(json.dumps(found)) == found
    assert all(isinstance(v, str | int | float | bool | None) for v in found.values())
    assert found["smt_nas"] == smt_nas.__version__
    assert found["torch"] == torch.__version__
    assert found["python"] == platform.python_version()
    assert found["date"].endswith("+00:00")
    assert found["batchnorm_folded"] is False


def test_of_a_cpu_what_a_gpu_would_say_is_none():
    found = read_environment("cpu", Conditions(threads=1))
    assert [found[k] for k in (*GPU, "tf32_matmul", "cudnn_benchmark")] == [None] * 7
    assert found["torch_threads"] == 1
    assert found["conditions"] == "b1 fp32 eager 1 thread"
    assert read_environment("cpu")["torch_threads"] == available_cores()
    assert found["mkldnn"] is True
    assert "math" in found["sdpa"].split(", ")


def test_of_a_gpu(monkeypatch):
    seen_by(monkeypatch, FakeNvml(GpuState(processes=(1, os.getpid(), 2))))
    found = read_environment("cuda:0", Conditions(precision="tf32"))
    assert found["gpu"] == "NVIDIA A100-SXM4-80GB"
    assert len(found["gpu_uuid_hash"]) == 12
    assert "2600e701" not in json.dumps(found)
    assert (found["gpu_driver"], found["gpu_power_limit_w"]) == ("580.65.06", 400)
    assert found["gpu_other_processes"] == 2
    assert found["tf32_matmul"] is found["tf32_cudnn"] is found["cudnn_benchmark"] is True


def test_switches_are_those_of_a_call_and_stay_as_they_were(monkeypatch):
    seen_by(monkeypatch, FakeNvml())
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32
    assert read_environment("cuda", Conditions())["tf32_cudnn"] is False
    assert read_environment("cuda")["tf32_cudnn"] == "only where the precision is tf32"
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.allow_tf32) == before


@pytest.mark.parametrize("nvml", [without_counters(), dying(after=0)], ids=["blind", "lost"])
def test_what_a_gpu_does_not_say_is_none(monkeypatch, nvml):
    seen_by(monkeypatch, nvml)
    found = read_environment("cuda:0")
    assert found["gpu_power_limit_w"] is None
    assert found["gpu_other_processes"] is None


def test_the_gpu_is_the_one_torch_means(monkeypatch):
    slow = GpuState(name="Tesla T4", uuid="GPU-00000000-0000-0000-0000-000000000001")
    seen_by(monkeypatch, FakeNvml(slow, GpuState()), uuid=GpuState().uuid.removeprefix("GPU-"))
    assert read_environment("cuda:0")["gpu"] == "NVIDIA A100-SXM4-80GB"  # CUDA: the fastest first


def test_a_gpu_without_nvml(monkeypatch):
    seen_by(monkeypatch, without_driver())
    assert [read_environment("cuda:0")[k] for k in GPU] == [None] * 5


def test_no_path_is_named():
    text = json.dumps(read_environment("cpu"))
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text


def test_the_commit_of_a_checkout_only(monkeypatch, tmp_path):
    monkeypatch.setattr(stamps, "_CHECKOUT", tmp_path)
    assert read_environment("cpu")["commit"] is None  # installed, not checked out
    (tmp_path / ".git").mkdir()
    assert read_environment("cpu")["commit"] is None  # git finds nothing there
    (tmp_path / ".git").rmdir()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "a").write_text("1")
    for words in (["init", "-q"], ["add", "a"], ["commit", "-qm", "first"], ["tag", "v1"]):
        subprocess.run([*git, *words], cwd=tmp_path, check=True)
    clean = read_environment("cpu")["commit"]
    assert len(clean) == 12
    (tmp_path / "a").write_text("2")
    assert read_environment("cpu")["commit"] == f"{clean}-dirty"


def test_without_git_there_is_no_commit(monkeypatch):
    def missing(*args, **kwargs):
        raise FileNotFoundError("git")

    monkeypatch.setattr(stamps.subprocess, "run", missing)
    assert read_environment("cpu")["commit"] is None
