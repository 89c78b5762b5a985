"""Devices by name: their sheets, and which of them this machine has.

A sheet is a YAML file with a `kind:` line, in `./profiles`, shipped with the package, or in a
checkout; the first that bears a name counts. Other data of devices lies in the same folders.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import os
import re
from pathlib import Path
from typing import Any

from smt_nas.devices.sheet import PEAKS, Peak, Sheet, SheetFile
from smt_nas.errors import MeasurementError, UnknownName
from smt_nas.files import folders, looks_like_path
from smt_nas.runtime.host import ROOT, Host, host
from smt_nas.runtime.nvml import Absent, Gpu, gpus, open_gpu
from smt_nas.yaml import read_yaml, validated

TOLD = "told by this machine"
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


def cpu_sheet(host: Host) -> Sheet:
    """The sheet of a CPU by its clock, its threads and its instruction sets."""
    ghz = host.mhz / 1e3 if host.mhz else _FALLBACK_GHZ
    name, per_clk = next((p for p in _FP32_PER_CLK if p[0] in host.flags), ("no vectors", 4))
    bandwidth = min(_GBPS_PER_THREAD * host.threads, _GBPS_AT_MOST)
    peak = host.threads * per_clk * ghz / 1e3
    clock = TOLD if host.mhz else f"assumed: this machine does not tell, {_FALLBACK_GHZ} GHz"
    none = "this machine does not tell"
    return Sheet(
        key=_key(host.name or host.family or "cpu", f"{host.threads}cpu"),
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
            "threads": TOLD,
            "boost_ghz": clock,
            "fp32_flops_per_clk": f"assumed from its instruction set ({name})",
            "peak_tflops.fp32": "computed: threads x FLOPs per clock x clock",
            **{f"peak_tflops.{p}": "not a fast format of CPUs" for p in ("tf32", "fp16", "bf16")},
            "bandwidth_gbps": f"assumed: {_GBPS_PER_THREAD:g} GB/s a thread, at most "
            f"{_GBPS_AT_MOST:g}",
            "l2_mb": TOLD if host.cache_mb else none,
            "tdp_w": none,
            "sustained": none,
        },
        probed=True,
    )


def gpu_sheet(gpu: Gpu) -> Sheet:
    """The sheet of a GPU by what NVML says of it.

    Raises:
        MeasurementError: NVML does not tell its memory bus, cores or clocks.
    """
    bandwidth, sms, capability = gpu.bandwidth_gbps(), gpu.sms(), gpu.capability()
    if bandwidth is None or sms is None or capability is None or gpu.max_sm_mhz is None:
        raise MeasurementError(
            f"device cuda:{gpu.index}: no sheet is known, and NVML does not tell enough for one "
            f"(got {gpu.name}). Write a sheet and pass its path."
        )
    ghz, memory = gpu.max_sm_mhz / 1e3, gpu.memory_mb()
    fp32_per_clk = 128 if capability in _NARROW else 256
    tensor = _tensor_per_clk(capability, gpu.name or "")
    peaks = _peaks(capability, sms * ghz / 1e3, fp32_per_clk, tensor)
    warnings = ["probed: its tensor peaks are assumed from its compute capability."]
    warnings += ["cut into slices (MIG): the figures are of the whole GPU."] if gpu.mig else []
    return Sheet(
        key=_key(gpu.name or "gpu", "mig" if gpu.mig else ""),
        name=gpu.name or "this GPU",
        kind="gpu",
        reported=(gpu.name,) if gpu.name and not gpu.mig else (),  # a slice is not that device
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
        sources=_gpu_sources(),
        probed=True,
    )


def _gpu_sources() -> dict[str, str]:
    assumed = ("fp32_flops_per_clk", "tensor_flops_per_clk_per_sm")
    return {
        **dict.fromkeys(("architecture", "sms", "boost_ghz", "memory_gb", "tdp_w"), TOLD),
        **dict.fromkeys(assumed, "assumed from its compute capability"),
        **{f"peak_tflops.{p}": "computed: SMs x FLOPs per clock x clock" for p in PEAKS},
        "bandwidth_gbps": "computed: memory bus x clock x 2",
        **dict.fromkeys(("l2_mb", "sustained"), "NVML does not tell"),
    }


def _key(*words: str) -> str:
    """A name that can stand in a budget and in a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).casefold()).strip("-")[:40].rstrip("-")


def _tensor_per_clk(capability: tuple[int, int], name: str) -> int | None:
    found = _TENSOR_PER_CLK.get(capability)
    # GeForce cards accumulate in FP32 at half the rate of the same chip sold to professionals
    halved = "GeForce" in name and capability in ((8, 6), (8, 9), (12, 0))
    return found // 2 if found and halved else found


def _peaks(
    capability: tuple[int, int], tera_sm_clocks: float, fp32: int, tensor: int | None
) -> dict[Peak, float]:
    peaks: dict[Peak, float] = {"fp32": tera_sm_clocks * fp32}
    if tensor is not None:
        peaks["fp16"] = tera_sm_clocks * tensor
        if capability >= (8, 0):
            peaks |= {"tf32": peaks["fp16"] / 2, "bf16": peaks["fp16"]}
    return peaks


FOLDER = "profiles"
_SHEET = re.compile(r"^kind:", re.MULTILINE)
_MIG = re.compile(r"\s+MIG\s.*$", re.IGNORECASE)


def load_sheet(name: str) -> Sheet:
    """The sheet of a device: a name of `sheet_names`, an alias, or a path to a `.yaml`.

    Raises:
        UnknownName: no such device; tells the nearest one.
        ConfigError: the file is no sheet.
    """
    if looks_like_path(name):
        return _read(Path(name))
    wanted = _folded(name)
    files = _files()
    for key in files:
        if _folded(key) == wanted:
            return _read(files[key])
    sheets = all_sheets()
    for sheet in (*sheets, *here().values()):
        if wanted in map(_folded, sheet.names):
            return sheet
    known, also = [s.short for s in sheets], [n for s in sheets for n in s.names]
    raise UnknownName("device", name, known, "A path to your own .yaml works too.", also)


def sheet_names() -> list[str]:
    """Stems of the files of all sheets, sorted."""
    return sorted(_files())


def all_sheets() -> list[Sheet]:
    """Every sheet, sorted by name."""
    files = _files()
    return [_read(files[key]) for key in sorted(files)]


def tables_of(key: str) -> list[str]:
    """Names of the spaces that a measured table of a device exists for."""
    found = {p for folder in _folders() for p in folder.glob(f"{glob.escape(key)}.*.csv")}
    return sorted({p.name.removeprefix(f"{key}.").removesuffix(".csv") for p in found})


def local_sheet(device: str = "cpu", *, root: Path = ROOT, nvml: Any = None) -> Sheet:
    """The sheet of a device of this machine; a probed one where none is listed.

    Args:
        device: `cpu`, `cuda` or `cuda:1`.
        root: where /proc and /sys hang.
        nvml: stands for the `pynvml` module.

    Raises:
        MeasurementError: this machine has no such device, or it does not say what it is.
    """
    if device == "cpu":
        return _sheet_of_host(root) or cpu_sheet(host(root))
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise MeasurementError(f"device: must be cpu, cuda or cuda:N (got {device!r}).")
    gpu = cuda_gpus(nvml=nvml).get(f"cuda:{int(index or 0)}")
    if gpu is None:
        found = open_gpu(int(index or 0), nvml=nvml)
        reason = found.reason if isinstance(found, Absent) else "CUDA_VISIBLE_DEVICES hides it."
        raise MeasurementError(f"device {device}: {reason}")
    return _sheet_of_gpu(gpu) or gpu_sheet(gpu)


def is_here(sheet: Sheet, *, root: Path = ROOT, nvml: Any = None) -> str | None:
    """`cpu` or `cuda:0` where this machine has that device, else None."""
    wanted = set(map(_plain, sheet.reported))
    for device, found in here(root=root, nvml=nvml).items():
        alike = wanted & set(map(_plain, found.reported)) and found.threads == sheet.threads
        if found.key == sheet.key or alike:
            return device
    return None


def here(*, root: Path = ROOT, nvml: Any = None) -> dict[str, Sheet]:
    """Sheets of this machine's devices, by the name torch gives them.

    A GPU that does not say enough of itself is left out.
    """
    found = {"cpu": local_sheet("cpu", root=root)}
    for device in cuda_gpus(nvml=nvml):
        with contextlib.suppress(MeasurementError):
            found[device] = local_sheet(device, nvml=nvml)
    return found


def cuda_gpus(*, nvml: Any = None) -> dict[str, Gpu]:
    """GPUs by the name torch gives them: `CUDA_VISIBLE_DEVICES` hides some and orders the rest.

    CUDA puts unlike GPUs the fastest first unless `CUDA_DEVICE_ORDER=PCI_BUS_ID`; NVML always goes
    by the bus, and so does this.
    """
    found, wanted = gpus(nvml=nvml), os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return {f"cuda:{gpu.index}": gpu for gpu in found}
    visible = list[Gpu]()
    for word in map(str.strip, wanted.split(",")):
        named = [g for g in found if word == str(g.index) or (word and _begins(g.uuid, word))]
        if not named:  # CUDA heeds nothing behind one it does not know
            break
        visible.append(named[0])
    return {f"cuda:{i}": gpu for i, gpu in enumerate(visible)}


def _begins(uuid: str | None, word: str) -> bool:
    return uuid is not None and uuid.startswith(word)


def _sheet_of_host(root: Path) -> Sheet | None:
    machine = host(root)
    for sheet in all_sheets():
        known = any(_reports(sheet, name) for name in machine.names)
        if sheet.kind == "cpu" and known and sheet.threads == machine.threads:
            return sheet
    return None


def _sheet_of_gpu(gpu: Gpu) -> Sheet | None:
    if gpu.mig:  # a slice is not the device of the sheet
        return None
    return next((s for s in all_sheets() if s.kind == "gpu" and _reports(s, gpu.name)), None)


def _reports(sheet: Sheet, name: str | None) -> bool:
    """Whether a device that calls itself `name` is the one of the sheet."""
    return name is not None and _plain(name) in map(_plain, sheet.reported)


def _plain(name: str) -> str:
    return _MIG.sub("", name).casefold().removeprefix("nvidia ").strip()


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.strip().casefold())


def _files() -> dict[str, Path]:
    """Sheets by stem; a folder of the user's goes before the shipped ones."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.yaml")):
            if path.stem not in found and _is_sheet(path):
                found[path.stem] = path
    return found


def _folders() -> list[Path]:
    return [Path(FOLDER), *folders(FOLDER)]


def _is_sheet(path: Path) -> bool:
    try:
        return bool(_SHEET.search(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):  # not ours to complain of: nobody named it
        return False


def _read(path: Path) -> Sheet:
    try:
        return _parsed(path.resolve(), path.stat().st_mtime_ns)
    except OSError:
        return _parsed(path, 0)


@functools.cache
def _parsed(path: Path, mtime_ns: int) -> Sheet:
    """Read a sheet once; an edited file is another key."""
    written = validated(SheetFile, read_yaml(path), str(path))
    return validated(Sheet, written.plain(path.stem), str(path))
