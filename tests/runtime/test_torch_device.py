"""Which devices there are, and what each refuses: a fake CUDA stands for GPUs."""

import warnings

import pytest
import torch

from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError
from smt_nas.runtime.torch_device import check, open_device

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def cuda(monkeypatch, *names, capability=(8, 0), error=None):
    """Let torch be a CUDA build with these GPUs."""

    def init():
        warnings.warn("CUDA initialization: found no NVIDIA driver", UserWarning, stacklevel=1)
        if error is not None:
            raise error

    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "init", init)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(names))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: names[index])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


def refusal(act, *args):
    with pytest.raises(MeasurementError) as raised:
        act(*args)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_cpu_is_always_there():
    assert open_device("cpu") == CPU


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:0", "", "mps"])
def test_a_name_that_is_no_device(device):
    assert refusal(open_device, device) == f"device: must be cpu, cuda or cuda:N (got {device!r})."


@pytest.mark.skipif(torch.version.cuda is not None, reason="a CUDA build of torch")
def test_a_cpu_build_of_torch():
    said = refusal(open_device, "cuda:0")
    assert "is a CPU build" in said
    assert "measure on cpu" in said


def test_no_driver(monkeypatch):
    cuda(monkeypatch, error=RuntimeError("Found no NVIDIA driver on your system.\nPlease check"))
    assert "no GPU can be used (RuntimeError: Found no NVIDIA driver" in refusal(
        open_device, "cuda"
    )


def test_a_driver_that_was_updated_and_not_loaded_again(monkeypatch):
    error = RuntimeError("Unexpected error from cudaGetDeviceCount(). Error 804: forward compat")
    cuda(monkeypatch, error=error)
    said = refusal(open_device, "cuda")
    assert "reload it, or reboot" in said and "Install" not in said


def test_a_driver_without_a_gpu(monkeypatch):
    cuda(monkeypatch, error=RuntimeError("No CUDA GPUs are available"))
    assert "(RuntimeError: No CUDA GPUs are available)" in refusal(open_device, "cuda:0")


def test_a_driver_that_counts_none_without_an_error(monkeypatch):
    cuda(monkeypatch)
    assert refusal(open_device, "cuda:0").endswith("no such GPU. It has none.")


def test_two_gpus(monkeypatch):
    cuda(monkeypatch, "NVIDIA A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB")
    assert open_device("cuda") == open_device("cuda:0") == GPU
    assert open_device("cuda:1") == torch.device("cuda", 1)
    said = refusal(open_device, "cuda:2")
    assert said.startswith("cuda:2: this machine has no such GPU")
    assert "cuda:0, cuda:1" in said


def test_a_slice_of_a_gpu(monkeypatch):
    cuda(monkeypatch, "NVIDIA A100-SXM4-80GB MIG 1g.10gb")
    assert "a share of a GPU cannot be measured" in refusal(open_device, "cuda:0")


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"precision": "tf32"}, "TF32 is a format of NVIDIA GPUs"),
        ({"mode": "graph"}, "a CUDA graph needs a GPU"),
        ({"mode": "graph", "train": True}, "a CUDA graph needs a GPU"),
    ],
)
def test_what_a_cpu_refuses(conditions, reason):
    said = refusal(check, Conditions(**conditions), CPU)
    assert reason in said
    assert said.startswith(f"{Conditions(**conditions)} on cpu: cannot be measured: ")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "amp-bf16"])
def test_what_a_cpu_can(precision):
    random = torch.get_rng_state()
    check(Conditions(precision=precision, threads=1), CPU)
    assert torch.equal(torch.get_rng_state(), random)
    check(Conditions(precision=precision, mode="compile", train=True), CPU)


def test_a_type_that_torch_refuses(monkeypatch):
    def refuse(self, x):
        raise RuntimeError('"conv2d" not implemented for Half\nat somewhere')

    monkeypatch.setattr(torch.nn.Flatten, "forward", refuse)
    said = refusal(check, Conditions(precision="fp16"), CPU)
    assert "torch refuses" in said
    assert "Use fp32." in said


@pytest.mark.parametrize("precision", ["tf32", "bf16", "amp-bf16"])
def test_what_a_gpu_before_ampere_refuses(monkeypatch, precision):
    cuda(monkeypatch, "Tesla T4", capability=(7, 5))
    said = refusal(check, Conditions(precision=precision), GPU)
    assert "needs compute capability 8.0, Ampere (got 7.5)" in said
    check(Conditions(precision="amp-fp16"), GPU)
    check(Conditions(precision="fp16", mode="graph"), GPU)
    cuda(monkeypatch, "NVIDIA A10", capability=(8, 6))
    check(Conditions(precision=precision), GPU)


@pytest.mark.parametrize(
    ("conditions", "reason"),
    [
        ({"mode": "graph", "train": True}, "training is not captured"),
        ({"threads": 2}, "threads are of a CPU"),
    ],
)
def test_what_every_gpu_refuses(monkeypatch, conditions, reason):
    cuda(monkeypatch, "NVIDIA A10", capability=(8, 6))
    assert reason in refusal(check, Conditions(**conditions), GPU)
