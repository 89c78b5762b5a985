"""Devices as tables and as plain values: the list, one sheet, what the doctor found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
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
}
_STYLES = {"ok": "green", "missing": "red", "unknown": "yellow"}


def all_devices() -> list[dict[str, Any]]:
    """Every sheet, and what else this machine has: figures, presence, tables."""
    present = local_sheets()
    sheets = {s.key: s for s in (*all_sheets(), *present.values())}
    devices = {s.key: device for device, s in reversed(present.items())}  # the first of a kind
    return [_row(sheet, devices.get(key)) for key, sheet in sheets.items()]


def _row(sheet: Sheet, device: str | None) -> dict[str, Any]:
    return {
        "name": sheet.short,
        "key": sheet.key,
        "device": sheet.name,
        "kind": sheet.kind,
        "aliases": list(sheet.aliases),
        "peak_tflops": dict(sheet.peak_tflops),
        "bandwidth_gbps": sheet.bandwidth_gbps,
        "here": device,
        "tables": tables_of(sheet.key),
        "warnings": list(sheet.warnings),
    }


def devices_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row a device."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("device", overflow="fold")
    for heading in ("FP32", "FP16", "GB/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("here", no_wrap=True)
    table.add_column("tables", overflow="fold")
    for row in rows:
        peaks = row["peak_tflops"]
        table.add_row(
            row["name"],
            row["device"].removeprefix("NVIDIA ").removeprefix("GeForce "),
            _figure(peaks.get("fp32")),
            _figure(peaks.get("fp16")),
            _figure(row["bandwidth_gbps"]),
            row["here"] or "-",
            " ".join(row["tables"]) or "-",
        )
    return table


def describe(name: str) -> dict[str, Any]:
    """One sheet, by anything `devices.resolve` takes: every figure with its source."""
    ref = resolve(name)
    sheet = ref.require_sheet()
    cells = {
        field: {
            "value": value,
            "source": sheet.sources.get(field),
            "note": sheet.notes.get(field),
        }
        for field, value in sheet.cells()
    }
    return {**_row(sheet, ref.here), "probed": sheet.probed, "figures": cells}


def sheet_lines(found: dict[str, Any]) -> Iterator[str]:
    """What stands above the table of a sheet."""
    names = ", ".join(dict.fromkeys([found["key"], *found["aliases"]]))
    yield f"{found['device']}: {names}"
    presence = f"It is {found['here']} here." if found["here"] else "It is not here."
    tables = ", ".join(found["tables"])
    yield f"{presence} " + (f"Measured for {tables}." if tables else "No table was measured on it.")
    if found["probed"]:
        yield "No data sheet of it is known: this one was made from what the machine tells."
    for warning in found["warnings"]:
        yield f"warning: {warning}"


def sheet_table(found: dict[str, Any]) -> Table:
    """A row a figure; its source is a number of `source_lines`."""
    numbers = _numbered(found)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", overflow="fold")
    table.add_column("source", overflow="fold")
    for field, cell in found["figures"].items():
        value, words = cell["value"], [f"[{numbers[cell['source']]}]"]
        words += [cell["note"]] if cell["note"] else []
        shown = value if isinstance(value, str) else _figure(value)
        table.add_row(_HEADINGS[field], shown, Text(" ".join(words)))
    return table


def source_lines(found: dict[str, Any]) -> Iterator[str]:
    """The sources of a sheet, numbered."""
    for source, number in _numbered(found).items():
        yield f"[{number}] {source or 'no source given'}"


def _numbered(found: dict[str, Any]) -> dict[str | None, int]:
    sources = dict.fromkeys(cell["source"] for cell in found["figures"].values())
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
        found = Text(check.finding)
        if check.way_out:
            found.append(f"\n-> {check.way_out}")
        table.add_row(Text(check.state, style=_STYLES[check.state]), check.subject, found)
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
