"""How evaluators agree with trained accuracy: a table, what it says, a JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from rich.table import Table

from smt_nas.accuracy.agreement import BAND, TOP, Estimate
from smt_nas.accuracy.bench.known import FOLDS
from smt_nas.accuracy.validate import BASELINES, REFERENCE, Judged, Validation
from smt_nas.report.shares import DASH, rounded

_BAND = f"±{BAND:.0%}"


def validation_table(found: Validation) -> Table:
    """A row a figure, then the baselines, then the ceiling."""
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    headings = ["tau", f"tau in\n{_BAND} MACs", "partial\ntau", f"top-{TOP}\nrecall"]
    headings += ["regret\npoints", "tau in\nlargest", "ms a\nnetwork"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.rows:
        if row.name == REFERENCE:
            table.add_section()
        table.add_row(row.name, *_cells(row), style="dim" if row.name in BASELINES else None)
    if found.ceiling is not None:
        table.add_section()
        c = found.ceiling
        table.add_row("seed to seed", _ranged(c.kendall), _ranged(c.in_band) + " ", *[""] * 5)
    return table


def _cells(row: Judged) -> tuple[str, ...]:
    a = row.agreement
    return (
        _ranged(a.kendall),
        _ranged(a.in_band) + _mark(row),
        rounded(a.partial.value, 2),
        rounded(a.top_recall.value, 2),
        rounded(a.regret.value, 2),
        rounded(row.largest.kendall.value, 2),
        DASH if row.seconds is None else f"{1e3 * row.seconds:.3g}",
    )


def _ranged(e: Estimate) -> str:
    if e.value is None:
        return DASH
    if e.low is None or e.high is None:
        return f"{e.value:.2f}"
    return f"{e.value:.2f} ±{(e.high - e.low) / 2:.2f}"


def _mark(row: Judged) -> str:
    """Whether it orders networks of equal MACs better or worse than #params, beyond doubt."""
    if row.above is None or row.above.in_band.low is None or row.above.in_band.high is None:
        return " "
    return "+" if row.above.in_band.low > 0 else "-" if row.above.in_band.high < 0 else " "


def validation_notes(found: Validation) -> list[str]:
    """What the table is of, and what follows from it."""
    known = found.known
    lines = [
        f"On {found.bench.name}: {len(known.archs)} networks, trained top-1 "
        f"{known.top1.min():.1f} to {known.top1.max():.1f} %, mean of its seeds for each; ±: half "
        "of a 95 % bootstrap interval."
    ]
    if any(row.learnt for row in found.rows):
        lines.append(
            f"What learnt from the bench is judged on networks held out, in {FOLDS} folds; its "
            "largest quarter by MACs after learning from the other three."
        )
    lines.append(
        f"In {_BAND} MACs: pairs of networks of about equal MACs, which a size alone cannot order. "
        f"+ or -: above or below {REFERENCE} there, the interval of the difference clear of 0."
    )
    lines += [_verdict(row) for row in found.rows if row.name not in BASELINES]
    lines += [
        f"{row.name}: failed on {row.agreement.failed} networks, which are left out."
        for row in found.rows
        if row.agreement.failed
    ]
    if found.ceiling is None:
        lines.append("No ceiling: too few networks were trained with two seeds.")
    else:
        lines.append(
            f"Seed to seed: what training once more would score, on {found.ceiling.n} networks; "
            "a figure that knows the expected accuracy may score a little more."
        )
    return lines


def _verdict(row: Judged) -> str:
    name = row.name.strip()
    if row.above is None or row.above.in_band.value is None:
        return f"{name}: cannot be compared with {REFERENCE} at equal MACs."
    d = row.above.in_band
    if row.beats_params:
        word = f"orders networks of equal MACs better than {REFERENCE}"
    else:
        word = f"does not beat {REFERENCE} at equal MACs"
    return f"{name}: {word} (tau {_signed(d.value)}, {_signed(d.low)} to {_signed(d.high)})."


def _signed(value: float | None) -> str:
    return DASH if value is None else f"{value:+.2f}"


def validation_document(found: Validation) -> dict[str, Any]:
    """The JSON of `validate`."""
    known = found.known
    return {
        "schema": 1,
        "bench": found.bench.name,
        "networks": len(known.archs),
        "ceiling": None if found.ceiling is None else asdict(found.ceiling),
        "rows": [_row_document(row) for row in found.rows],
        "keys": [arch.key for arch in known.archs],
        "macs": known.macs.astype(int).tolist(),
        "top1": known.top1.round(4).tolist(),
    }


def _row_document(row: Judged) -> dict[str, Any]:
    return {
        "name": row.name,
        "held_out": row.learnt,
        "agreement": asdict(row.agreement),
        "above_params": None if row.above is None else asdict(row.above),
        "beats_params": row.beats_params,
        "largest_quarter": asdict(row.largest),
        "seconds_a_network": row.seconds,
        "figures": [float(f) if np.isfinite(f) else None for f in row.figures],
    }
