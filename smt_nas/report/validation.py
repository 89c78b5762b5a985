"""How evaluators agree with trained accuracy: a table, what it says, a JSON document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from smt_nas.errors import format_count
from smt_nas.evaluators.evidence import AnyEvidence, SupernetEvidence
from smt_nas.evaluators.predictors.training_set import FOLDS
from smt_nas.evaluators.validation.agreement import BAND, TOP, Taus
from smt_nas.evaluators.validation.bootstrap import BootstrapEstimate
from smt_nas.evaluators.validation.validate import BASELINES, REFERENCE, EvaluatorScore, Validation
from smt_nas.nasbench.table import Bench
from smt_nas.report.bench import other_budgets, other_space
from smt_nas.report.shares import DASH

_BAND = f"±{BAND:.0%}"
_NAME, _HEAD = 24, 9  # characters of a name in a table, and those before what is left out


def validation_table(validation: Validation) -> Group:
    """A row a figure, then the baselines, then the ceiling: of orders; then of picks and costs."""
    orders = ("tau", "rho", f"tau in\n{_BAND} MACs", "partial\ntau")
    picks = (f"top-{TOP}\nrecall", "regret\npoints", "tau in\nlargest 1/4", "ms a\nnetwork")
    first, second = (
        _make_table(validation, orders, _order_cells),
        _make_table(validation, picks, _pick_cells),
    )
    if validation.noise_ceiling is not None:
        first.add_section()
        first.add_row("seed to seed", *_bound_cells(validation.noise_ceiling))
    if validation.at_best is not None:
        first.add_row("at best", *_bound_cells(validation.at_best))
    return Group(first, "", second)


def _make_table(
    validation: Validation,
    headings: Sequence[str],
    cells: Callable[[EvaluatorScore], tuple[str, ...]],
) -> Table:
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in validation.rows:
        if row.name == REFERENCE:
            table.add_section()
        table.add_row(
            shorten_name(row.name), *cells(row), style="dim" if row.name in BASELINES else None
        )
    return table


def shorten_name(name: str) -> str:
    """A name of at most so many characters as a table of 80 holds; the notes tell it in full."""
    if len(name) <= _NAME:
        return name
    return f"{name[:_HEAD]}..{name[_HEAD + 2 - _NAME :]}"


def _order_cells(row: EvaluatorScore) -> tuple[str, ...]:
    a = row.agreement
    band = _format_estimate(a.in_band) + _sign_in_band(row.above_params)
    return (
        _format_estimate(a.kendall),
        _format_estimate(a.spearman),
        band,
        _format_estimate(a.partial),
    )


def _bound_cells(taus: Taus) -> tuple[str, ...]:
    return _format_estimate(taus.kendall), "", _format_estimate(taus.in_band) + " ", ""


def _pick_cells(row: EvaluatorScore) -> tuple[str, ...]:
    a = row.agreement
    largest = DASH if row.largest_quarter is None else _format_estimate(row.largest_quarter.kendall)
    mark = " " if row.largest_above_params is None else _sign(row.largest_above_params.kendall)
    cost = DASH if row.seconds is None else f"{1e3 * row.seconds:.3g}"
    return _format_estimate(a.top_recall), _format_estimate(a.regret), largest + mark, cost


def _format_estimate(e: BootstrapEstimate) -> str:
    if e.value is None:
        return DASH
    if e.low is None or e.high is None:
        return f"{e.value:.2f}"
    return f"{e.value:.2f} ±{(e.high - e.low) / 2:.2f}"


def _sign_in_band(difference: Taus | None) -> str:
    """Whether it orders networks of equal MACs better or worse than #params, beyond doubt."""
    return " " if difference is None else _sign(difference.in_band)


def _sign(difference: BootstrapEstimate) -> str:
    """`+` or `-` where the interval of a difference is clear of 0."""
    if difference.low is None or difference.high is None:
        return " "
    return "+" if difference.low > 0 else "-" if difference.high < 0 else " "


def validation_notes(validation: Validation) -> list[str]:
    """What the table is of, and what follows from it."""
    training_set = validation.training_set
    lines = [
        f"On {validation.bench.name}: {len(training_set.archs)} networks, trained top-1 "
        f"{training_set.top1.min():.1f} to {training_set.top1.max():.1f} %, mean of its seeds for "
        "each; ±: half of a 95 % bootstrap interval, ablations of one base drawn together."
    ]
    if validation.left_out:
        lines.append(
            f"Left out, as one of the evaluators cannot rate them: "
            f"{format_count(validation.left_out, 'network')} of the bench."
        )
    if any(row.held_out for row in validation.rows):
        lines.append(
            f"What learnt from the bench is judged on networks held out, in {FOLDS} folds; its "
            "largest quarter by MACs after learning from the other three."
        )
    lines.append(
        f"In {_BAND} MACs: pairs of networks of about equal MACs, which a size alone cannot order. "
        f"Partial: beyond MACs and params. + or -: above or below {REFERENCE}, the interval of the "
        "difference clear of 0."
    )
    lines += [_word_verdict(row) for row in validation.rows if row.name not in BASELINES]
    lines += [
        f"{row.name}: {format_count(row.agreement.failed, 'network')} left out, on which it failed."
        for row in validation.rows
        if row.agreement.failed
    ]
    if validation.noise_ceiling is None:
        lines.append("No ceiling: too few networks were trained with two seeds.")
    else:
        lines.append(
            "Seed to seed: what one training more would score against one, on "
            f"{validation.noise_ceiling.n} networks; a mean of seeds is less off."
        )
    if validation.at_best is not None:
        lines.append(
            "At best: what a figure that knew the expected top-1 of every network would score, as "
            f"one training is off by {training_set.noise:.2f} points; simulated, ± by its chance."
        )
    return [*lines, *other_budgets(validation.bench), *other_space(validation.bench)]


def data_notes(evidence: Iterable[AnyEvidence], bench: Bench) -> list[str]:
    """What a reader must know where figures rest on other images than the bench."""
    from smt_nas.train.data.sources import shorten_spec  # torch comes with it

    return [
        f"{e.evaluator} rates by images of {shorten_spec(e.data)}, the bench was trained on "
        f"{bench.card.data}: this tells how one orders networks for the other."
        for e in evidence
        if isinstance(e, SupernetEvidence) and shorten_spec(e.data) != bench.card.data
    ]


def _word_verdict(row: EvaluatorScore) -> str:
    above, largest = row.above_params, row.largest_above_params
    if above is None or above.in_band.value is None:
        return f"{row.name}: cannot be compared with {REFERENCE} at equal MACs."
    word = "better than" if row.beats_params else "no better than"
    gap = word_difference(above.in_band)
    line = f"{row.name}: at equal MACs {word} {REFERENCE} (tau {gap})"
    if largest is not None and largest.kendall.value is not None:
        line += f"; among the largest quarter tau {word_difference(largest.kendall)}"
    return f"{line}; {_word_picks(row)}."


def _word_picks(row: EvaluatorScore) -> str:
    """Whether its picks are better: an order that is better overall need not name the best."""
    gap = row.picks_above_params
    if gap is None or gap.top_recall.value is None or gap.regret.value is None:
        return f"its picks cannot be compared with those of {REFERENCE}"
    word = "better" if row.picks_better else "no better"
    return (
        f"as a pick of the best {word} beyond doubt (recall of the best {TOP} "
        f"{word_difference(gap.top_recall)}; regret {word_difference(gap.regret)} points)"
    )


def word_difference(difference: BootstrapEstimate) -> str:
    """`+0.19, +0.09 to +0.27`: a difference with its interval."""
    low, high = _format_signed(difference.low), _format_signed(difference.high)
    return f"{_format_signed(difference.value)}, {low} to {high}"


def _format_signed(value: float | None) -> str:
    return DASH if value is None else f"{value:+.2f}"


def validation_document(validation: Validation) -> dict[str, Any]:
    """The JSON of `validate`."""
    training_set = validation.training_set
    return {
        "schema": 1,
        "bench": validation.bench.name,
        "networks": len(training_set.archs),
        "left_out": validation.left_out,
        "ceiling": None if validation.noise_ceiling is None else asdict(validation.noise_ceiling),
        "at_best": None if validation.at_best is None else asdict(validation.at_best),
        "rows": [_row_document(row) for row in validation.rows],
        "keys": [arch.key for arch in training_set.archs],
        "macs": training_set.macs.astype(int).tolist(),
        "top1": training_set.top1.round(4).tolist(),
    }


def _row_document(row: EvaluatorScore) -> dict[str, Any]:
    return {
        "name": row.name,
        "held_out": row.held_out,
        "agreement": asdict(row.agreement),
        "above_params": None if row.above_params is None else asdict(row.above_params),
        "beats_params": row.beats_params,
        "picks_above_params": (
            None if row.picks_above_params is None else asdict(row.picks_above_params)
        ),
        "picks_better": row.picks_better,
        "largest_quarter": None if row.largest_quarter is None else asdict(row.largest_quarter),
        "seconds_a_network": row.seconds,
        "figures": [float(f) if np.isfinite(f) else None for f in row.figures],
    }
