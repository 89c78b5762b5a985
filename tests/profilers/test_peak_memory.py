"""Peak memory: what a process grows by is no less than the tensors alive, and near them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from smt_nas import PRESETS, costs
from smt_nas.conditions import Conditions
from smt_nas.errors import MeasurementError
from smt_nas.profilers import peak_memory as peak_memory_module
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.network_loader import Network, load_network
from smt_nas.profilers.peak_memory import measure_peak_memory, resident_mb

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"peak_memory_mb", "reserved_memory_mb"}
ONE_THREAD = Conditions(threads=1)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def measure_warm(network, conditions, device="cpu"):
    """Peak memory after a first run, which loads kernels."""
    call = prepare(network, conditions, device, sets=1)
    call.first()
    call.close()
    return measure_peak_memory(network, conditions, device)


ALONE = """
import json
from tests.profilers.test_peak_memory import measure_warm
from smt_nas.conditions import Conditions
from smt_nas.profilers.network_loader import load_network
found = [measure_warm(load_network("smt_t"), Conditions(batch=b, threads=1)) for b in (1, 4)]
print(json.dumps([{name: vars(figure) for name, figure in one.items()} for one in found]))
"""


def test_a_cpu_needs_the_tensors_alive_and_not_much_more():
    """In a process of its own: what other tests left in this one's heap would count too."""
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cost = costs.of(PRESETS["smt_t"])
    for batch, found in zip((1, 4), json.loads(done.stdout), strict=True):
        assert found.keys() == KEYS
        peak = found["peak_memory_mb"]
        formula = cost.params * 4 / 1e6 + cost.peak_activation_mb * batch
        assert (peak["status"], peak["provenance"], peak["reason"]) == ("ok", "measured", None)
        assert formula <= peak["value"] <= 1.5 * formula + 20


def test_a_cpu_has_no_pool():
    reserved = measure_peak_memory(load_network("smt_micro"), ONE_THREAD, "cpu")[
        "reserved_memory_mb"
    ]
    assert (reserved.value, reserved.status) == (None, "unknown")
    assert reserved.reason


def test_memory_used_before_is_not_counted():
    network = load_network("smt_t", 96)
    alone = measure_warm(network, ONE_THREAD)["peak_memory_mb"].value
    beside = torch.ones(100_000_000)  # 400 MB
    again = measure_peak_memory(network, ONE_THREAD, "cpu")["peak_memory_mb"].value
    del beside
    freed = measure_peak_memory(network, ONE_THREAD, "cpu")["peak_memory_mb"].value
    assert again == pytest.approx(alone, rel=0.3)
    assert freed == pytest.approx(alone, rel=0.3)


def test_nothing_stays():
    network = load_network("smt_t", 96)
    measure_warm(network, ONE_THREAD)
    peak_memory_module.release_freed_memory()
    before = resident_mb()
    measure_peak_memory(network, ONE_THREAD, "cpu")
    peak_memory_module.release_freed_memory()
    assert resident_mb() - before < 10


def test_a_training_step_keeps_what_backward_needs():
    network = load_network("smt_t", 96)
    step = measure_warm(network, Conditions(train=True, threads=1))["peak_memory_mb"].value
    weights = costs.of(PRESETS["smt_t"]).params * 4 / 1e6
    assert step > 3 * weights  # with gradients and momentum
    assert step > measure_warm(network, ONE_THREAD)["peak_memory_mb"].value


def test_what_cannot_run_has_the_reason():
    found = measure_peak_memory(load_network("smt_micro"), Conditions(precision="tf32"), "cpu")
    assert found.keys() == KEYS
    assert all(f.value is None and f.status == "unknown" for f in found.values())
    assert "TF32" in found["peak_memory_mb"].reason


def test_a_network_that_raises_has_the_reason():
    class Broken(torch.nn.Module):
        def forward(self, image):
            raise ValueError("no")

    broken = Network("broken", "broken", None, 32, 3, Broken)
    found = measure_peak_memory(broken, ONE_THREAD, "cpu")["peak_memory_mb"]
    assert found.value is None
    assert "ValueError: no" in found.reason


def test_a_system_without_proc(tmp_path):
    found = measure_peak_memory(load_network("smt_micro"), ONE_THREAD, "cpu", proc=tmp_path)
    assert found["peak_memory_mb"].value is None
    assert "resident memory" in found["peak_memory_mb"].reason
    assert resident_mb(tmp_path) is None


def test_a_kernel_that_does_not_reset_the_peak(tmp_path):
    (tmp_path / "status").write_text("VmRSS:\t1000 kB\nVmHWM:\t2000 kB\n")
    (tmp_path / "clear_refs").mkdir()  # cannot be written
    found = measure_peak_memory(load_network("smt_micro"), ONE_THREAD, "cpu", proc=tmp_path)
    assert "clear_refs" in found["peak_memory_mb"].reason


def test_a_peak_that_did_not_grow_is_not_zero(tmp_path):
    (tmp_path / "status").write_text("VmRSS:\t1000 kB\nVmHWM:\t1000 kB\n")
    found = measure_peak_memory(load_network("smt_micro"), ONE_THREAD, "cpu", proc=tmp_path)
    assert (found["peak_memory_mb"].value, found["peak_memory_mb"].status) == (None, "unknown")


def test_a_gpu_that_is_not_there(monkeypatch):
    def refuse(*args, **kwargs):
        raise MeasurementError("cuda:0: no GPU can be used.")

    fake_gpu(monkeypatch, [])
    monkeypatch.setattr(peak_memory_module, "prepare", refuse)
    found = measure_peak_memory(load_network("smt_micro"), Conditions(), "cuda:0")
    assert {f.reason for f in found.values()} == {"cuda:0: no GPU can be used."}


@pytest.mark.parametrize("lost", ["empty_cache", "memory_allocated", "max_memory_allocated"])
def test_a_gpu_that_falls_off_is_a_figure_with_the_reason(monkeypatch, lost):
    def refuse(*args):
        raise RuntimeError("CUDA error: unspecified launch failure\nmore")

    fake_gpu(monkeypatch, [])
    monkeypatch.setattr(torch.cuda, lost, refuse)
    found = measure_peak_memory(load_network("smt_micro"), Conditions(), "cuda:0")
    assert found.keys() == KEYS
    assert {f.reason for f in found.values()} == {
        "RuntimeError: CUDA error: unspecified launch failure more"
    }


@pytest.mark.parametrize(
    ("mode", "order"),
    [
        ("eager", ["first", "reset", "call", "close"]),
        ("graph", ["reset", "first", "call", "close"]),
    ],
)
def test_the_peak_of_a_graph_is_that_of_its_capture(monkeypatch, mode, order):
    events = []
    fake_gpu(monkeypatch, events)
    found = measure_peak_memory(load_network("smt_micro"), Conditions(mode=mode), "cuda:0")
    assert events == order
    assert (found["peak_memory_mb"].value, found["reserved_memory_mb"].value) == (2, 3)


def fake_gpu(monkeypatch, events):
    """Let torch tell of a GPU's memory, and note what happens to it."""

    class Runnable:
        first = staticmethod(lambda: events.append("first"))
        close = staticmethod(lambda: events.append("close"))

        def __call__(self):
            events.append("call")

    monkeypatch.setattr(peak_memory_module, "prepare", lambda *args, **more: Runnable())
    told = {"memory_allocated": 1e6, "memory_reserved": 1e6}
    told |= {"max_memory_allocated": 3e6, "max_memory_reserved": 4e6}
    for name, value in told.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda d: events.append("reset"))


@GPU
@pytest.mark.gpu
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_gpu_holds_weights_and_activations(mode):
    """Also where a graph replays: its activations are in memory that it took when captured."""
    found = measure_peak_memory(load_network("smt_t"), Conditions(batch=8, mode=mode), "cuda:0")
    cost = costs.of(PRESETS["smt_t"])
    formula = cost.params * 4 / 1e6 + 8 * cost.peak_activation_mb
    assert formula <= found["peak_memory_mb"].value <= found["reserved_memory_mb"].value
    assert found["peak_memory_mb"].value <= 2 * formula + 100
