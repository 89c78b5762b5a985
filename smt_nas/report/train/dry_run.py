"""A training before it starts (`train --dry-run`): recipe, steps, learning rates, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smt_nas.budgets import describe_macs
from smt_nas.errors import format_count
from smt_nas.metrics import METRICS
from smt_nas.report.shares import format_digits
from smt_nas.report.sparkline import sparkline
from smt_nas.report.train.warnings import warning_line
from smt_nas.train.dry_run import DryRun

_QUARTERS = (0.25, 0.5, 0.75)


def plan_view(plan: DryRun) -> Group:
    """Everything, for a terminal of 80 columns."""
    return Group(
        Text(plan.recipe_yaml),
        _counts(plan),
        Text(),
        Text(f"learning rate  {sparkline([lr for _, lr in plan.curve])}"),
        _rates(plan),
        Text(),
        _memory(plan),
    )


def plan_notes(plan: DryRun) -> list[str]:
    """What a reader must know of it."""
    return [
        *plan.remarks,
        *map(warning_line, plan.warnings),
        f"One image takes {describe_macs(plan.macs)}; a training step about three times that.",
        "Memory is of one process, worked out, not measured: activations as in fp32, without what "
        "the libraries keep for themselves. Nothing was trained.",
    ]


def plan_document(plan: DryRun) -> dict[str, Any]:
    """The JSON of a dry run (schema 1)."""
    marks = [{"at": at, "update": update, "lr": lr} for at, update, lr in marks_of(plan.curve)]
    return {"schema": 1, "kind": "plan", **asdict(plan), "rates": marks}


def marks_of(curve: Sequence[tuple[int, float]]) -> list[tuple[str, int, float]]:
    """Start, peak (the end of the warm-up), the points nearest to each quarter, end; in order."""
    last = curve[-1][0]
    quarters = [(f"{q:.0%}", *_nearest(curve, q * last)) for q in _QUARTERS]
    peak = ("peak", *max(curve, key=lambda point: point[1]))
    inner = sorted([peak, *quarters], key=lambda mark: mark[1])
    return [("start", *curve[0]), *inner, ("end", *curve[-1])]


def _nearest(curve: Sequence[tuple[int, float]], update: float) -> tuple[int, float]:
    return min(curve, key=lambda point: abs(point[0] - update))


def _counts(plan: DryRun) -> Table:
    table = Table(show_edge=False, pad_edge=False, show_header=False, box=None)
    table.add_column()
    table.add_column(overflow="fold")
    fitted = ", chosen and fitted to the images; --recipe names another"
    rows = (
        ("recipe", f"{plan.recipe_name}{fitted if plan.recipe_chosen else ''}"),
        ("data", f"{plan.data}, {plan.classes} classes"),
        ("images", f"{plan.train_n} to train on, {plan.validation_n} held out for validation"),
        ("update", f"{format_count(plan.images_an_update, 'image')}: {_product(plan)}"),
        ("updates", f"{plan.updates_an_epoch} an epoch, {plan.updates} in all"),
        ("network", METRICS["params"].describe(plan.parameters)),
    )
    for name, text in rows:
        table.add_row(name, text)
    return table


def _product(plan: DryRun) -> str:
    steps = plan.images_an_update // (plan.batch * plan.processes)
    processes = "1 process" if plan.processes == 1 else f"{plan.processes} processes"
    return f"{plan.batch} a step x {processes} x {format_count(steps, 'step')}"


def _rates(plan: DryRun) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("at")
    table.add_column("update", justify="right")
    table.add_column("learning rate", justify="right")
    for at, update, lr in marks_of(plan.curve):
        table.add_row(at, str(update), f"{lr:.3g}")
    return table


def _memory(plan: DryRun) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("memory of")
    table.add_column("MB\nestimated", justify="right")
    for name, mb in plan.memory_mb.items():
        if name == "total":
            table.add_section()
        table.add_row(name, format_digits(mb))
    return table
