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
        "net-\nworks",
        "on\nladders",
        "points a doubling\nof depth",
        "change since the\nepochs before",
        "effect",
        "tau with\nthe longest",
    )
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for report in reports:
        longest = report is reports[-1]
        table.add_row(
            str(report.epochs),
            str(report.networks),
            str(report.effect.networks),
            _format(report.effect),
            "-" if report.change is None else _format(report.change),
            "-" if report.change is None else _VERDICTS[report.verdict],
            "-" if longest else _format(report.tau_to_longest, signed=False),
        )
    return table


def budgets_notes(name: str, reports: Sequence[BudgetReport]) -> list[str]:
    """What the table means for a choice of depth."""
    if all(report.effect.value is None for report in reports):
        n = max(report.effect.networks for report in reports)
        return [
            f"{name}: must have {FEWEST} networks or more on ladders of equal MACs to say something "
            f"of depth (got {n}). `smt-nas bench build --plan depth` trains them."
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
        f"The ladders are of equal MACs. Settled: since the epochs before, less than {TELLING:g} points of change a "
        "doubling, at 95 %. Intervals are at 95 %: Student's for slopes, each ladder with its own "
        "level; bootstrap over networks for tau.",
    ]


def budgets_document(name: str, reports: Sequence[BudgetReport]) -> dict[str, Any]:
    """The JSON of `bench depth`."""
    return {
        "schema": 1,
        "name": name,
        "settled_epochs": settled_epochs(reports),
        "budgets": [asdict(report) for report in reports],
    }


def _format(figure: Slope | BootstrapEstimate, signed: bool = True) -> str:
    """`+0.31 (0.10 to 0.52)`."""
    if figure.value is None:
        return "-"
    value = f"{figure.value:+.2f}" if signed else f"{figure.value:.2f}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({figure.low:.2f} to {figure.high:.2f})"
