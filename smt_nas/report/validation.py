"""How evaluators agree with trained accuracy: a table, what it says, a JSON document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from smt_nas.evaluators.training_set import FOLDS
from smt_nas.evaluators.validation.agreement import BAND, TOP, Taus
from smt_nas.evaluators.validation.bootstrap import Estimate
from smt_nas.evaluators.validation.validate import BASELINES, REFERENCE, Judged, Validation
from smt_nas.report.bench import other_space
from smt_nas.report.shares import DASH

_BAND = f"±{BAND:.0%}"


def validation_table(found: Validation) -> Group:
    """A row a figure, then the baselines, then the ceiling: of orders; then of picks and costs."""
    orders = ("tau", "rho", f"tau in\n{_BAND} MACs", "partial\ntau")
    picks = (f"top-{TOP}\nrecall", "regret\npoints", "tau in\nlargest 1/4", "ms a\nnetwork")
    first, second = _table(found, orders, _orders), _table(found, picks, _picks)
    if found.ceiling is not None:
        first.add_section()
        first.add_row("seed to seed", *_bounds(found.ceiling))
    if found.at_best is not None:
        first.add_row("at best", *_bounds(found.at_best))
    return Group(first, "", second)


def _table(
    found: Validation, headings: Sequence[str], cells: Callable[[Judged], tuple[str, ...]]
) -> Table:
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.rows:
        if row.name == REFERENCE:
            table.add_section()
        table.add_row(row.name, *cells(row), style="dim" if row.name in BASELINES else None)
    return table


def _orders(row: Judged) -> tuple[str, ...]:
    a = row.agreement
    band = _ranged(a.in_band) + _mark(row.above)
    return _ranged(a.kendall), _ranged(a.spearman), band, _ranged(a.partial)


def _bounds(found: Taus) -> tuple[str, ...]:
    return _ranged(found.kendall), "", _ranged(found.in_band) + " ", ""


def _picks(row: Judged) -> tuple[str, ...]:
    a = row.agreement
    largest = DASH if row.largest is None else _ranged(row.largest.kendall)
    mark = " " if row.above_largest is None else _sign(row.above_largest.kendall)
    cost = DASH if row.seconds is None else f"{1e3 * row.seconds:.3g}"
    return _ranged(a.top_recall), _ranged(a.regret), largest + mark, cost


def _ranged(e: Estimate) -> str:
    if e.value is None:
        return DASH
    if e.low is None or e.high is None:
        return f"{e.value:.2f}"
    return f"{e.value:.2f} ±{(e.high - e.low) / 2:.2f}"


def _mark(above: Taus | None) -> str:
    """Whether it orders networks of equal MACs better or worse than #params, beyond doubt."""
    return " " if above is None else _sign(above.in_band)


def _sign(difference: Estimate) -> str:
    """`+` or `-` where the interval of a difference is clear of 0."""
    if difference.low is None or difference.high is None:
        return " "
    return "+" if difference.low > 0 else "-" if difference.high < 0 else " "


def validation_notes(found: Validation) -> list[str]:
    """What the table is of, and what follows from it."""
    known = found.known
    lines = [
        f"On {found.bench.name}: {len(known.archs)} networks, trained top-1 "
        f"{known.top1.min():.1f} to {known.top1.max():.1f} %, mean of its seeds for each; ±: half "
        "of a 95 % bootstrap interval, ablations of one base drawn together."
    ]
    if any(row.learnt for row in found.rows):
        lines.append(
            f"What learnt from the bench is judged on networks held out, in {FOLDS} folds; its "
            "largest quarter by MACs after learning from the other three."
        )
    lines.append(
        f"In {_BAND} MACs: pairs of networks of about equal MACs, which a size alone cannot order. "
        f"Partial: beyond MACs and params. + or -: above or below {REFERENCE}, the interval of the "
        "difference clear of 0."
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
            f"Seed to seed: what one training more would score against one, on {found.ceiling.n} "
            "networks; a mean of seeds is less off."
        )
    if found.at_best is not None:
        lines.append(
            "At best: what a figure that knew the expected top-1 of every network would score, as "
            f"one training is off by {known.noise:.2f} points; simulated, ± by its chance."
        )
    return [*lines, *other_space(found.bench)]


def _verdict(row: Judged) -> str:
    if row.above is None or row.above.in_band.value is None:
        return f"{row.name}: cannot be compared with {REFERENCE} at equal MACs."
    word = "better than" if row.beats_params else "no better than"
    line = (
        f"{row.name}: at equal MACs {word} {REFERENCE} (tau {difference_words(row.above.in_band)})"
    )
    if row.above_largest is None or row.above_largest.kendall.value is None:
        return f"{line}."
    return f"{line}; among the largest quarter tau {difference_words(row.above_largest.kendall)}."


def difference_words(difference: Estimate) -> str:
    """`+0.19, +0.09 to +0.27`: a difference with its interval."""
    low, high = _signed(difference.low), _signed(difference.high)
    return f"{_signed(difference.value)}, {low} to {high}"


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
        "at_best": None if found.at_best is None else asdict(found.at_best),
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
        "largest_quarter": None if row.largest is None else asdict(row.largest),
        "seconds_a_network": row.seconds,
        "figures": [float(f) if np.isfinite(f) else None for f in row.figures],
    }
