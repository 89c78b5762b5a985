"""What came of a training, and of several compared: tables, lines below them, JSON documents."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from smt_nas.errors import format_count
from smt_nas.files import shell_word
from smt_nas.metrics import METRICS, Unit
from smt_nas.report.shares import DASH, format_digits, interval, percent
from smt_nas.report.train.warnings import warning_line
from smt_nas.runtime.progress import EpochMetrics
from smt_nas.train.evaluation import standard_error, wilson_interval
from smt_nas.train.front_training import ComparedNetwork, TrainingComparison
from smt_nas.train.training_state import TrainResult

_NAMED = 3  # unreadable images that are listed
_WAITING = 0.1  # share of the time from which it is worth a hint


def epoch_line(metrics: EpochMetrics, epochs: int | None = None) -> str:
    """What an epoch came to, in one line; what was not measured is left out."""
    of = "" if epochs is None else f"/{epochs}"
    figures = (
        ("loss", format_digits(metrics.train_loss, 3)),
        ("validation top-1", percent(metrics.val_top1, " %")),
        ("validation loss", format_digits(metrics.val_loss, 3)),
        ("img/s", format_digits(metrics.images_per_s)),
        ("waiting", percent(metrics.waiting_share, " %", 0)),
        ("process peak MB", format_digits(metrics.peak_memory_mb)),
    )
    measured = ", ".join(f"{name} {figure}" for name, figure in figures if figure != DASH)
    return f"epoch {metrics.epoch}{of}: {measured}"


def result_table(result: TrainResult) -> Group:
    """The best epoch by the validation split, and what the training took."""
    table = Table(show_edge=False, pad_edge=False)
    headings = ["top-1 %\ntrained", "95 %\ninterval", "top-5 %", "loss", "best\nepoch"]
    headings += ["img/s", "waiting", "process\npeak MB"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    best = result.best
    accuracy = [DASH] * 5
    if best is not None:
        accuracy = [
            percent(best.val_top1),
            _format_interval(best.val_top1, best.val_n or result.validation_n),
            percent(best.val_top5),
            format_digits(best.val_loss, 3),
            str(best.epoch),
        ]
    table.add_row(
        *accuracy,
        format_digits(result.images_per_s),
        percent(result.waiting_share, " %", 0),
        format_digits(result.peak_memory_mb),
    )
    title = (
        f"Validation split, {format_count(result.validation_n, 'image')}; "
        f"{format_count(result.epochs, 'epoch')}, {format_count(result.updates, 'update')}; "
        f"network {result.arch.key}"
    )
    return Group(Text(title), table)


def result_notes(result: TrainResult) -> list[str]:
    """What a reader must know of the table, where the weights are, and what to run next."""
    lines = []
    if result.best is not None:
        lines.append(
            f"Best of {format_count(result.epochs, 'epoch')} by that very split, so a little too "
            "good; the test split tells. The interval is Wilson's."
        )
    lines += map(warning_line, result.warnings)
    if result.skipped:
        lines.append(
            f"Skipped: {result.skipped} of {format_count(result.updates, 'update')}, whose "
            "gradients were not finite."
        )
    lines += _describe_unreadable(result.unreadable)
    if (result.waiting_share or 0) > _WAITING:
        lines.append(
            f"{result.waiting_share:.0%} of the time went into waiting for images. Give it more "
            "--workers."
        )
    if result.weights is not None:
        lines.append(f"Weights: {result.weights}")
    if result.interrupted:
        lines.append(f"Stopped. Next: smt-nas train --out {shell_word(result.run)} --resume auto")
    elif result.weights is not None:
        lines.append(f"Next: smt-nas eval {shell_word(result.run)}")
    return lines


def result_document(result: TrainResult) -> dict[str, Any]:
    """The JSON of a training (schema 1). None was not measured."""
    best = None
    if result.best is not None:
        n = result.best.val_n or result.validation_n
        low, high = wilson_ends(result.best.val_top1, n) or (None, None)
        share = result.best.val_top1
        error = None if share is None or n < 1 else standard_error(share, int(n))
        ends = {"val_top1_low": low, "val_top1_high": high, "val_top1_standard_error": error}
        best = _to_json(result.best) | ends
    return {
        "schema": 1,
        "kind": "training",
        "run": str(result.run),
        "key": result.arch.key,
        "provenance": "trained",
        "interrupted": result.interrupted,
        "epochs": result.epochs,
        "updates": result.updates,
        "skipped": result.skipped,
        "best": best,
        "validation_n": result.validation_n,
        "images_per_s": result.images_per_s,
        "waiting_share": result.waiting_share,
        "peak_memory_mb": result.peak_memory_mb,
        "unreadable": dict(result.unreadable),
        "warnings": [asdict(warning) for warning in result.warnings],
        "weights": None if result.weights is None else str(result.weights),
        "history": [_to_json(metrics) for metrics in result.history],
    }


def comparison_table(comparison: TrainingComparison) -> Group:
    """A row a network: costs, accuracy over the seeds, speed; baselines below."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("name", overflow="fold")
    macs, params = _choose_units(comparison)
    headings = [macs.heading, params.heading, "top-1 %\ntrained"]
    headings += ["± std of\nseeds", "95 %\ninterval", "seeds", "img/s"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for network in comparison.networks:
        if network.baseline and network is _find_baseline(comparison):
            table.add_section()
        style = "dim" if network.baseline else None
        table.add_row(*_format_cells(network, comparison), style=style)
    title = (
        f"Trained on {comparison.data} by recipe {comparison.recipe}, seeds "
        f"{', '.join(map(str, comparison.seeds))}; validation split, "
        f"{format_count(comparison.validation_n, 'image')}"
    )
    return Group(Text(title), table)


def comparison_notes(
    comparison: TrainingComparison, go_on: str = "the same command with --resume auto."
) -> list[str]:
    """What a reader must know of the table, and what to run next: what goes on where it stopped."""
    lines = [
        "top-1: the best epoch of each training, by the validation split; mean over the seeds.",
        "95 % interval: Wilson's, of that mean on "
        f"{format_count(comparison.validation_n, 'image')}: how well so many can tell. Std: of "
        "the seeds (n - 1).",
    ]
    seeds = len(comparison.seeds)
    missing = [n.name for n in comparison.networks if len(_drop_missing(n.top1)) < seeds]
    if missing:
        lines.append(f"Not trained with all seeds: {', '.join(missing)}.")
    if comparison.interrupted:
        lines.append(f"Stopped. Next: {go_on}")
    lines.append(f"Trainings: {comparison.folder}")
    return lines


def comparison_document(comparison: TrainingComparison) -> dict[str, Any]:
    """The JSON of a comparison (schema 1). None was not measured."""
    return {
        "schema": 1,
        "kind": "comparison",
        "folder": str(comparison.folder),
        "data": comparison.data,
        "recipe": comparison.recipe,
        "seeds": list(comparison.seeds),
        "validation_n": comparison.validation_n,
        "interrupted": comparison.interrupted,
        "networks": [_network_document(network, comparison) for network in comparison.networks],
    }


def _network_document(network: ComparedNetwork, comparison: TrainingComparison) -> dict[str, Any]:
    mean, std = _mean_and_std(network.top1)
    low, high = wilson_ends(mean, comparison.validation_n) or (None, None)
    return {
        "name": network.name,
        "key": network.arch_key,
        "baseline": network.baseline,
        "values": {"macs": network.macs, "params": network.parameters},
        "provenance": {"macs": "exact", "params": "exact", "top1": "trained"},
        "top1": {
            "mean": mean,
            "std": std,
            "low": low,
            "high": high,
            "by_seed": list(network.top1),
        },
        "images_per_s": list(network.images_per_s),
        "runs": [str(run) for run in network.runs],
    }


def _format_cells(network: ComparedNetwork, comparison: TrainingComparison) -> list[str]:
    mean, std = _mean_and_std(network.top1)
    speed, _ = _mean_and_std(network.images_per_s)
    macs, params = _choose_units(comparison)
    return [
        network.name,
        macs.show(network.macs),
        params.show(network.parameters),
        percent(mean),
        percent(std),
        _format_interval(mean, comparison.validation_n),
        str(len(_drop_missing(network.top1))),
        format_digits(speed),
    ]


def _choose_units(comparison: TrainingComparison) -> tuple[Unit, Unit]:
    """Of MACs and of parameters."""
    macs = METRICS["macs"].choose_unit(n.macs for n in comparison.networks)
    return macs, METRICS["params"].choose_unit(n.parameters for n in comparison.networks)


def _find_baseline(comparison: TrainingComparison) -> ComparedNetwork | None:
    return next((network for network in comparison.networks if network.baseline), None)


def _drop_missing(values: Sequence[float | None]) -> list[float]:
    return [v for v in values if v is not None]


def _mean_and_std(values: Sequence[float | None]) -> tuple[float | None, float | None]:
    """Mean, and standard deviation of a sample; None where there are too few."""
    known = _drop_missing(values)
    mean = statistics.fmean(known) if known else None
    return mean, statistics.stdev(known) if len(known) > 1 else None


def wilson_ends(share: float | None, n: float) -> tuple[float, float] | None:
    """95 % interval of a share of `n` images; None where either is not there."""
    return None if share is None or n < 1 else wilson_interval(share * n, int(n))


def _format_interval(share: float | None, n: float) -> str:
    ends = wilson_ends(share, n)
    return DASH if ends is None else interval(*ends)


def _describe_unreadable(names: Mapping[str, str]) -> list[str]:
    if not names:
        return []
    shown = "; ".join(f"{name} ({reason})" for name, reason in list(names.items())[:_NAMED])
    more = f"; and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return [f"Left out, as unreadable: {format_count(len(names), 'image')}: {shown}{more}."]


def _to_json(metrics: EpochMetrics) -> dict[str, Any]:
    """JSON has no infinities: a loss that overflowed is no number there."""
    return {
        name: value if value is not None and math.isfinite(value) else None
        for name, value in asdict(metrics).items()
    }
