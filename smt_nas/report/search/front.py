"""The front as a table, as notes below it, and as a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from smt_nas.report.evidence import describe_evidence
from smt_nas.report.search.columns import Column, is_relative, make_columns
from smt_nas.report.search.extrapolation import edge_notes, outside_document, outside_notes
from smt_nas.report.search.latency import latency_notes
from smt_nas.search import Outcome, Result, Settings, Trial

WIDTH = 80  # of a terminal: the table fits it
_PUBLISHED = (
    "Published: top-1 of the presets on ImageNet-1K, by the README of AFeng-x/SMT; of smt_l by RMT "
    "(CVPR 2024), table 1."
)
ROWS = 20  # of a long front that are shown without --all


def front_table(outcome: Outcome, show_all: bool) -> Group:
    """Members best first, then the baselines; at most `ROWS` members unless `show_all`."""
    members = outcome.front if show_all else _thin_out(outcome.front)
    columns = make_columns(outcome)
    table = _make_table(outcome, members, columns, tight=False)
    if _measure_width(table) > WIDTH:
        table = _make_table(outcome, members, columns, tight=True)
    if _measure_width(table) > WIDTH:
        table = _make_table(outcome, members, [c for c in columns if not c.spare], tight=True)
    return Group(Text(_make_title(outcome)), table)


def _make_table(
    outcome: Outcome, members: Sequence[Result], columns: Sequence[Column], tight: bool
) -> Table:
    table = Table(show_edge=False, pad_edge=False, collapse_padding=tight)
    table.add_column("name", no_wrap=True)
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True)
    for r in members:
        table.add_row(r.name, *(column.cell(r) for column in columns))
    table.add_section()
    for r in outcome.baselines:
        table.add_row(r.name, *(column.cell(r) for column in columns), style="dim")
    return table


def _measure_width(table: Table) -> int:
    # no terminal: rich takes a dumb one for 80 columns, whatever width it is told
    console = Console(width=2 * WIDTH, force_terminal=False, markup=False, emoji=False)
    return console.measure(table).maximum


def front_notes(outcome: Outcome, show_all: bool) -> list[str]:
    """What a reader must know of the table, and what to run next."""
    lines = []
    if len(outcome.front) > ROWS and not show_all:
        lines.append(
            f"{len(outcome.front)} networks are on the front; {ROWS} are shown, spread over it. "
            f"All: smt-nas front {outcome.path} --all"
        )
    lines += _provenance_notes(outcome) + outside_notes(outcome.front)
    lines += edge_notes(outcome.problem.space, outcome.front) + latency_notes(outcome)
    lines += [
        f"Left out, it failed verification: {r.arch.key}: {r.failure}"
        for r in outcome.failed_verification
    ]
    lines += _failure_notes(outcome)
    lines.append(_next_step(outcome))
    return lines


def _failure_notes(outcome: Outcome) -> list[str]:
    """Trials that were stopped on purpose, and those that failed."""
    without = [t.evaluation for t in outcome.trials if t.evaluation.failure is not None]
    lines = []
    for word, some in (
        ("were stopped early", [e.failure for e in without if e.stopped]),
        ("failed", [e.failure for e in without if not e.stopped]),
    ):
        if some:
            lines.append(f"{len(some)} of {len(outcome.trials)} trials {word}, e.g.: {some[0]}")
    return lines


def as_document(outcome: Outcome) -> dict[str, Any]:
    """The JSON of search, resume and front (schema 2). What was not measured is not there."""
    problem = outcome.problem
    targets = {q.name: q.target for q in (*problem.timed_metrics, *problem.metrics) if q.target}
    records = {str(r.target): r for r in problem.target_records}
    return {
        "schema": 2,
        "run": str(outcome.path),
        "settings": _settings_document(outcome.settings),
        "finished": outcome.finished,
        "trials": len(outcome.trials),
        "failed": sum(_has_failed(t) for t in outcome.trials),
        "stopped": sum(t.evaluation.stopped for t in outcome.trials),
        "evidence": None if outcome.evidence is None else describe_evidence(outcome.evidence),
        "kendall_tau": outcome.kendall_taus,
        "targets": {n: records[str(t)].model_dump(mode="json") for n, t in targets.items()},
        "prediction_error": {
            name: asdict(error) for name, error in outcome.prediction_errors.items()
        },
        "front": [r.as_dict() | outside_document(r) for r in outcome.front],
        "baselines": [r.as_dict() | outside_document(r) for r in outcome.baselines],
    }


def _settings_document(settings: Settings) -> dict[str, Any]:
    """The evaluator as a user writes it; what it was told beside that stands as `training`."""
    choice = settings.evaluator
    return settings.model_dump(mode="json", exclude={"storage"}) | {
        "evaluator": None if choice is None else choice.word,
        "training": None if choice is None else choice.training or None,
    }


def _has_failed(trial: Trial) -> bool:
    return trial.evaluation.failure is not None and not trial.evaluation.stopped


def _thin_out(members: Sequence[Result]) -> list[Result]:
    """At most `ROWS` members, evenly over the front, both ends included."""
    if len(members) <= ROWS:
        return list(members)
    picks = np.linspace(0, len(members) - 1, ROWS).round().astype(int)
    return [members[i] for i in picks]


def _make_title(outcome: Outcome) -> str:
    limits = ", ".join(str(limit) for limit in outcome.problem.constraints) or "no budget"
    return (
        f"Front of {len(outcome.front)} networks, of {len(outcome.trials)} tried in space "
        f"{outcome.problem.space.name}, {limits}"
    )


def _provenance_notes(outcome: Outcome) -> list[str]:
    lines = (
        [] if outcome.evidence is None else [f"{describe_evidence(outcome.evidence).rstrip('.')}."]
    )
    metric = outcome.problem.evaluated_metric
    if outcome.kendall_taus:
        taus = ", ".join(f"{tau:.2f} to #{name}" for name, tau in outcome.kendall_taus.items())
        assert metric is not None
        name = "score" if is_relative(outcome, metric) else metric.name
        lines.append(f"{name}: its Kendall tau in this run is {taus}.")
    if metric is not None and any(metric.name in r.published for r in outcome.baselines):
        lines.append(_PUBLISHED)
    if any(r.op_counts for r in outcome.front):
        lines.append(
            "MACs: by formula, and torch's counter agrees on every row; fvcore's, thop's and "
            "torchprofile's figures are in front.csv (smt-nas profile says what each leaves out)."
        )
    return lines


def _next_step(outcome: Outcome) -> str:
    if not outcome.front and outcome.finished:
        return "Nothing is on the front. Mend what failed, and search anew with another --out."
    if not outcome.front:
        return f"Nothing is on the front yet. Next: smt-nas resume {outcome.path}"
    if not outcome.finished:
        return f"This run is not finished. Next: smt-nas resume {outcome.path}"
    first = next((r for r in outcome.front if not r.violations), outcome.front[0])
    best = f"{outcome.path}/front/{first.name}.yaml"
    return f"Next: smt-nas profile {best}"
