"""What a bench says of depth by the epochs of its trainings: a table, its notes, its JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from smt_nas.evaluators.validation.bootstrap import BootstrapEstimate
from smt_nas.evaluators.validation.training_budgets import (
    FEWEST,
    TELLING,
    BudgetReport,
    Slope,
    settled_epochs,
)

_VERDICTS = {"settled": "settled", "changing": "changing", "unknown": "unknown"}


def budgets_table(reports: Sequence[BudgetReport]) -> Table:
    """A row for each number of epochs."""
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    headings = (
        "epochs",
        "networks\n(ladders)",
        "points a\ndoubling",
        "change from\nabove",
        "effect",
        "tau with\nthe longest",
    )
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        longest = report is reports[-1]
        table.add_row(
            str(report.epochs),
            f"{report.networks} ({report.effect.networks})",
            _format_slope(report.effect),
            "-" if report.change is None else _format_slope(report.change),
            "-" if report.change is None else _VERDICTS[report.verdict],
            "-" if longest else _format_tau(report.tau_to_longest),
        )
    return table


def budgets_notes(name: str, reports: Sequence[BudgetReport]) -> list[str]:
    """What the table means for a choice of depth."""
    if all(report.effect.value is None for report in reports):
        n = max(report.effect.networks for report in reports)
        return [
            f"{name}: must have {FEWEST} networks on ladders of equal MACs to say something of "
            f"depth (got {n}). `smt-nas bench build --plan depth` trains them."
        ]
    epochs = settled_epochs(reports)
    says = (
        f"{name} may speak of depth from {epochs} epochs on: there the effect has stopped changing."
        if epochs is not None
        else f"{name} must not choose a depth: at no number of epochs is it shown that the effect "
        "has stopped changing."
    )
    return [
        f"{says} Deeper networks fit more slowly, so short trainings rank them too low.",
        "Points of validation top-1 a doubling of depth, on ladders of equal MACs. Settled: from "
        f"the fewer epochs above it has changed by less than {TELLING:g} points. Intervals are at "
        "95 %: Student's for slopes, each ladder with its own level; bootstrap over networks for "
        "tau.",
    ]


def budgets_document(name: str, reports: Sequence[BudgetReport]) -> dict[str, Any]:
    """The JSON of `bench depth`."""
    return {
        "schema": 1,
        "name": name,
        "settled_epochs": settled_epochs(reports),
        "budgets": [asdict(report) for report in reports],
    }


def _format_slope(slope: Slope) -> str:
    """`+0.31 ±0.21`; Student's interval is symmetric."""
    if slope.value is None or slope.high is None:
        return "-"
    return f"{slope.value:+.2f} ±{slope.high - slope.value:.2f}"


def _format_tau(tau: BootstrapEstimate) -> str:
    """`0.71 (0.52 to 0.85)`."""
    if tau.value is None:
        return "-"
    if tau.low is None or tau.high is None:
        return f"{tau.value:.2f}"
    return f"{tau.value:.2f} ({tau.low:.2f} to {tau.high:.2f})"
