"""Devices by name: their sheets, and which of them this machine has.

A sheet is a YAML file with a `kind:` line, in `./profiles`, shipped with the package, or in a
checkout; the first that bears a name counts. Other data of devices lies in the same folders.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import glob
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from smt_nas.devices.cpu_names import (
    describe_typed_cpu,
    find_typed_cpu,
    is_cpu_name,
    spell_cpu,
)
from smt_nas.devices.identity import BoardFacts, is_same_board, list_contradictions
from smt_nas.devices.names import DeviceName, is_named
from smt_nas.devices.probe import probe_cpu, probe_gpu
from smt_nas.devices.sheet import Sheet, SheetFile
from smt_nas.devices.visible import find_cuda_gpu, list_cuda_gpus
from smt_nas.errors import ConfigError, MeasurementError, SmtNasError, UnknownName
from smt_nas.files import folders, looks_like_path
from smt_nas.runtime.host import ROOT, read_board, read_host
from smt_nas.runtime.nvml import Gpu
from smt_nas.yaml import read_yaml, validated

FOLDER = "profiles"
_SHEET = re.compile(r"^kind:", re.MULTILINE)
_SUGGESTIONS = 3
_APPLE = re.compile(r"mps|(?:apple-)?m[1-9](?:-(?:pro|max|ultra))?(?:-gpu)?")


class UnknownDevice(UnknownName):
    """A device that no sheet is of; tells the nearest ones.

    Args:
        text: what the user wrote.
        nearest: keys of sheets, the nearest first.
    """

    def __init__(self, text: str, nearest: Iterable[str]) -> None:
        SmtNasError.__init__(
            self,
            f"device: must be one that is known, cpu, gpu or cuda:N (got {text!r}). Did you mean "
            f"{', '.join(nearest)}? `smt-nas devices` lists them; a path to your own .yaml works "
            "too.",
        )


class UnpredictedDevice(UnknownName):
    """An Apple M-series chip: its figures could not be checked on one, so it has no sheet."""

    def __init__(self, text: str) -> None:
        SmtNasError.__init__(
            self,
            f"device: Apple's M-series has no sheet, as none could be checked on one (got {text!r})"
            ". Measure on it: `smt-nas profile smt_t --device cpu`.",
        )


def load_sheet(name: str) -> Sheet:
    """The sheet of a device.

    Args:
        name: its key, an alias, what its maker, people or NVML call it, in any case and with any
            separators; or a path to a `.yaml`.

    Raises:
        UnknownName: no such device; tells the three nearest.
        ConfigError: the file is no sheet, or several devices bear the name.
        MeasurementError: it is a slice of a GPU, or a CPU whose clock is not known.
    """
    if looks_like_path(name):
        return _read(Path(name))
    sheet = _find_by_key(name)
    if sheet is not None:
        return sheet
    wanted = DeviceName.parse(name)
    if wanted.mig:
        raise MeasurementError(
            f"device: a share of a GPU is not predicted (got {name!r}), as others use the rest. "
            "Name the whole one."
        )
    if _APPLE.fullmatch(_fold(name)):
        raise UnpredictedDevice(name)
    known = [*all_sheets(), *(s for s in local_sheets().values() if s.probed)]
    meant = [s for s in known if is_named(wanted, _names_of(s), s.memory_gb)]
    if not meant and (typed := find_typed_cpu(name)) is not None:
        own = local_sheet("cpu")
        return own if _is_named_cpu(own, name) else describe_typed_cpu(name, typed)
    if not meant:
        kinds = {"cpu"} if is_cpu_name(name) else {"gpu", "cpu"}
        raise UnknownDevice(name, _nearest(wanted, [s for s in known if s.kind in kinds]))
    usual = _find_by_key("-".join(wanted.model))  # whom the name without its variant is of
    if len(meant) > 1 and usual not in meant:
        raise ConfigError(
            f"device: must be one device (got {name!r}, which may be "
            f"{' or '.join(s.key for s in meant)}). Name one of these."
        )
    return usual if usual is not None and usual in meant else meant[0]


def _is_named_cpu(sheet: Sheet, name: str) -> bool:
    """Whether a CPU that says what it is is the one that was named."""
    return spell_cpu(name) in {spell_cpu(reported) for reported in sheet.reported}


def sheet_names() -> list[str]:
    """Stems of the files of all sheets, sorted."""
    return sorted(_files())


def all_sheets() -> list[Sheet]:
    """Every sheet, sorted by name."""
    files = _files()
    return [_read(files[key]) for key in sorted(files)]


def tables_of(sheet: Sheet) -> list[str]:
    """Names of the spaces that a measured table of a device exists for."""
    return sorted(
        {
            path.name.removeprefix(f"{key}.").removesuffix(".csv")
            for key in sheet.table_keys
            for folder in _folders()
            for path in folder.glob(f"{glob.escape(key)}.*.csv")
        }
    )


def local_sheets(*, root: Path = ROOT, nvml: Any = None) -> dict[str, Sheet]:
    """Sheets of this machine's devices, by the name torch gives them.

    A GPU that does not say enough of itself is left out.
    """
    sheets = {"cpu": local_sheet("cpu", root=root)}
    for device in list_cuda_gpus(nvml=nvml):
        with contextlib.suppress(MeasurementError):
            sheets[device] = local_sheet(device, nvml=nvml)
    return sheets


def local_sheet(device: str = "cpu", *, root: Path = ROOT, nvml: Any = None) -> Sheet:
    """The sheet of a device of this machine; a probed one where none is listed.

    Args:
        device: as torch names it: `cpu` or `cuda:1`.
        root: where /proc and /sys hang.
        nvml: stands for the `pynvml` module.

    Raises:
        MeasurementError: this machine has no such device, or it does not say what it is.
    """
    if device == "cpu":
        return _sheet_of_host(root) or probe_cpu(read_host(root))
    gpu = find_cuda_gpu(device, nvml=nvml)
    named = [s for s in all_sheets() if s.kind == "gpu" and _reports(s, gpu.name)]
    facts = BoardFacts.of_gpu(gpu)
    agreeing = [s for s in named if not list_contradictions(s, facts)]
    if not agreeing:
        return probe_gpu(gpu, _describe_contradiction(named, facts))
    return agreeing[0] if len(named) == 1 else _choose_by_board(agreeing, device, gpu, root)


def locate(sheet: Sheet, *, root: Path = ROOT, nvml: Any = None) -> str | None:
    """`cpu` or `cuda:0` where this machine has that device, else None."""
    reported = {DeviceName.parse(name).whole for name in sheet.reported}
    for device, local in local_sheets(root=root, nvml=nvml).items():
        names = {DeviceName.parse(name).whole for name in local.reported}
        is_alike = local.threads == sheet.threads and is_same_board(sheet, local)
        if local.key == sheet.key or (reported & names and is_alike):
            return device
    return None


def _describe_contradiction(named: list[Sheet], facts: BoardFacts) -> str:
    """Why none of the sheets that bear a GPU's name is its own; empty where none bears it."""
    words = [f"{s.key} ({', '.join(list_contradictions(s, facts))})" for s in named]
    return f"it is not what its name says: unlike {' and '.join(words)}" if words else ""


def _choose_by_board(sheets: list[Sheet], device: str, gpu: Gpu, root: Path) -> Sheet:
    """Of boards of one name, the one that the system's board model names, or the user's own sheet.

    Raises:
        MeasurementError: it names none of them, or several.
    """
    files, board = _files(), read_board(root)
    own = [s for s in sheets if files[s.key].parent == Path(FOLDER)]
    if 0 < len(own) < len(sheets):
        return own[0]
    if board is not None:
        model = DeviceName.parse(board)
        sheets = [s for s in sheets if is_named(model, _names_of(s), s.memory_gb)]
    if len(sheets) == 1:
        return sheets[0]
    meant = " or ".join(s.key for s in sheets) or "none of those with a sheet"
    raise MeasurementError(
        f"device {device}: must be one device (got {gpu.name!r}{f', {board}' if board else ''}: "
        f"{meant}). Name the one it is, e.g. --device orin-nx, or the path of a sheet."
    )


def _sheet_of_host(root: Path) -> Sheet | None:
    machine = read_host(root)
    for sheet in all_sheets():
        known = any(_reports(sheet, name) for name in machine.names)
        if sheet.kind == "cpu" and known and sheet.threads == machine.threads:
            return sheet
    return None


def _reports(sheet: Sheet, name: str | None) -> bool:
    """Whether a device that calls itself `name` is the one of the sheet."""
    if name is None:
        return False
    return DeviceName.parse(name).whole in {DeviceName.parse(n).whole for n in sheet.reported}


def _find_by_key(name: str) -> Sheet | None:
    """The sheet whose key, or else whose alias, it is; the first in the order of the folders."""
    wanted, files = _fold(name), _files()
    for key in files:
        if _fold(key) == wanted:
            return _read(files[key])
    sheets = (*all_sheets(), *local_sheets().values())
    return next((s for s in sheets if wanted in map(_fold, s.names)), None)


def _fold(name: str) -> str:
    return re.sub(r"[\s_-]+", "-", name.strip().casefold())


def _names_of(sheet: Sheet) -> list[DeviceName]:
    """Everything it may be called; what a CPU reports is shared by machines of other sizes."""
    reported = sheet.reported if sheet.kind == "gpu" else ()
    return [DeviceName.parse(name) for name in (*sheet.names, sheet.name, *reported)]


def _nearest(wanted: DeviceName, sheets: Iterable[Sheet]) -> list[str]:
    """Keys of the sheets whose names are the least edits away, those of its brand first."""

    def likeness(sheet: Sheet) -> tuple[bool, float]:
        names = _names_of(sheet)
        is_brand = any(set(wanted.model[:1]) & set(name.model) for name in names)
        ratios = (
            difflib.SequenceMatcher(None, wanted.spelling, name.spelling).ratio() for name in names
        )
        return is_brand, max(ratios)

    return [s.key for s in sorted(sheets, key=likeness, reverse=True)[:_SUGGESTIONS]]


def _files() -> dict[str, Path]:
    """Sheets by stem; a folder of the user's goes before the shipped ones."""
    files: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.yaml")):
            if path.stem not in files and _is_sheet(path):
                files[path.stem] = path
    return files


def _folders() -> list[Path]:
    return [Path(FOLDER), *folders(FOLDER)]


def _is_sheet(path: Path) -> bool:
    try:
        return bool(_SHEET.search(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError):  # not ours to complain of: nobody named it
        return False


def _read(path: Path) -> Sheet:
    try:
        return _parse_file(path.resolve(), path.stat().st_mtime_ns)
    except OSError:
        return _parse_file(path, 0)


@functools.cache
def _parse_file(path: Path, mtime_ns: int) -> Sheet:
    """Read a sheet once; an edited file is another key."""
    written = validated(SheetFile, read_yaml(path), str(path))
    return validated(Sheet, written.unwrap(path.stem), str(path))
