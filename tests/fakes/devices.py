"""Devices that predict by a formula: here or not, quick to make, changed by hand."""

from dataclasses import dataclass

import numpy as np

from smt_nas import costs
from smt_nas.devices.block_table import Latency
from smt_nas.devices.registry import UnknownDevice
from smt_nas.devices.resolve import DeviceRef
from smt_nas.devices.sheet import Sheet
from smt_nas.search.problem import objectives

PRESENT = {"cpu": "cpu", "gpu": "cuda:0"}  # label -> as torch names it


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
    host_bound: bool | None = None

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
        bound = None
        if self.host_bound is not None:
            bound = np.full(ms.shape, self.host_bound and conditions.mode == "eager")
        return Latency(ms, low, high, conditions, basis, self.sheet.warnings, bound)


def install(monkeypatch, *, gpu=False):
    """Replace this machine's devices by fakes; `a100` is known and not here. By name."""
    devices = {
        "cpu": FakeDevice(sheet("fake_cpu", "cpu", fp32=1.0)),
        "gpu": FakeDevice(sheet("fake_gpu", "gpu", fp32=9.0, fp16=20.0), macs_per_ms=3e9),
        "a100": FakeDevice(
            sheet("fake_a100", "gpu", fp32=19.5, fp16=312.0), 0.1, 2e8, activations_per_ms=9e6
        ),
    }

    def resolve(name=None):
        label = name or ("gpu" if gpu else "cpu")
        if label not in devices:
            raise UnknownDevice(label, devices)
        if label == "gpu" and not gpu:
            reason = "device cuda:0: this machine has no NVIDIA driver."
            return DeviceRef.of_sheet(label, devices[label].sheet, "cuda:0").model_copy(
                update={"sheet": None, "reason": reason}
            )
        return DeviceRef.of_sheet(label, devices[label].sheet, PRESENT.get(label))

    def load_device(ref):
        ref.require_sheet()
        return devices[ref.label]

    monkeypatch.setattr(objectives, "resolve", resolve)
    monkeypatch.setattr(objectives, "load_device", load_device)
    return devices
