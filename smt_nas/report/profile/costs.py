"""What a network costs, by stage or block, and who counts what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.budgets import describe_macs
from smt_nas.costs import PartCosts
from smt_nas.metrics import METRICS, PEAK_MEMORY, Unit
from smt_nas.profilers import Count, count
from smt_nas.profilers.network_loader import Network

_LEFT_OUT = "everything that is no convolution, linear or attention product"
_SHOWN = ("params", "macs", "attention_macs", "activations")


@dataclass(frozen=True)
class NetworkCounts:
    """A network and what is counted of it, for one image.

    Attributes:
        network: what it is.
        params: learned numbers; None where nothing says them.
        macs: by formula, of an SMT; else torch's count; None where that cannot count it.
        parts: costs by formula, of an SMT; empty of other networks.
        counts: by counter.
    """

    network: Network
    params: int | None
    macs: int | None
    parts: Sequence[PartCosts]
    counts: Mapping[str, Count]


def count_network(network: Network, by: str) -> NetworkCounts:
    """Count a network: by formula where it is an SMT, and by every counter.

    A deployed file is counted as the network it was written from; nothing of one that does not say.
    """
    if not network.is_countable:
        return NetworkCounts(network, None, None, (), {})
    counts = count(network)
    if network.arch is not None:
        whole = costs.of(network.arch)
        return NetworkCounts(network, whole.params, whole.macs, cost_rows(network.arch, by), counts)
    params = sum(p.numel() for p in network.build().parameters())
    return NetworkCounts(network, params, counts["torch"].macs, (), counts)


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
        rows.append(replace(_sum_parts(members), name=name, kind=kind))
    return rows


def costs_table(title: str, arch: Architecture, rows: Iterable[PartCosts]) -> Group:
    """Rows, then the whole network; a part's peak has the weights of all, as memory has."""
    whole = costs.of(arch)
    weights_mb = whole.peak_memory_mb - whole.peak_activation_mb
    size = arch.image_size
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in ("part", "kind"):
        table.add_column(heading, no_wrap=True)
    units = [choose_unit_of_parts(name, getattr(whole, name)) for name in _SHOWN]
    for unit in units:
        heading = unit.heading.replace("attn ", "attn\n").replace("activations", "activa-\ntions")
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("of\nMACs", justify="right", no_wrap=True)
    table.add_column("peak\nMB", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, whole.macs, weights_mb, units))
    table.add_section()
    last = replace(whole, name="network", kind="")
    table.add_row(*_cells(last, whole.macs, weights_mb, units))
    peak = f"peak MB: {PEAK_MEMORY}; here by formula, one image in fp32."
    return Group(Text(f"{title} at {size}x{size}: {describe_macs(whole.macs)}"), table, Text(peak))


def counter_table(c: NetworkCounts) -> Table:
    """MACs of one image by formula, where there is one, beside those of the counters."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("counter")
    macs = METRICS["macs"].choose_unit([c.macs, *(other.macs for other in c.counts.values())])
    table.add_column(macs.heading, justify="right")
    table.add_column("of ours" if c.parts else "of torch's", justify="right")
    if c.parts:
        table.add_row("smt-nas (formula)", macs.show(c.macs), "100.0%")
    for name, other in c.counts.items():
        share = "-" if other.macs is None or not c.macs else f"{other.macs / c.macs:.1%}"
        table.add_row(f"{name} {other.version}", macs.show(other.macs), share)
    return table


def counter_notes(c: NetworkCounts) -> list[str]:
    """What each counter leaves out and adds, a line each."""
    words = {"smt-nas": (_LEFT_OUT, "nothing")} if c.parts else {}
    words |= {
        k: (other.leaves_out, other.adds) for k, other in c.counts.items() if not other.reason
    }
    notes = [f"{name} leaves out {less}; adds {more}." for name, (less, more) in words.items()]
    reasons = {name: other.reason for name, other in c.counts.items() if other.reason}
    return notes + [f"{name} cannot count it: {reason}" for name, reason in reasons.items()]


def _sum_parts(parts: list[PartCosts]) -> PartCosts:
    added = {name: sum(getattr(p, name) for p in parts) for name in _SHOWN}
    return PartCosts(
        name="",
        kind="",
        **added,
        peak_activation_mb=max(p.peak_activation_mb for p in parts),
    )


def choose_unit_of_parts(name: str, whole: float) -> Unit:
    """The unit for parts of a whole, with the usual decimals: parts are smaller."""
    metric = METRICS[name]
    return replace(metric.choose_unit([whole]), digits=metric.digits)


def _cells(part: PartCosts, whole: int, weights_mb: float, units: Sequence[Unit]) -> list[str]:
    pairs = zip(units, _SHOWN, strict=True)
    shown = [unit.show(getattr(part, name)) for unit, name in pairs]
    peak = METRICS["peak_memory_mb"].show(weights_mb + part.peak_activation_mb)
    return [part.name, part.kind, *shown, f"{part.macs / whole:.1%}", peak]
