"""What this machine can measure, line by line, and what is missing for the rest. Without torch.

`smt_nas.profilers.capabilities` adds the lines that only torch can tell.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from smt_nas.devices.registry import local_sheet, local_sheets, tables_of
from smt_nas.devices.visible import (
    BY_BUS,
    ORDER,
    VISIBLE,
    is_order_unsure,
    list_cuda_gpus,
    read_visible_slice,
)
from smt_nas.errors import MeasurementError, format_count
from smt_nas.runtime.host import (
    MAX_FOREIGN,
    ROOT,
    foreign_share,
    open_rapl,
    read_host,
    sample_host,
    steal_share,
)
from smt_nas.runtime.nvml import Gpu, GpuSample, Unavailable, open_gpu

State = Literal["ok", "missing", "unknown"]

_WATCH_S = 0.5
_MIN_FREE_GB = 1.0
_WHOLE = "Measure on a whole GPU: others use the rest of it."
_PACKAGES = {  # distribution -> what it is for, how it comes
    "timm": ("networks by timm:NAME", "pip install 'smt-nas[train]'"),
    "thop": ("op counter", "pip install 'thop>=0.1.1.post2209072238,<0.2'"),
    "fvcore": ("op counter", "pip install fvcore"),
    "torchprofile": ("op counter", "pip install 'torchprofile>=0.1.0,<0.2'"),
    "plotly": ("--html pages", "pip install 'smt-nas[report]'"),
}


@dataclass(frozen=True)
class Check:
    """One line of the doctor's.

    Attributes:
        subject: what was looked at.
        state: `ok`; `missing`: something cannot be measured without it; `unknown`: it did not say.
        finding: what was found.
        way_out: what to do about it; empty where nothing need be done.
    """

    subject: str
    state: State
    finding: str
    way_out: str = ""


def machine_checks(
    *,
    root: Path = ROOT,
    nvml: Any = None,
    which: Callable[[str], str | None] = shutil.which,
    version: Callable[[str], str] = metadata.version,
    folder: Path = Path("."),
) -> list[Check]:
    """Look at CPU, GPUs, compiler, packages, disk and tables.

    Args:
        root: where /proc and /sys hang.
        nvml: stands for the `pynvml` module.
        which: finds a program.
        version: tells the version of a distribution, or raises `PackageNotFoundError`.
        folder: where results would be written.
    """
    return [
        _check_cpu(root),
        _check_load(root),
        _check_clock(root),
        _check_rapl(root),
        *_check_gpus(nvml),
        _check_compiler(which),
        *(_check_package(name, version) for name in _PACKAGES),
        _check_disk(folder),
        *_check_tables(root, nvml),
    ]


def _check_cpu(root: Path) -> Check:
    sheet = local_sheet("cpu", root=root)
    cpu = f"{sheet.name}, {sheet.threads} threads"
    if not sheet.probed:
        return Check("CPU", "ok", f"{cpu}: sheet {sheet.short}")
    return Check(
        "CPU",
        "unknown",
        f"{cpu}: no data sheet, so one is made from what it tells, with a usual bandwidth",
        "smt-nas calibrate --device cpu --space smt",
    )


def _check_load(root: Path) -> Check:
    before = sample_host(root)
    time.sleep(_WATCH_S)
    after = sample_host(root)
    foreign, steal = foreign_share(before, after), steal_share(before, after)
    if foreign is None or steal is None:
        return Check(
            "CPU load",
            "unknown",
            "/proc does not tell: nobody knows who else computes while something is timed",
            "Run on Linux with /proc mounted.",
        )
    load = f"others use {foreign:.0%} of the CPUs now, {steal:.0%} are stolen by the hypervisor"
    if max(foreign, steal) <= MAX_FOREIGN:
        return Check("CPU load", "ok", load)
    return Check("CPU load", "missing", load, "Measure in a quiet minute: samples are flagged now.")


def _check_clock(root: Path) -> Check:
    mhz = read_host(root).mhz
    if mhz is None:
        return Check("CPU clock", "unknown", "not told: a slowdown by heat would go unseen")
    return Check("CPU clock", "ok", f"{mhz:.0f} MHz at most, as far as it is told")


def _check_rapl(root: Path) -> Check:
    counters = open_rapl(root)
    if isinstance(counters, Unavailable):
        return Check("CPU energy", "missing", counters.reason, "Energy on the CPU is given as -.")
    return Check("CPU energy", "ok", "RAPL counters can be read")


def _check_gpus(nvml: Any) -> Iterator[Check]:
    first = open_gpu(nvml=nvml)
    if isinstance(first, Unavailable):
        way = "Predict instead: --gpu a100."
        yield Check("NVIDIA GPU", "missing", first.reason, way)
        return
    yield Check("NVIDIA driver", "ok" if first.driver else "unknown", first.driver or "not told")
    visible, part = list_cuda_gpus(nvml=nvml), read_visible_slice()
    if part is not None:
        yield Check("NVIDIA GPU", "missing", f"{VISIBLE} shows a slice (MIG), {part}", _WHOLE)
    elif not visible:
        yield Check("NVIDIA GPU", "missing", "none is visible", "Unset CUDA_VISIBLE_DEVICES.")
    elif is_order_unsure(nvml=nvml):
        what = "unlike GPUs are counted by the bus; CUDA may put the fastest first"
        yield Check("GPU order", "unknown", what, f"Set {ORDER}={BY_BUS}.")
    for where, gpu in visible.items():
        yield from _check_gpu(where, gpu)


def _check_gpu(where: str, gpu: Gpu) -> Iterator[Check]:
    yield _check_identity(where, gpu)
    seen = gpu.sample()
    if seen.lost:
        way = "Reset or reboot the machine."
        yield Check(f"{where} clocks", "missing", "it has fallen off the bus", way)
        return
    yield _check_clocks(where, gpu, seen)
    yield _check_answer(f"{where} throttling", seen.reasons, "a throttled run would go unseen")
    yield _check_energy(where, gpu)
    others = gpu.other_processes()
    if others:
        what = f"{format_count(len(others), 'other process')} on it"
        yield Check(f"{where} load", "missing", what, "Measure when they are gone.")
    else:
        yield _check_answer(f"{where} load", others, "others on it would go unseen")


def _check_identity(where: str, gpu: Gpu) -> Check:
    if gpu.mig:
        return Check(where, "missing", f"{gpu.name} is cut into slices (MIG)", _WHOLE)
    try:
        sheet = local_sheet(where, nvml=gpu.library)
    except MeasurementError as error:
        return Check(where, "unknown", str(error))
    if sheet.probed:
        way = f"smt-nas calibrate --device {where} --space smt"
        doubt = next((w for w in sheet.warnings if w.startswith(f"{gpu.name}: ")), None)
        finding = doubt or f"{gpu.name}: no sheet is written for it"
        return Check(where, "unknown", finding.rstrip("."), way)
    return Check(where, "ok", f"{gpu.name}: sheet {sheet.short}")


def _check_clocks(where: str, gpu: Gpu, seen: GpuSample) -> Check:
    if seen.doubts:
        doubts = f"answers that cannot be true: {', '.join(seen.doubts)}"
        return Check(f"{where} clocks", "unknown", doubts, "Update the driver.")
    if seen.sm_mhz is None or gpu.max_sm_mhz is None:
        return _check_answer(f"{where} clocks", None, "a slowdown would go unseen")
    return Check(f"{where} clocks", "ok", f"{seen.sm_mhz:.0f} of {gpu.max_sm_mhz:.0f} MHz now")


def _check_energy(where: str, gpu: Gpu) -> Check:
    before = gpu.energy_mj()
    time.sleep(_WATCH_S)  # the counter moves about every 100 ms
    after = gpu.energy_mj()
    if before is None or after is None:
        way = "Energy on it is given as -."
        return Check(f"{where} energy", "missing", "it has no counter (Volta and later do)", way)
    if after <= before:
        way = "Energy on it is given as -."
        return Check(f"{where} energy", "unknown", "its counter stands still", way)
    return Check(f"{where} energy", "ok", "its counter moves")


def _check_answer(subject: str, answer: Sequence[object] | None, otherwise: str) -> Check:
    if answer is None:
        return Check(subject, "unknown", f"the driver does not tell: {otherwise}")
    return Check(subject, "ok", ", ".join(map(str, answer)) if answer else "none now")


def _check_compiler(which: Callable[[str], str | None]) -> Check:
    for name in (os.environ.get("CXX"), "g++", "clang++"):
        if name and which(name):
            return Check("C++ compiler", "ok", f"{name}, for --form compile on the CPU")
    way = "Install g++ or clang++, or set CXX."
    return Check("C++ compiler", "missing", "none for --form compile on the CPU", way)


def _check_package(name: str, version: Callable[[str], str]) -> Check:
    purpose, way = _PACKAGES[name]
    try:
        return Check(name, "ok", f"{version(name)}, for {purpose}")
    except metadata.PackageNotFoundError:
        return Check(name, "missing", f"not installed, for {purpose}", way)


def _check_disk(folder: Path) -> Check:
    try:
        free = shutil.disk_usage(folder).free / 1e9
    except OSError as error:
        return Check("disk", "unknown", f"{error.strerror}", "Choose another folder.")
    if not os.access(folder, os.W_OK):
        return Check("disk", "missing", "this folder cannot be written", "Choose another folder.")
    if free < _MIN_FREE_GB:
        return Check("disk", "missing", f"{free:.1f} GB free here", "Free some space.")
    return Check("disk", "ok", f"{free:.0f} GB free here")


def _check_tables(root: Path, nvml: Any) -> Iterator[Check]:
    """Whether predictions for what is here come from measured tables."""
    for device, sheet in local_sheets(root=root, nvml=nvml).items():
        spaces = tables_of(sheet)
        way = f"smt-nas calibrate --device {device} --space smt"
        source = f"measured for {', '.join(spaces)}" if spaces else "none: predicted without"
        yield Check(f"{device} table", "ok" if spaces else "missing", source, "" if spaces else way)
