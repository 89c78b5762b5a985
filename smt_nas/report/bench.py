"""A bench: what it is, its best networks, what a build left."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table

from smt_nas import costs
from smt_nas.arch import Architecture
from smt_nas.evaluators import EVALUATORS
from smt_nas.files import names, shell_word
from smt_nas.metrics import METRICS
from smt_nas.nasbench.rows import BenchRow
from smt_nas.nasbench.table import Bench
from smt_nas.report.page.arch_drawing import LETTERS
from smt_nas.report.shares import percent
from smt_nas.space import SearchSpace

if TYPE_CHECKING:
    from smt_nas.nasbench.build import BuildResult  # it needs torch


def bench_table(bench: Bench, top: int) -> Table:
    """The best networks by validation top-1."""
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("network", no_wrap=True)
    best = sorted(bench.networks, key=bench.top1, reverse=True)[:top]
    priced = [costs.of(bench.networks[key][0].arch) for key in best]
    macs = METRICS["macs"].choose_unit(c.macs for c in priced)
    params = METRICS["params"].choose_unit(c.params for c in priced)
    headings = ("val\ntop-1 %", "test\n%", "seeds", macs.heading)
    for heading in (*headings, params.heading.replace("params", "\nparams")):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("widths", no_wrap=True)
    table.add_column("blocks", no_wrap=True)
    for key, cost in zip(best, priced, strict=True):
        rows = bench.networks[key]
        arch = rows[0].arch
        table.add_row(
            key,
            percent(bench.top1(key)),
            percent(_mean(rows, "test_top1")),
            str(len(rows)),
            macs.show(cost.macs),
            params.show(cost.params),
            "/".join(str(s.dim) for s in arch.stages),
            _blocks(arch),
        )
    return table


def _blocks(arch: Architecture) -> str:
    return " ".join("".join(LETTERS[kind] for kind in s.mixers) for s in arch.stages)


def _mean(rows: tuple[BenchRow, ...], figure: str) -> float | None:
    values = [row.figures[figure] for row in rows if figure in row.figures]
    return float(np.mean(values)) if values else None


def bench_notes(bench: Bench) -> list[str]:
    """What the table is of."""
    card, n, trainings = bench.card, len(bench.networks), len(bench.rows)
    kinds = Counter(rows[0].group.partition(":")[0] for rows in bench.networks.values())
    macs = [costs.of(rows[0].arch).macs for rows in bench.networks.values()]
    least, most = (METRICS["macs"].describe(m) for m in (min(macs), max(macs)))
    hours = sum(row.figures["seconds"] for row in bench.rows) / 3600
    used = Counter(row.device for row in bench.rows).most_common()
    devices = ", ".join(f"{name} ({count})" for name, count in used)
    recipe = card.recipe
    images, epochs = recipe.get("images") or "all", bench.epochs or "unknown"
    lines = [
        f"{bench.name}: {n} {card.description}; {trainings} trainings, {hours:.2g} hours of them.",
        f"Networks: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}; "
        f"{least} to {most}. S: SAM block, A: attention block.",
        f"Trained from scratch on {images} images, epochs: {epochs}; validation images are held "
        "out of the training split, test images are the data's own.",
        f"Data: {card.licence}. Trained on {devices} with "
        f"{'; '.join(sorted({r.versions for r in bench.rows}))}.",
        *other_budgets(bench),
        *card.limits,
    ]
    return [*lines, *other_space(bench), f"Next: smt-nas validate predictor --on {bench.name}"]


def other_budgets(bench: Bench) -> list[str]:
    """Say which of several budgets is meant."""
    if len(bench.sizes) < 2:
        return []
    sizes = [f"{epochs} epochs ({n})" for epochs, n in bench.sizes.items()]
    return [
        f"Networks trained for {bench.epochs} epochs; the table has others too, by number of "
        f"networks: {', '.join(sizes)}. --epochs chooses."
    ]


def other_space(bench: Bench) -> list[str]:
    """Say where the space has changed since the bench was built."""
    card = bench.card
    if card.space not in names("search_spaces"):
        return []
    now = SearchSpace.load(card.space).digest
    if now == card.space_digest:
        return []
    return [
        f"Space {card.space} has changed since (digest {card.space_digest}, now {now}): the "
        "networks are what they were, but some may lie outside it."
    ]


def bench_document(bench: Bench) -> dict[str, Any]:
    """The JSON of `bench show`."""
    return {
        "schema": 1,
        "name": bench.name,
        "card": bench.card.model_dump(mode="json"),
        "epochs": bench.epochs,
        "networks": [
            {
                "key": key,
                "architecture": rows[0].arch.model_dump(mode="json"),
                "group": rows[0].group,
                "macs": costs.of(rows[0].arch).macs,
                "params": costs.of(rows[0].arch).params,
                "trainings": [{"seed": row.seed, **row.figures} for row in rows],
            }
            for key, rows in bench.networks.items()
        ],
    }


def build_notes(built: BuildResult) -> list[str]:
    """What a build left, and what to run next."""
    lines = [f"{built.table}: {built.trainings} of {built.planned} trainings."]
    if built.failed:
        name, reason = next(iter(built.failed.items()))
        lines.append(f"{len(built.failed)} failed, e.g. {name}: {reason}")
    if built.trainings < built.planned:
        return [*lines, "Next: the same command again goes on with what is missing."]
    able = {name: e for name, e in EVALUATORS.items() if e.learns_from <= built.networks}
    figure = min(able, key=lambda name: not able[name].takes("bench"))  # first what a bench is for
    return [*lines, f"Next: smt-nas validate {figure} --on {shell_word(built.table.parent)}"]


def build_document(built: BuildResult) -> dict[str, Any]:
    """The JSON of `bench build`."""
    return {
        "schema": 1,
        "table": str(built.table),
        "trainings": built.trainings,
        "planned": built.planned,
        "failed": dict(built.failed),
        "interrupted": built.interrupted,
    }
