"""A sheet for a device that no file describes, from what the machine says of it.

What neither the processor nor NVML tells is assumed, and its source says so.
"""

from __future__ import annotations

from smt_nas.devices.cpu_families import find_cpu_family
from smt_nas.devices.names import make_key
from smt_nas.devices.sheet import PEAKS, Peak, Sheet
from smt_nas.errors import MeasurementError
from smt_nas.runtime.host import Host
from smt_nas.runtime.nvml import Gpu

_TOLD = "told by this machine"
_GBPS_PER_THREAD, _GBPS_AT_MOST = 10.0, 100.0  # a guess between a laptop and a server
_FALLBACK_GHZ = 2.0
_FP32_PER_CLK = (  # instruction set -> FP32 operations a clock of one core, two pipes of FMA each
    ("avx512f", 64),
    ("avx2", 32),
    ("avx", 16),
    ("asimd", 16),
)
_NARROW = ((7, 0), (7, 5), (8, 0))  # compute capabilities with 64 FP32 cores an SM, not 128
_TENSOR_PER_CLK = {  # compute capability -> dense FP16 operations a clock of one SM
    (7, 0): 1024,
    (7, 5): 1024,
    (8, 0): 2048,
    (8, 6): 1024,
    (8, 7): 2048,
    (8, 9): 1024,
    (9, 0): 4096,
    (10, 0): 8192,
    (12, 0): 1024,
}


def probe_cpu(host: Host) -> Sheet:
    """The sheet of a CPU by its family, its clock, its threads and its instruction sets."""
    family = find_cpu_family(host)
    if family is None:
        return _probe_unknown_cpu(host)
    cores = max(1, host.threads // host.threads_per_core)
    ghz = max(family.boost_ghz or 0.0, (host.mhz or 0.0) / 1e3) or _FALLBACK_GHZ
    peaks: dict[Peak, float] = {"fp32": cores * family.fp32_flops_per_clk * ghz / 1e3}
    has_amx = family.amx is not None and "amx_bf16" in host.flags
    if family.amx is not None and has_amx:
        peaks["bf16"] = cores * family.amx * ghz / 1e3
    most = family.bandwidth_gbps or _GBPS_AT_MOST
    source = f"{family.name}: {'; '.join(family.sources)}"
    warnings = ["probed: its bandwidth is assumed. `smt-nas calibrate --device cpu` measures."]
    warnings += ["AMX: its BF16 rate was never checked against a measurement."] if has_amx else []
    sheet = _probe_unknown_cpu(host)
    sources = {
        "architecture": source,
        "cores": _TOLD,
        "boost_ghz": source if ghz == family.boost_ghz else sheet.sources["boost_ghz"],
        "fp32_flops_per_clk": source,
        "peak_tflops.fp32": "computed: cores x FLOPs per clock x clock",
        "bandwidth_gbps": f"assumed: {_GBPS_PER_THREAD:g} GB/s a thread, at most {most:g}, of its "
        f"memory channels ({source})",
    }
    if family.pace is not None:
        sources["pace"] = source
    if has_amx:
        sources["peak_tflops.bf16"] = "computed: cores x AMX's FLOPs per clock x clock"
    return sheet.model_copy(
        update={
            "architecture": f"{family.architecture}, {family.name}",
            "cores": cores,
            "boost_ghz": ghz,
            "fp32_flops_per_clk": family.fp32_flops_per_clk,
            "peak_tflops": peaks,
            "bandwidth_gbps": min(_GBPS_PER_THREAD * host.threads, most),
            "warnings": tuple(warnings),
            "sources": {**sheet.sources, **sources},
            "pace": family.pace,
        }
    )


def _probe_unknown_cpu(host: Host) -> Sheet:
    """The sheet of a CPU of a family that is not known."""
    ghz = host.mhz / 1e3 if host.mhz else _FALLBACK_GHZ
    name, per_clk = next((p for p in _FP32_PER_CLK if p[0] in host.flags), ("no vectors", 4))
    bandwidth = min(_GBPS_PER_THREAD * host.threads, _GBPS_AT_MOST)
    peak = host.threads * per_clk * ghz / 1e3
    clock = _TOLD if host.mhz else f"assumed: this machine does not tell, {_FALLBACK_GHZ} GHz"
    none = "this machine does not tell"
    return Sheet(
        key=make_key(host.name or host.family or "cpu", f"{host.threads}cpu"),
        name=host.name or host.family or "this CPU",
        kind="cpu",
        reported=host.names,
        threads=host.threads,
        boost_ghz=ghz,
        fp32_flops_per_clk=per_clk,
        peak_tflops={"fp32": peak},
        bandwidth_gbps=bandwidth,
        l2_mb=host.cache_mb,
        warnings=("probed: its bandwidth is assumed. `smt-nas calibrate --device cpu` measures.",),
        sources={
            "architecture": none,
            "threads": _TOLD,
            "boost_ghz": clock,
            "fp32_flops_per_clk": f"assumed from its instruction set ({name})",
            "peak_tflops.fp32": "computed: threads x FLOPs per clock x clock",
            **{f"peak_tflops.{p}": "not a fast format of CPUs" for p in ("tf32", "fp16", "bf16")},
            "bandwidth_gbps": f"assumed: {_GBPS_PER_THREAD:g} GB/s a thread, at most "
            f"{_GBPS_AT_MOST:g}",
            "l2_mb": _TOLD if host.cache_mb else none,
            "tdp_w": none,
            "sustained": none,
        },
        probed=True,
    )


def probe_gpu(gpu: Gpu, contradiction: str = "") -> Sheet:
    """The sheet of a whole GPU by what NVML says of it.

    Args:
        gpu: the GPU.
        contradiction: why the sheets that bear its name are not its own; empty where none does.

    Raises:
        MeasurementError: NVML does not tell its memory bus, cores or clocks.
    """
    bandwidth, sms, capability = gpu.bandwidth_gbps(), gpu.sms(), gpu.capability()
    if bandwidth is None or sms is None or capability is None or gpu.max_sm_mhz is None:
        raise MeasurementError(
            f"device cuda:{gpu.index}: {contradiction or 'no sheet is known'}, and NVML does not "
            f"tell enough for one (got {gpu.name}). Write a sheet and pass its path."
        )
    ghz, memory = gpu.max_sm_mhz / 1e3, gpu.memory_mb()
    fp32_per_clk = 128 if capability in _NARROW else 256
    tensor = _tensor_per_clk(capability, gpu.name or "")
    peaks = _compute_peaks(capability, sms * ghz / 1e3, fp32_per_clk, tensor)
    warnings = ["probed: its tensor peaks are assumed from its compute capability."]
    warnings += [f"{gpu.name}: {contradiction}."] if contradiction else []
    return Sheet(
        key=make_key(gpu.name or "gpu", f"{sms}sm" if contradiction else ""),
        name=gpu.name or "this GPU",
        kind="gpu",
        reported=(gpu.name,) if gpu.name and not contradiction else (),
        architecture=f"compute capability {capability[0]}.{capability[1]}",
        sms=sms,
        boost_ghz=ghz,
        fp32_flops_per_clk=fp32_per_clk,
        tensor_flops_per_clk_per_sm=tensor,
        peak_tflops=peaks,
        memory_gb=memory[1] / 1e3 if memory else None,
        bandwidth_gbps=bandwidth,
        tdp_w=gpu.power_limit_w(),
        warnings=tuple(warnings),
        sources=_list_gpu_sources(),
        probed=True,
    )


def _list_gpu_sources() -> dict[str, str]:
    assumed = ("fp32_flops_per_clk", "tensor_flops_per_clk_per_sm")
    return {
        **dict.fromkeys(("architecture", "sms", "boost_ghz", "memory_gb", "tdp_w"), _TOLD),
        **dict.fromkeys(assumed, "assumed from its compute capability"),
        **{f"peak_tflops.{p}": "computed: SMs x FLOPs per clock x clock" for p in PEAKS},
        "bandwidth_gbps": "computed: memory bus x clock x 2",
        **dict.fromkeys(("l2_mb", "sustained"), "NVML does not tell"),
    }


def _tensor_per_clk(capability: tuple[int, int], name: str) -> int | None:
    rate = _TENSOR_PER_CLK.get(capability)
    # GeForce cards accumulate in FP32 at half the rate of the same chip sold to professionals
    halved = "GeForce" in name and capability in ((8, 6), (8, 9), (12, 0))
    return rate // 2 if rate and halved else rate


def _compute_peaks(
    capability: tuple[int, int], tera_sm_clocks: float, fp32: int, tensor: int | None
) -> dict[Peak, float]:
    peaks: dict[Peak, float] = {"fp32": tera_sm_clocks * fp32}
    if tensor is not None:
        peaks["fp16"] = tera_sm_clocks * tensor
        if capability >= (8, 0):
            peaks |= {"tf32": peaks["fp16"] / 2, "bf16": peaks["fp16"]}
    return peaks
