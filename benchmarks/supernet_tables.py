"""The tables of `benchmarks.supernet`, from the rows of its CSVs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from smt_nas.arch import Architecture
from smt_nas.cli import console
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.evaluators.validation.agreement import Agreement, compare_taus, measure_agreement
from smt_nas.evaluators.validation.bootstrap import BootstrapEstimate
from smt_nas.evaluators.validation.noise_ceiling import estimate_noise_ceiling
from smt_nas.nasbench.table import Bench

Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, str]]
TRAININGS, RATINGS = "trainings.csv", "ratings.csv"
CURVE, LEARNING = "calibration.csv", "learning.csv"


def show_tables(bench: Bench, archs: Sequence[Architecture], rows: Mapping[str, Rows]) -> None:
    """Print all of it.

    Args:
        bench: the truth.
        archs: its networks that are rated.
        rows: of each CSV.
    """
    ratings = rows[RATINGS]
    data = TrainingSet.of(bench)
    place = {arch.key: i for i, arch in enumerate(data.archs)}
    chosen = np.array([place[arch.key] for arch in archs])
    losses = {name: _collect(ratings, name, archs) for name in ("0", "1", "shuffled")}
    figures = {
        "supernet, seed 0": -losses["0"],
        "supernet, seed 1": -losses["1"],
        "mean of both": -(losses["0"] + losses["1"]) / 2,
        "#params": data.params[chosen],
        "#MACs": data.macs[chosen],
        "labels shuffled": -losses["shuffled"],
    }
    truth, macs, params = data.top1[chosen], data.macs[chosen], data.params[chosen]
    groups = data.groups[chosen]

    def measure(values: Floats, against: Floats = truth) -> Agreement:
        rng = np.random.default_rng(0)
        return measure_agreement(values, against, macs, params, rng, groups=groups)

    table = _start_table("figure", "tau", "in ±10 % MACs", "top-10", "regret, points")
    for name, values in figures.items():
        if np.isfinite(values).sum() < len(archs):
            continue
        a = measure(values)
        regret = _write(a.regret)
        table.add_row(name, _write(a.kendall), _write(a.in_band), _write(a.top_recall), regret)
    console.show(table)
    console.show_text(f"{len(archs)} networks of {bench.name}, {a.pairs} pairs in band.")
    rng = np.random.default_rng(0)
    seeds = [[row.figures["val_top1"] for row in bench.networks[a.key]] for a in archs]
    if sum(len(s) > 1 for s in seeds) > 2:
        ceiling = estimate_noise_ceiling(seeds, macs, rng)
        console.show_text(
            f"Trained twice: tau {_write(ceiling.kendall)}, in band {_write(ceiling.in_band)} "
            f"({ceiling.n} networks)."
        )
    for name in ("supernet, seed 0", "supernet, seed 1", "mean of both"):
        gap = compare_taus(figures[name], params, truth, macs, rng, groups=groups)
        console.show_text(
            f"{name} less #params: tau {_write(gap.kendall)}, in band {_write(gap.in_band)}."
        )
    two = measure(-losses["0"], -losses["1"])
    console.show_text(f"Two supernets: tau {_write(two.kendall)}, in band {_write(two.in_band)}.")
    _show_costs(bench, archs, rows[TRAININGS], ratings)
    _show_curve(rows[CURVE])
    _show_learning(rows[LEARNING])


def _collect(ratings: Rows, name: str, archs: Sequence[Architecture]) -> Floats:
    """Losses (n,) by one supernet; NaN where a network is not rated."""
    known = {row["key"]: float(row["loss"]) for row in ratings if row["supernet"] == name}
    return np.array([known.get(arch.key, np.nan) for arch in archs])


def _show_costs(
    bench: Bench, archs: Sequence[Architecture], trainings: Rows, ratings: Rows
) -> None:
    """What a supernet and a rating take beside a training."""
    for name in ("0", "1", "shuffled"):
        starts = [row for row in trainings if row["supernet"] == name]
        steps, seconds = starts[-1]["steps"], sum(float(row["seconds"]) for row in starts)
        console.show_text(f"Supernet {name}: {steps} steps, {seconds / 60:.1f} min of one core.")
    rated = [float(row["seconds"]) for row in ratings if row["supernet"] == "0"]
    trained = [row.figures["seconds"] for arch in archs for row in bench.networks[arch.key]]
    console.show_text(
        f"A rating takes {np.mean(rated):.1f} s a network on one core; a training of the bench "
        f"took {np.mean(trained):.0f} s (on the machine that built it)."
    )


def _show_curve(curve: Rows) -> None:
    """How much a rating depends on the images of the batch norms."""
    by_key: dict[str, dict[int, tuple[float, float]]] = {}
    for row in curve:
        by_key.setdefault(row["key"], {})[int(row["images"])] = (
            float(row["top1"]),
            float(row["loss"]),
        )
    whole = {key: rows for key, rows in by_key.items() if 8192 in rows}
    if not whole:
        return
    table = _start_table("images", "|top-1 less that of 8192|, points", "largest", "|loss|")
    for images in sorted({n for rows in whole.values() for n in rows} - {8192}):
        there = [rows for rows in whole.values() if images in rows]
        gaps = np.abs([[a - b for a, b in zip(r[images], r[8192], strict=True)] for r in there])
        top1, loss = gaps.mean(axis=0)
        worst = 100 * gaps[:, 0].max()
        table.add_row(str(images), f"{100 * top1:.2f}", f"{worst:.2f}", f"{loss:.4f}")
    console.show(table)


def _show_learning(learning: Rows) -> None:
    """Whether training on from inherited weights beats training from scratch."""
    by_key: dict[str, dict[str, float]] = {}
    for row in learning:
        by_key.setdefault(row["key"], {})[row["start"]] = float(row["top1"])
    pairs = [(r["inherited"], r["scratch"]) for r in by_key.values() if len(r) == 2]
    if not pairs:
        return
    gains = [a - b for a, b in pairs]
    better = sum(gain >= 0 for gain in gains)
    console.show_text(
        f"After as many epochs, inherited weights are no worse than fresh ones for {better} of "
        f"{len(gains)} networks; by {100 * np.mean(gains):.2f} points in the mean "
        f"({100 * min(gains):.2f} to {100 * max(gains):.2f})."
    )


def _start_table(*headings: str) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    return table


def _write(estimate: BootstrapEstimate) -> str:
    if estimate.value is None:
        return "-"
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.2f}"
    return f"{estimate.value:.2f} ({estimate.low:.2f} to {estimate.high:.2f})"
