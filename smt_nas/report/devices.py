"""Devices as tables and as plain values: the list, one sheet, what the doctor found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from smt_nas.devices.doctor import Check, machine_checks
from smt_nas.devices.registry import all_sheets, local_sheets, tables_of
from smt_nas.devices.resolve import resolve
from smt_nas.devices.sheet import Sheet

_HEADINGS = {  # field -> what the reader calls it, with its unit
    "architecture": "architecture",
    "sms": "SMs",
    "threads": "threads",
    "cores": "cores",
    "boost_ghz": "boost GHz",
    "fp32_flops_per_clk": "FP32 FLOPs/clock of one",
    "tensor_flops_per_clk_per_sm": "tensor FLOPs/clock of an SM",
    "peak_tflops.fp32": "peak FP32 TFLOPS",
    "peak_tflops.tf32": "peak TF32 TFLOPS",
    "peak_tflops.fp16": "peak FP16 TFLOPS",
    "peak_tflops.bf16": "peak BF16 TFLOPS",
    "memory_gb": "memory GB",
    "bandwidth_gbps": "bandwidth GB/s",
    "l2_mb": "last cache MiB",
    "tdp_w": "power W",
    "sustained": "sustained share",
    "host": "usual host",
    "pace": "truth over prediction",
}
_STYLES = {"ok": "green", "missing": "red", "unknown": "yellow"}


@dataclass(frozen=True)
class DeviceEntry:
    """A device as it is listed.

    Attributes:
        sheet: of the device.
        here: as torch names it on this machine; None where it is not here.
        tables: names of the spaces that a table was measured for on it.
    """

    sheet: Sheet
    here: str | None
    tables: tuple[str, ...]


def list_devices() -> list[DeviceEntry]:
    """Every sheet, and what else this machine has."""
    present = local_sheets()
    sheets = {s.key: s for s in (*all_sheets(), *present.values())}
    devices = {s.key: device for device, s in reversed(present.items())}  # the first of a kind
    return [_entry(sheet, devices.get(key)) for key, sheet in sheets.items()]


def find_device(name: str) -> DeviceEntry:
    """One device, by anything `devices.resolve` takes."""
    ref = resolve(name)
    return _entry(ref.require_sheet(), ref.here)


def _entry(sheet: Sheet, here: str | None) -> DeviceEntry:
    return DeviceEntry(sheet, here, tuple(tables_of(sheet)))


def device_document(entry: DeviceEntry) -> dict[str, Any]:
    """A listed device as plain values."""
    sheet = entry.sheet
    return {
        "name": sheet.short,
        "key": sheet.key,
        "device": sheet.name,
        "kind": sheet.kind,
        "aliases": list(sheet.aliases),
        "peak_tflops": dict(sheet.peak_tflops),
        "bandwidth_gbps": sheet.bandwidth_gbps,
        "here": entry.here,
        "tables": list(entry.tables),
        "warnings": list(sheet.warnings),
    }


def devices_table(entries: Sequence[DeviceEntry]) -> Table:
    """One row a device."""
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("name", no_wrap=True)
    table.add_column("device", overflow="fold")
    for heading in ("FP32\nTFLOPS", "FP16\nTFLOPS", "\nGB/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    for entry in entries:
        sheet = entry.sheet
        own = entry.here if sheet.probed else None  # its key is long, and `cpu` means the same
        table.add_row(
            own or sheet.short,
            sheet.name.removeprefix("NVIDIA ").removeprefix("GeForce "),
            _number(sheet.peak_tflops.get("fp32")),
            _number(sheet.peak_tflops.get("fp16")),
            _number(sheet.bandwidth_gbps),
            entry.here or "-",
        )
    return table


def devices_notes(entries: Sequence[DeviceEntry]) -> list[str]:
    """What was measured on devices, and where their figures stand."""
    measured = [f"{e.sheet.short} ({', '.join(e.tables)})" for e in entries if e.tables]
    lines = [f"Spaces measured on a device: {'; '.join(measured)}."] if measured else []
    return [*lines, "Next: smt-nas devices show a100"]


def sheet_document(entry: DeviceEntry) -> dict[str, Any]:
    """A device with every figure of its sheet and its source, as plain values."""
    sheet = entry.sheet
    figures = {
        field: {
            "value": value,
            "source": sheet.sources.get(field),
            "note": sheet.notes.get(field),
        }
        for field, value in sheet.cells()
    }
    return {**device_document(entry), "probed": sheet.probed, "figures": figures}


def sheet_lines(entry: DeviceEntry) -> Iterator[str]:
    """What stands above the table of a sheet."""
    sheet, tables = entry.sheet, ", ".join(entry.tables)
    yield f"{sheet.name}: {', '.join(dict.fromkeys(sheet.names))}"
    presence = f"It is {entry.here} here." if entry.here else "It is not here."
    yield f"{presence} " + (f"Measured for {tables}." if tables else "No table was measured on it.")
    if sheet.probed:
        yield "No data sheet of it is known: this one was made from what the machine tells."
    for warning in sheet.warnings:
        yield f"warning: {warning}"


def sheet_table(entry: DeviceEntry) -> Table:
    """A row a figure; its source is a number of `source_lines`."""
    sheet, numbers = entry.sheet, _number_sources(entry.sheet)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("source", overflow="fold")
    for field, value in sheet.cells():
        words = [f"[{numbers[sheet.sources.get(field)]}]"]
        words += [sheet.notes[field]] if field in sheet.notes else []
        shown = value if isinstance(value, str) else _number(value)
        table.add_row(_HEADINGS[field], shown, Text(" ".join(words)))
    return table


def source_lines(entry: DeviceEntry) -> Iterator[str]:
    """The sources of a sheet, numbered."""
    for source, number in _number_sources(entry.sheet).items():
        yield f"[{number}] {source or 'no source given'}"


def _number_sources(sheet: Sheet) -> dict[str | None, int]:
    sources = dict.fromkeys(sheet.sources.get(field) for field, _ in sheet.cells())
    return {source: i for i, source in enumerate(sources, 1)}


def examine() -> list[Check]:
    """Everything the doctor looks at, on this machine."""
    from smt_nas.profilers.capabilities import torch_checks

    return [*machine_checks(), *torch_checks()]


def doctor_document(checks: Sequence[Check]) -> list[dict[str, Any]]:
    """Checks as plain values."""
    return [asdict(check) for check in checks]


def doctor_table(checks: Sequence[Check]) -> Table:
    """A row a check; the way out stands below what is missing."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("state", no_wrap=True)
    table.add_column("what", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:
        finding = Text(check.finding)
        if check.way_out:
            finding.append(f"\n-> {check.way_out}")
        table.add_row(Text(check.state, style=_STYLES[check.state]), check.subject, finding)
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
