"""What one network costs, by stage or block, and who counts what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.costs import PartCosts
from smt_nas.metrics import METRICS
from smt_nas.profilers import Count
from smt_nas.units import describe_macs

_LEFT_OUT = "everything that is no convolution, linear or attention product"
_NARROW = {"attention_macs": "attn\nGMACs", "activations": "Mactiva-\ntions"}  # for 80 columns
_SHOWN = ("params", "macs", "attention_macs", "activations")


def cost_rows(arch: Architecture, by: str) -> list[PartCosts]:
    """The parts of a network: one row a block (`by="block"`), or one a stage and the head."""
    parts = costs.by_part(arch)
    if by == "block":
        return parts
    rows = []
    for name, group in groupby(parts, key=lambda p: ".".join(p.name.split(".")[:2])):
        members = list(group)
        mixers = [p.kind for p in members if p.kind in ("sam", "msa")]
        counts = [f"{mixers.count(k)} {k}" for k in ("sam", "msa") if k in mixers]
        kind = " + ".join(counts) or members[0].kind
        rows.append(replace(_sum(members), name=name, kind=kind))
    return rows


def costs_table(title: str, arch: Architecture, rows: Iterable[PartCosts]) -> Group:
    """Rows, then the whole network."""
    whole = costs.of(arch)
    size = arch.image_size
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in ("part", "kind"):
        table.add_column(heading, no_wrap=True)
    for name in _SHOWN:
        heading = _NARROW.get(name, METRICS[name].heading)
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("of\nMACs", justify="right", no_wrap=True)
    table.add_column("peak\nMB", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, whole.macs))
    table.add_section()
    table.add_row(*_cells(replace(whole, name="network", kind=""), whole.macs))
    return Group(Text(f"{title} at {size}x{size}: {describe_macs(whole.macs)}"), table)


def witness_table(arch: Architecture, counts: Mapping[str, Count]) -> Table:
    """Our MACs beside those of other counters."""
    ours = costs.of(arch).macs
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("counter")
    table.add_column("GMACs", justify="right")
    table.add_column("of ours", justify="right")
    table.add_row("smt-nas (formula)", METRICS["macs"].show(ours), "100.0%")
    for name, count in counts.items():
        macs = METRICS["macs"].show(count.macs)
        table.add_row(f"{name} {count.version}", macs, f"{count.macs / ours:.1%}")
    return table


def witness_notes(counts: Mapping[str, Count]) -> list[str]:
    """What each counter leaves out and adds, a line each."""
    said = {"smt-nas": (_LEFT_OUT, "nothing")}
    said |= {name: (count.leaves_out, count.adds) for name, count in counts.items()}
    return [f"{name} leaves out {less}; adds {more}." for name, (less, more) in said.items()]


def document(
    name: str, arch: Architecture, rows: Iterable[PartCosts], counts: Mapping[str, Count]
) -> dict[str, Any]:
    """The JSON of `profile` (schema 1)."""
    whole = costs.of(arch)
    return {
        "schema": 1,
        "name": name,
        "key": arch.key,
        "architecture": arch.model_dump(mode="json"),
        "values": whole.as_dict(),
        "provenance": dict.fromkeys(whole.as_dict(), "exact"),
        "parts": [{"name": r.name, "kind": r.kind, **_numbers(r)} for r in rows],
        "counters": {
            n: {
                "macs": c.macs,
                "leaves_out": c.leaves_out,
                "adds": c.adds,
                "version": c.version,
            }
            for n, c in counts.items()
        },
    }


def _sum(parts: list[PartCosts]) -> PartCosts:
    added = {name: sum(getattr(p, name) for p in parts) for name in _SHOWN}
    return PartCosts(
        name="",
        kind="",
        **added,
        peak_activation_mb=max(p.peak_activation_mb for p in parts),
    )


def _numbers(part: PartCosts) -> dict[str, float]:
    return {n: getattr(part, n) for n in (*_SHOWN, "peak_activation_mb")}


def _cells(part: PartCosts, whole: int) -> list[str]:
    shown = [METRICS[name].show(getattr(part, name)) for name in _SHOWN]
    peak = f"{part.peak_activation_mb:.1f}"
    return [part.name, part.kind, *shown, f"{part.macs / whole:.1%}", peak]
