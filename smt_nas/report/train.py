"""What came of a training, and of several compared: tables, lines below them, JSON documents."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smt_nas.metrics import METRICS
from smt_nas.report.shares import DASH, format_digits, interval, percent
from smt_nas.runtime.progress import EpochMetrics
from smt_nas.train.score import wilson
from smt_nas.train.train_result import Compared, Entrant, Finished

_NAMED = 3  # unreadable images that are listed
_WAITING = 0.1  # share of the time from which it is worth a hint


def epoch_line(row: EpochMetrics, epochs: int | None = None) -> str:
    """What an epoch's row says, in one line; what was not measured is left out."""
    of = "" if epochs is None else f"/{epochs}"
    words = [f"epoch {format_digits(row.get('epoch'))}{of}:"]
    words += [
        f"{name} {shown}"
        for name, shown in (
            ("loss", format_digits(row.get("train_loss"), 3)),
            ("validation top-1", percent(row.get("val_top1"), " %")),
            ("validation loss", format_digits(row.get("val_loss"), 3)),
            ("img/s", format_digits(row.get("images_per_s"))),
            ("waiting", percent(row.get("waiting_share"), " %", 0)),
            ("peak MB", format_digits(row.get("peak_memory_mb"))),
        )
        if shown != DASH
    ]
    return words[0] + " " + ", ".join(words[1:])


def finished_table(finished: Finished) -> Group:
    """The best epoch by the validation split, and what the training took."""
    table = Table(show_edge=False, pad_edge=False)
    headings = ["top-1 %\ntrained", "95 %\ninterval", "top-5 %", "loss", "best\nepoch"]
    headings += ["img/s", "waiting", "peak\nMB"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    best = finished.best or {}
    table.add_row(
        percent(best.get("val_top1")),
        _interval(best.get("val_top1"), best.get("val_n") or finished.validation_n),
        percent(best.get("val_top5")),
        format_digits(best.get("val_loss"), 3),
        format_digits(best.get("epoch")),
        format_digits(finished.images_per_s),
        percent(finished.waiting_share, " %", 0),
        format_digits(finished.peak_memory_mb),
    )
    title = (
        f"Validation split, {finished.validation_n} images; {finished.epochs} epochs, "
        f"{finished.updates} updates; network {finished.arch_key}"
    )
    return Group(Text(title), table)


def finished_notes(finished: Finished) -> list[str]:
    """What a reader must know of the table, where the weights are, and what to run next."""
    lines = []
    if finished.best is not None:
        lines.append(
            f"Best of {finished.epochs} epochs by that very split, so a little too good; the test "
            "split tells. The interval is Wilson's."
        )
    if finished.skipped:
        lines.append(
            f"{finished.skipped} of {finished.updates} updates were skipped: their gradients were "
            "not finite."
        )
    lines += _unreadable(finished.unreadable)
    if (finished.waiting_share or 0) > _WAITING:
        lines.append(
            f"{finished.waiting_share:.0%} of the time went into waiting for images. Give it more "
            "--workers."
        )
    if finished.weights is not None:
        lines.append(f"Weights: {finished.weights}")
    if finished.interrupted:
        lines.append(f"Stopped. Next: smt-nas train --out {finished.run} --resume auto")
    elif finished.weights is not None:
        lines.append(f"Next: smt-nas eval {finished.run}")
    return lines


def finished_document(finished: Finished) -> dict[str, Any]:
    """The JSON of a training (schema 1). None was not measured."""
    best = None if finished.best is None else _finite(finished.best)
    if best is not None:
        ends = wilson_of(best.get("val_top1"), best.get("val_n") or finished.validation_n)
        best["val_top1_low"], best["val_top1_high"] = ends or (None, None)
    return {
        "schema": 1,
        "kind": "training",
        "run": str(finished.run),
        "key": finished.arch_key,
        "provenance": "trained",
        "interrupted": finished.interrupted,
        "epochs": finished.epochs,
        "updates": finished.updates,
        "skipped": finished.skipped,
        "best": best,
        "validation_n": finished.validation_n,
        "images_per_s": finished.images_per_s,
        "waiting_share": finished.waiting_share,
        "peak_memory_mb": finished.peak_memory_mb,
        "unreadable": dict(finished.unreadable),
        "weights": None if finished.weights is None else str(finished.weights),
        "history": [_finite(row) for row in finished.history],
    }


def compared_table(compared: Compared) -> Group:
    """A row a network: costs, accuracy over the seeds, speed; baselines below."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("name", overflow="fold")
    headings = [METRICS["macs"].heading, METRICS["params"].heading, "top-1 %\ntrained"]
    headings += ["± std of\nseeds", "95 %\ninterval", "seeds", "img/s"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for entrant in compared.entrants:
        if entrant.baseline and entrant is _first_baseline(compared):
            table.add_section()
        table.add_row(*_cells(entrant, compared), style="dim" if entrant.baseline else None)
    title = (
        f"Trained on {compared.data} by recipe {compared.recipe}, seeds "
        f"{', '.join(map(str, compared.seeds))}; validation split, {compared.validation_n} images"
    )
    return Group(Text(title), table)


def compared_notes(compared: Compared) -> list[str]:
    """What a reader must know of the table, and what to run next."""
    lines = [
        "top-1: the best epoch of each training, by the validation split; mean over the seeds.",
        f"95 % interval: Wilson's, of that mean on {compared.validation_n} images: how well so "
        "many can tell. Std: of the seeds (n - 1).",
    ]
    missing = [e.name for e in compared.entrants if len(_known(e.top1)) < len(compared.seeds)]
    if missing:
        lines.append(f"Not trained with all seeds: {', '.join(missing)}.")
    if compared.interrupted:
        lines.append("Stopped. Next: the same command with --resume auto.")
    lines.append(f"Trainings: {compared.folder}")
    return lines


def compared_document(compared: Compared) -> dict[str, Any]:
    """The JSON of a comparison (schema 1). None was not measured."""
    return {
        "schema": 1,
        "kind": "comparison",
        "folder": str(compared.folder),
        "data": compared.data,
        "recipe": compared.recipe,
        "seeds": list(compared.seeds),
        "validation_n": compared.validation_n,
        "interrupted": compared.interrupted,
        "networks": [_entrant(e, compared) for e in compared.entrants],
    }


def _entrant(entrant: Entrant, compared: Compared) -> dict[str, Any]:
    mean, std = _spread(entrant.top1)
    low, high = wilson_of(mean, compared.validation_n) or (None, None)
    return {
        "name": entrant.name,
        "key": entrant.arch_key,
        "baseline": entrant.baseline,
        "values": {"macs": entrant.macs, "params": entrant.parameters},
        "provenance": {"macs": "exact", "params": "exact", "top1": "trained"},
        "top1": {
            "mean": mean,
            "std": std,
            "low": low,
            "high": high,
            "by_seed": list(entrant.top1),
        },
        "images_per_s": list(entrant.images_per_s),
        "runs": [str(run) for run in entrant.runs],
    }


def _cells(entrant: Entrant, compared: Compared) -> list[str]:
    mean, std = _spread(entrant.top1)
    speed, _ = _spread(entrant.images_per_s)
    return [
        entrant.name,
        METRICS["macs"].show(entrant.macs),
        METRICS["params"].show(entrant.parameters),
        percent(mean),
        percent(std),
        _interval(mean, compared.validation_n),
        str(len(_known(entrant.top1))),
        format_digits(speed),
    ]


def _first_baseline(compared: Compared) -> Entrant | None:
    return next((e for e in compared.entrants if e.baseline), None)


def _known(values: Sequence[float | None]) -> list[float]:
    return [v for v in values if v is not None]


def _spread(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean, and standard deviation of a sample; None where there are too few."""
    known = _known(values)
    mean = statistics.fmean(known) if known else None
    return mean, statistics.stdev(known) if len(known) > 1 else None


def wilson_of(share: float | None, n: float) -> tuple[float, float] | None:
    """95 % interval of a share of `n` images; None where either is not there."""
    return None if share is None or n < 1 else wilson(share * n, int(n))


def _interval(share: float | None, n: float) -> str:
    ends = wilson_of(share, n)
    return DASH if ends is None else interval(*ends)


def _unreadable(names: Mapping[str, str]) -> list[str]:
    if not names:
        return []
    shown = "; ".join(f"{name} ({reason})" for name, reason in list(names.items())[:_NAMED])
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"{len(names)} images could not be read and were left out: {shown}{more}."]


def _finite(row: EpochMetrics) -> EpochMetrics:
    """JSON has no infinities: a loss that overflowed is no number there."""
    return {k: v if v is not None and math.isfinite(v) else None for k, v in row.items()}
