"""Devices that predict by a formula: here or not, quick to make, changed by hand."""

from dataclasses import dataclass

import numpy as np

from smt_nas import costs
from smt_nas.devices.block_table import Latency
from smt_nas.devices.sheet import Sheet
from smt_nas.errors import MeasurementError, UnknownName
from smt_nas.search import objectives


def sheet(key, kind, **peaks):
    name = f"Fake {kind.upper()} {key}"
    return Sheet(
        key=key, name=name, kind=kind, bandwidth_gbps=100, peak_tflops=peaks or {"fp32": 1.0}
    )


@dataclass
class FakeDevice:
    """ms = (start + MACs / rate + activations / width) x batch / precision."""

    sheet: Sheet
    start_ms: float = 0.05
    macs_per_ms: float = 50e6
    activations_per_ms: float = 5e6
    spread: float = 0.2
    calls: int = 0
    basis: str = "sheet"  # of networks of a space

    def predict(self, space, genes, conditions):
        self.calls += 1
        found = costs.estimate(space, genes)
        return self._latency(found.macs, found.activations, conditions, self.basis)

    def predict_arch(self, arch, conditions):
        found = costs.of(arch)
        return self._latency(np.array([found.macs]), np.array([found.activations]), conditions)

    def _latency(self, macs, activations, conditions, basis="sheet"):
        ms = self.start_ms + macs / self.macs_per_ms + activations / self.activations_per_ms
        ms = ms * conditions.batch / (2 if "16" in conditions.precision else 1)
        low, high = ms * (1 - self.spread), ms * (1 + self.spread)
        return Latency(ms, low, high, conditions, basis, self.sheet.warnings)


def install(monkeypatch, *, gpu=False):
    """Replace this machine's devices by fakes; `a100` is known and not here. By name."""
    devices = {
        "cpu": FakeDevice(sheet("fake_cpu", "cpu", fp32=1.0)),
        "gpu": FakeDevice(sheet("fake_gpu", "gpu", fp32=9.0, fp16=20.0), macs_per_ms=3e9),
        "a100": FakeDevice(
            sheet("fake_a100", "gpu", fp32=19.5, fp16=312.0), 0.1, 2e8, activations_per_ms=9e6
        ),
    }

    def local_device(where="cpu"):
        if where != "cpu" and not gpu:
            raise MeasurementError("device cuda:0: this machine has no NVIDIA driver.")
        return devices["cpu" if where == "cpu" else "gpu"]

    def load_device(name):
        if name not in devices:
            raise UnknownName("device", name, devices)
        return devices[name]

    monkeypatch.setattr(objectives, "local_device", local_device)
    monkeypatch.setattr(objectives, "load_device", load_device)
    monkeypatch.setattr(objectives, "is_here", lambda found: None)
    return devices
