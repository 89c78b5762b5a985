"""What one network costs, by stage or block, and who counts what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import groupby
from typing import Any

from rich.table import Table

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.costs import PartCosts
from smt_nas.metrics import METRICS
from smt_nas.profilers import Count
from smt_nas.units import describe_macs

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


def costs_table(title: str, arch: Architecture, rows: Iterable[PartCosts]) -> Table:
    """Rows, then the whole network."""
    whole = costs.of(arch)
    size = arch.image_size
    table = Table(
        title=f"{title} at {size}x{size}: {describe_macs(whole.macs)}",
        title_justify="left",
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("part")
    table.add_column("kind")
    for name in _SHOWN:
        table.add_column(METRICS[name].heading, justify="right")
    table.add_column("share of MACs", justify="right")
    table.add_column("peak act. MB", justify="right")
    for row in rows:
        table.add_row(*_cells(row, whole.macs))
    table.add_section()
    table.add_row(*_cells(replace(whole, name="network", kind=""), whole.macs))
    return table


def witness_table(arch: Architecture, counts: Mapping[str, Count]) -> Table:
    """Our MACs beside those of other counters, with what each leaves out and adds."""
    ours = costs.of(arch).macs
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("counter")
    table.add_column("GMACs", justify="right")
    table.add_column("of ours", justify="right")
    table.add_column("leaves out")
    table.add_column("adds")
    table.add_row(
        "smt-nas (formula)",
        METRICS["macs"].show(ours),
        "100.0%",
        "everything that is no convolution, linear or attention product",
        "nothing",
    )
    for name, count in counts.items():
        share = f"{count.macs / ours:.1%}"
        row = (METRICS["macs"].show(count.macs), share, count.leaves_out, count.adds)
        table.add_row(f"{name} {count.version}", *row)
    return table


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
