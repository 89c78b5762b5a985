"""Every command takes the same words for a device: what people type, and what NVML says."""

import shutil
import sys
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner

from smt_nas.cli.app import app
from smt_nas.devices.registry import local_sheet
from smt_nas.errors import SmtNasError
from smt_nas.files import folders
from smt_nas.profilers import profile
from smt_nas.profilers.calibration import calibrate
from smt_nas.search.problem import objectives
from smt_nas.train.processes import process_group
from tests.fakes.devices import FakeDevice
from tests.fakes.nvml import FakeNvml, GpuState

WORDS = {  # as typed -> key of the sheet, and where it is on this machine
    "cpu": (local_sheet("cpu").key, "cpu"),
    "gpu": ("a100_80_sxm", "cuda:0"),
    "cuda": ("a100_80_sxm", "cuda:0"),
    "cuda:1": ("t4", "cuda:1"),
    "a100": ("a100_80_sxm", "cuda:0"),
    "NVIDIA A100-SXM4-80GB": ("a100_80_sxm", "cuda:0"),
    "Tesla T4": ("t4", "cuda:1"),
    "A100-SXM4-40GB": ("a100_40_sxm", None),
    "RTX 4090": ("rtx4090", None),
    "rtx4090": ("rtx4090", None),
    "NVIDIA H100 80GB HBM3": ("h100_sxm", None),
    "jetson orin nano": ("orin_nano_8gb", None),
    "mine.yaml": ("mine", None),
}
UNKNOWN = {
    "rtx 4091": ("rtx4090",),
    "jetson orin nz": ("orin_nx_16gb", "orin_agx64", "orin_nano_8gb"),
    "cuda:x": (),
}


class Reached(SmtNasError):
    """A command has found its device."""


@dataclass(frozen=True)
class Command:
    """A command that a device is named to.

    Attributes:
        words: of the command line; `{}` stands for the device.
        tells: what it has found when it is stopped: `key` of the sheet, `here`, or both.
        must_be_here: it measures or trains.
    """

    words: tuple[str, ...]
    tells: str
    must_be_here: bool = False


COMMANDS = {
    "devices show": Command(("devices", "show", "{}"), "key"),
    "profile --gpu": Command(("profile", "smt_micro", "--gpu", "{}"), "key here"),
    "search --device": Command(("search", "--space", "smt_micro", "--device", "{}"), "key here"),
    "search --budget": Command(("search", "--budget", "5ms@{}:b8:fp32"), "key here"),
    "calibrate": Command(("calibrate", "--device", "{}"), "key", True),
    "train": Command(("train", "smt_micro", "--data", "digits", "--device", "{}"), "here", True),
    "eval": Command(("eval", "absent", "--device", "{}"), "here", True),
    "bench build": Command(
        ("bench", "build", "--data", "digits", "--n", "4", "--device", "{}"), "here", True
    ),
}


@pytest.fixture(autouse=True)
def stopped(monkeypatch, tmp_path):
    """Two GPUs that NVML tells of; every command stops where it has found its device."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(folders("profiles")[1] / "l4.yaml", "mine.yaml")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    nvml = FakeNvml(GpuState(), GpuState(name="Tesla T4", uuid="GPU-b"))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)

    def profiled(networks, device, where, *rest):
        raise Reached(f"{device.sheet.key} {where}")

    def searched(ref):
        if ref.label == "default":
            return FakeDevice(ref.sheet)
        raise Reached(f"{ref.require_sheet().key} {ref.here}")

    def resolve(name=None):
        if name is None:
            return true("cpu").model_copy(update={"label": "default"})
        return true(name)

    def calibrated(sheet, *rest):
        raise Reached(sheet.key)

    def computed(device):
        raise Reached(device)

    true = objectives.resolve
    monkeypatch.setattr(profile, "profile", profiled)
    monkeypatch.setattr(profile, "open_device", lambda device: device)  # torch can use them
    monkeypatch.setattr(profile, "check_board", lambda sheet, device: None)
    monkeypatch.setattr(objectives, "load_device", searched)
    monkeypatch.setattr(objectives, "resolve", resolve)
    monkeypatch.setattr(calibrate, "conditions_of", calibrated)
    monkeypatch.setattr(process_group, "open_device", computed)


def told(command, word):
    """What the command says of the device, in one line."""
    result = CliRunner().invoke(app, [w.format(word) for w in command.words])
    if result.exit_code == 0:  # `devices show`
        return result.stdout
    (line,) = [x for x in result.stderr.splitlines() if x.startswith("error: ")]
    return line.removeprefix("error: ")


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_knows_the_device(name, word):
    command, (key, here) = COMMANDS[name], WORDS[word]
    line = told(command, word)
    if command.must_be_here and here is None:
        assert "is not in this machine (it has cpu, cuda:0, cuda:1)." in line
    elif name == "devices show":
        assert key in line and (here is None) == ("It is not here." in line)
    else:
        assert line == " ".join({"key": key, "here": str(here)}[w] for w in command.tells.split())


@pytest.mark.parametrize("word", UNKNOWN)
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_the_nearest_of_an_unknown_device(name, word):
    line = told(COMMANDS[name], word)
    if name.startswith("search") and word == "cuda:x":
        assert "a target is a device, a batch, a precision and a form, each once (got 'x')" in line
        return
    suggested = line.partition("Did you mean ")[2].partition("?")[0].split(", ")
    assert len(suggested) == 3 and tuple(suggested[: len(UNKNOWN[word])]) == UNKNOWN[word]
    assert "must be one that is known" in line and "`smt-nas devices` lists them" in line


@pytest.mark.parametrize("name", [n for n in COMMANDS if not n.startswith("search")])
def test_conditions_follow_a_device_only_where_they_count(name):
    assert "must stand alone here (got 'cuda:1:b8')" in told(COMMANDS[name], "cuda:1:b8")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_slice_of_a_gpu_is_no_device(name):
    line = told(COMMANDS[name], "NVIDIA A100-SXM4-80GB MIG 1g.10gb")
    assert "a share of a GPU is not predicted" in line


@pytest.mark.parametrize("name", COMMANDS)
def test_a_gpu_where_there_is_none_is_one_line(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(init_error=OSError("no driver")))

    def refuse(device):
        raise SmtNasError(f"{device}: no GPU can be used. Install the NVIDIA driver.")

    monkeypatch.setattr(process_group, "open_device", refuse)
    assert "Install the NVIDIA driver" in told(COMMANDS[name], "gpu")
