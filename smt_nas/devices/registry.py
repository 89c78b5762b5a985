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

from smt_nas.devices import probe
from smt_nas.devices.sheet import Sheet, SheetFile
from smt_nas.errors import MeasurementError, UnknownName
from smt_nas.files import folders, looks_like_path
from smt_nas.runtime.host import ROOT, host
from smt_nas.runtime.nvml import Absent, Gpu, gpus, open_gpu
from smt_nas.yaml import read_yaml, validated

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
        return _sheet_of_host(root) or probe.cpu_sheet(host(root))
    kind, _, index = device.partition(":")
    if kind != "cuda" or not (index or "0").isdecimal():
        raise MeasurementError(f"device: must be cpu, cuda or cuda:N (got {device!r}).")
    gpu = cuda_gpus(nvml=nvml).get(f"cuda:{int(index or 0)}")
    if gpu is None:
        found = open_gpu(int(index or 0), nvml=nvml)
        reason = found.reason if isinstance(found, Absent) else "CUDA_VISIBLE_DEVICES hides it."
        raise MeasurementError(f"device {device}: {reason}")
    return _sheet_of_gpu(gpu) or probe.gpu_sheet(gpu)


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
