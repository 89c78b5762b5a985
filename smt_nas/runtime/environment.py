"""The stamp on everything measured: which machine, which versions, which switches.

Flat JSON values, None where something is not known. No host, user or path is named: it may be
published as it is.
"""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch

from smt_nas import __version__
from smt_nas.conditions import Conditions
from smt_nas.runtime.host import available_cores, read_host, sample_host
from smt_nas.runtime.nvml import Gpu, Unavailable, open_gpu
from smt_nas.runtime.torch_settings import apply_torch_settings

Stamp = dict[str, str | int | float | bool | None]
"""Flat values by name; None where something is not known."""
_CHECKOUT = Path(__file__).resolve().parents[2]
_PER_ROW = "only where the precision is tf32"  # a stamp of several conditions


def read_environment(device: str, conditions: Conditions | None = None) -> Stamp:
    """What a figure depends on beside its network and conditions.

    Args:
        device: `cpu`, `cuda` or `cuda:N`, where it was measured.
        conditions: of the measurement; None for the stamp of several.

    Returns: plain values by name, in a fixed order; those of a GPU are None for a CPU.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "smt_nas": __version__,
        "commit": _read_commit(),
        "device": device,
        "conditions": None if conditions is None else str(conditions),
        **_read_software(),
        **_read_cpu(conditions),
        **_read_gpu(device),
        **_read_switches(device, conditions),
        "batchnorm_folded": False,
    }


def _read_software() -> Stamp:
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "torch": str(torch.__version__),  # it is a subclass of its own
        "cuda": torch.version.cuda,
        "cudnn": None if cudnn is None else str(cudnn),
    }


def _read_cpu(conditions: Conditions | None) -> Stamp:
    this, threads = read_host(), None if conditions is None else conditions.threads
    return {
        "cpu": this.name or this.family,
        "cpu_threads": this.threads,
        "torch_threads": threads or available_cores(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkldnn": _uses_mkldnn(),
        "load": sample_host().load1,
    }


def _uses_mkldnn() -> bool:
    library = torch.backends.mkldnn
    return bool(library.is_available() and library.enabled)  # type: ignore[no-untyped-call]


def _read_gpu(device: str) -> Stamp:
    gpu = None if device == "cpu" else _open_gpu_of(torch.device(device))
    others = None if gpu is None else gpu.other_processes()
    return {
        "gpu": None if gpu is None else gpu.name,
        "gpu_uuid_hash": None if gpu is None else gpu.uuid_hash,
        "gpu_driver": None if gpu is None else gpu.driver,
        "gpu_power_limit_w": None if gpu is None else gpu.power_limit_w(),
        "gpu_other_processes": None if others is None else len(others),
    }


def _open_gpu_of(device: torch.device) -> Gpu | None:
    """The GPU by its UUID, as CUDA may count in another order than NVML."""
    uuid = getattr(torch.cuda.get_device_properties(device), "uuid", None)
    gpu = open_gpu(device.index or 0, uuid=None if uuid is None else str(uuid))
    return None if isinstance(gpu, Unavailable) else gpu


def _read_switches(device: str, conditions: Conditions | None) -> Stamp:
    """torch's switches as they stand during a call."""
    cuda, cudnn = torch.backends.cuda, torch.backends.cudnn
    kernels: dict[str, Callable[[], bool]] = {
        "flash": cuda.flash_sdp_enabled,
        "memory-efficient": cuda.mem_efficient_sdp_enabled,
        "cudnn": cuda.cudnn_sdp_enabled,
        "math": cuda.math_sdp_enabled,
    }
    on_gpu = device != "cpu"
    with apply_torch_settings(conditions or Conditions(), torch.device(device)):
        tf32: Stamp = {
            "tf32_matmul": cuda.matmul.allow_tf32 if on_gpu else None,
            "tf32_cudnn": cudnn.allow_tf32 if on_gpu else None,
        }
        benchmark = cudnn.benchmark if on_gpu else None
    if on_gpu and conditions is None:
        tf32 = dict.fromkeys(tf32, _PER_ROW)
    return {
        **tf32,
        "cudnn_benchmark": benchmark,
        "sdpa": ", ".join(name for name, enabled in kernels.items() if enabled()),
    }


def _read_commit() -> str | None:
    """The commit of the checkout this runs from, `-dirty` where files differ from it."""
    if not (_CHECKOUT / ".git").exists():
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    try:
        git = subprocess.run(
            command, cwd=_CHECKOUT, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):  # no git, or it does not trust the folder
        return None
    return git.stdout.strip() or None
