"""Time of kernels from a data sheet: the slower of computing and moving bytes, plus a fixed cost.

    t = (compute^p + memory^p)^(1/p) + start

- a matrix product is cut into tiles, the tiles run in waves over the SMs, the last wave costs as
  much as a full one, small tiles and short sums reach less of the peak; the best tile is taken
- a dense or grouped convolution is such a product of (positions, channels out, channels in x area)
- a depthwise convolution computes outside the tensor cores
- a layer norm in eager mode gives every row a block of threads, of a fixed number of clocks
- memory moves what is read and written once, at a share of the peak that depends on the kind; what
  fits the L2 cache moves faster

The shares are `Efficiency`'s coefficients, fitted to measurements (`devices.fit`). Vectorised over
kernels; as in Williams et al., "Roofline", 2009, with the waves of Habitat (Yu et al., 2021).
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from smt_nas.conditions import Mode
from smt_nas.devices.gpu_kernels import CODE, KINDS, PRODUCTS, Floats, Kernels
from smt_nas.devices.sheet import Kind
from smt_nas.errors import ConfigError
from smt_nas.files import folders
from smt_nas.yaml import validated

FILE = "efficiency.json"
TILES = ((256, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32))  # rows x columns
_LARGEST_FAST = (
    49  # area of a channels-last depthwise kernel of half; cuDNN has no quick one beyond
)
_GEMM = np.array([k in ("linear", "matmul", "conv", "grouped") for k in KINDS])


class Hardware(NamedTuple):
    """What the roofline needs of a data sheet, for one precision.

    Attributes:
        product_tflops: dense peak of matrix products.
        vector_tflops: peak of plain fp32 arithmetic.
        bandwidth_gbps: of the memory.
        l2_mb: of the last cache.
        sms: multiprocessors; of a CPU, cores.
        tensor: matrix products run on tensor cores.
        half: activations take two bytes.
        clock_ghz: of the multiprocessors.
    """

    product_tflops: float
    vector_tflops: float
    bandwidth_gbps: float
    l2_mb: float
    sms: float
    tensor: bool
    half: bool
    clock_ghz: float = 1.5


class Times(NamedTuple):
    """Milliseconds of each kernel, (n,)."""

    total: Floats
    compute: Floats
    memory: Floats
    start: Floats


class Efficiency(BaseModel):
    """Coefficients of the roofline for one kind of device.

    Attributes:
        coefficients: by name, as `devices.roofline` uses them.
        provenance: what they were fitted on.
        typical: truth over roofline of a typical device, by mode.
        ours: truth of SMT networks over that of others, beyond what the roofline tells.
        factors: truth over roofline by device and mode, from public measurements of that device.
        intervals: log of truth over prediction that bounds the interval, by mode, for devices with
            no factor of their own: residuals of devices left out of the fit.
        own_intervals: the same for devices with a factor.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coefficients: Mapping[str, float]
    provenance: str
    typical: Mapping[Mode, float]
    factors: Mapping[str, Mapping[Mode, float]]
    intervals: Mapping[Mode, tuple[float, float]]
    own_intervals: Mapping[Mode, tuple[float, float]]
    ours: float = 1.0

    def factor(self, device: str, mode: Mode) -> float | None:
        """The device's own factor; a captured graph runs the kernels of eager mode."""
        own = self.factors.get(device, {})
        return own.get("eager" if mode == "graph" else mode)


class EfficiencyFile(BaseModel):
    """The file: a set for each kind of device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpu: Efficiency
    cpu: Efficiency


@functools.cache
def load_efficiency(kind: Kind) -> Efficiency:
    """The shipped coefficients.

    Raises:
        ConfigError: the file is missing or broken.
    """
    path = next((f / FILE for f in folders("profiles") if (f / FILE).is_file()), None)
    if path is None:
        raise ConfigError(f"profiles/{FILE}: must be there (got none). Install smt-nas again.")
    file = validated(EfficiencyFile, _read_json(path), str(path))
    return file.gpu if kind == "gpu" else file.cpu


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON ({error}). Install smt-nas again.") from error


def kernel_times(
    kernels: Kernels, hardware: Hardware, c: Mapping[str, float], compiled: bool
) -> Times:
    """Time of each kernel alone.

    Args:
        kernels: n of them.
        hardware: of the device, in the precision of `kernels`.
        c: coefficients by name.
        compiled: the kernels between products were generated by a compiler.
    """
    compute = compute_ms(kernels, hardware, c, compiled)
    memory = memory_ms(kernels, hardware, c, compiled)
    start = np.full(len(kernels), c["start_us"] * 1e-3)
    p = c["overlap"]
    largest = np.maximum(np.maximum(compute, memory), 1e-12)
    both = largest * ((compute / largest) ** p + (memory / largest) ** p) ** (1 / p)
    return Times(both + start, compute, memory, start)


def compute_ms(kernels: Kernels, hw: Hardware, c: Mapping[str, float], compiled: bool) -> Floats:
    """Time of the arithmetic alone, (n,)."""
    ms = np.zeros(len(kernels))
    unit = "tensor" if hw.tensor else "simt"
    gemm = _GEMM[kernels.kind]
    if gemm.any():
        ms[gemm] = _gemm_ms(kernels, gemm, hw, c, unit)
    attention = kernels.kind == CODE["attention"]
    if attention.any():
        exps = kernels.groups * kernels.m * kernels.n * c["softmax_macs"]
        work = (kernels.macs + exps)[attention]
        ms[attention] = 2e-9 * work / (hw.product_tflops * c[f"attention_{unit}"])
    depthwise = kernels.kind == CODE["depthwise"]
    if depthwise.any():
        ms[depthwise] = _depthwise_ms(kernels, depthwise, hw, c)
    norm = kernels.kind == CODE["norm"]
    if norm.any() and not compiled:
        clocks = c.get("norm_row_clocks", 0.0)  # a CPU has none
        ms[norm] = 1e-6 * clocks * kernels.m[norm] / (hw.sms * hw.clock_ghz)
    resize = (kernels.kind == CODE["resize"]) & (kernels.channels_last == 0)
    if resize.any() and not compiled:
        rounds = np.ceil(kernels.m / (1024 * hw.sms)) * kernels.n
        ms[resize] = 1e-6 * c["resize_ns"] * rounds[resize]
    return ms


def _depthwise_ms(
    kernels: Kernels, which: np.ndarray, hw: Hardware, c: Mapping[str, float]
) -> Floats:
    """Depthwise convolutions, outside the tensor cores, for the kernels chosen.

    Channels-last ones are cuDNN's: quick in half precision up to 7x7, else a general kernel, whose
    sums are fp32 like those of torch's own kernel for plain memory, so that both run alike in
    either precision.
    """
    area, last = kernels.kernel[which], kernels.channels_last[which] > 0
    rate = np.where(last, c["depthwise_last"], c["depthwise_first"])
    if hw.half:
        rate = np.where(last & (area <= _LARGEST_FAST), c.get("depthwise_fast", rate), rate)
    outputs = (kernels.m * kernels.n * kernels.groups)[which]
    wider = (area / 9) ** c["depthwise_area"]
    work = kernels.macs[which] * wider + c["depthwise_output_macs"] * outputs
    return np.asarray(2e-9 * work / (hw.vector_tflops * rate))


def _gemm_ms(
    kernels: Kernels, which: np.ndarray, hw: Hardware, c: Mapping[str, float], unit: str
) -> Floats:
    """Matrix products by the best of several tiles, for the kernels chosen."""
    kind = kernels.kind[which]
    m, n, k, groups = (getattr(kernels, f)[which] for f in ("m", "n", "k", "groups"))
    shares = np.array([c.get(f"{name}_{unit}", 1.0) for name in KINDS])[kind]
    rate = hw.product_tflops * shares / hw.sms  # of one SM
    if hw.half:
        odd = (np.mod(k, 8) > 0) | (np.mod(n, 8) > 0)
        rate = np.where(odd, rate * c["odd_share"], rate)
    depth = k + c[f"depth_{unit}"]
    best = np.full(len(m), np.inf)
    for rows, columns in TILES:
        waves = np.ceil(m / rows) * np.ceil(n / columns) * groups / hw.sms
        waves = np.where(waves < 64, np.ceil(waves - 1e-9), waves)
        slow = 1 + c[f"tile_{unit}"] * (1 / rows + 1 / columns) / 2
        best = np.minimum(best, waves * rows * columns * slow)
    return np.asarray(2e-9 * best * depth / rate)


def memory_ms(kernels: Kernels, hw: Hardware, c: Mapping[str, float], compiled: bool) -> Floats:
    """Time of moving bytes alone, (n,)."""
    moved = kernels.read + kernels.written + kernels.weights
    if hw.half and not compiled:  # a half convolution runs channels-last: copies there and back
        plain = (kernels.kind == CODE["conv"]) & (kernels.channels_last == 0)
        moved = np.where(plain, moved + c["relayout"] * (kernels.read + kernels.written), moved)
    cached = np.clip(c["l2_share"] * hw.l2_mb * 1e6 / np.maximum(moved, 1), 0, 1)
    moved = moved * (1 - cached * (1 - c["l2_cost"]))
    names = [f"compiled_{k}" if compiled and k not in PRODUCTS else f"bytes_{k}" for k in KINDS]
    shares = np.array([c[name] for name in names])[kernels.kind]
    return np.asarray(1e-6 * moved / (hw.bandwidth_gbps * shares))
