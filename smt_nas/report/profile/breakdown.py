"""Where the time goes, as a table."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smt_nas.profilers.breakdown import Breakdown
from smt_nas.report.profile.costs import choose_unit_of_parts

_HEADINGS = {"stage": "stage", "block": "block", "op": "operators"}


def breakdown_table(b: Breakdown) -> Group:
    """A row for each stage, block or kind of operator; then their sum."""
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column(_HEADINGS[b.by], no_wrap=True)
    macs, moved = sum(p.macs for p in b.pieces), sum(p.bytes for p in b.pieces)
    unit = choose_unit_of_parts("macs", macs)
    headings = ("ops", f"ms\n{b.provenance}", "of\ntime", unit.heading, "MB read\n+ written")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("bound by", no_wrap=True)
    whole = sum(p.ms or 0.0 for p in b.pieces)
    for p in b.pieces:
        share = "-" if p.ms is None or not whole else f"{p.ms / whole:.1%}"
        ms = "-" if p.ms is None else f"{p.ms:.3f}"
        cells = (ms, share, unit.show(p.macs), f"{p.bytes / 1e6:.1f}")
        table.add_row(p.name, str(p.ops), *cells, p.bound)
    table.add_section()
    sums = (f"{whole:.3f}", "100.0%", unit.show(macs), f"{moved / 1e6:.1f}")
    table.add_row("network", str(sum(p.ops for p in b.pieces)), *sums, "")
    return Group(Text(f"Where the time of {b.network} goes, {b.conditions}"), table)


def breakdown_notes(b: Breakdown) -> list[str]:
    """What the figures are."""
    how = (
        "each operator timed alone, eager, so a GPU's sum exceeds its latency"
        if b.provenance == "measured"
        else "by the roofline"
    )
    return [
        f"ms: {b.provenance}, {how}. MACs and bytes are of the whole batch. Bound: what limits "
        "most of a row's time by the device's sheet."
    ]
