"""The front as a table, as notes below it, and as a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from smt_nas.errors import format_count
from smt_nas.evaluators.evidence import (
    COVERAGE,
    INTERVAL_FACTOR,
    FamilyEvidence,
    SupernetEvidence,
)
from smt_nas.files import shell_word
from smt_nas.report.evidence import describe_doubt, describe_evidence
from smt_nas.report.search.columns import Column, is_relative, make_columns
from smt_nas.report.search.extrapolation import (
    design_notes,
    edge_notes,
    outside_document,
    outside_notes,
)
from smt_nas.report.search.latency import latency_notes, prediction_notes
from smt_nas.report.search.notes import Note
from smt_nas.report.search.recommendation import recommend_line, recommended_name
from smt_nas.search import Outcome, Result, Settings, Trial

WIDTH = 80  # of a terminal: the table fits it
_PUBLISHED = (
    "Published: top-1 of the presets on ImageNet-1K, by the README of AFeng-x/SMT; of smt_l by RMT "
    "(CVPR 2024), table 1."
)
ROWS = 20  # of a long front that are shown without --all
NOTES = 6  # lines that are shown without --evidence


def front_table(outcome: Outcome, show_all: bool) -> Group:
    """Members best first, then the baselines; at most `ROWS` members unless `show_all`."""
    members = outcome.front if show_all else thin_out(outcome.front)
    columns = make_columns(outcome)
    table = _make_table(outcome, members, columns, tight=False)
    if _measure_width(table) > WIDTH:
        table = _make_table(outcome, members, columns, tight=True)
    if _measure_width(table) > WIDTH:
        table = _make_table(outcome, members, [c for c in columns if not c.spare], tight=True)
    return Group(Text(_make_title(outcome, len(members))), table)


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


def front_notes(outcome: Outcome, show_all: bool, evidence: bool = False) -> list[str]:
    """What to run next, then what a reader must know of the table.

    Args:
        outcome: with the front.
        show_all: all rows were shown.
        evidence: tell everything, in full, instead of the `NOTES` that a reader needs most.
    """
    notes = collect_notes(outcome)
    if evidence:
        return [*_next_steps(outcome), *(note.text for note in notes)]
    flags = " --all" if len(outcome.front) > ROWS and not show_all else ""
    short = [note.short for note in notes if note.short is not None]
    more = [f"More: smt-nas front {shell_word(outcome.path)}{flags} --evidence"] if notes else []
    return [*_next_steps(outcome), *more, *short[:NOTES]]


def collect_notes(outcome: Outcome) -> list[Note]:
    """All notes, those first that a reader needs most."""
    return [
        *_failure_notes(outcome),
        *_evidence_notes(outcome),
        *_coverage_notes(outcome.front),
        *design_notes(outcome.front),
        *([] if _needs_no_bench(outcome) else outside_notes(outcome.front)),
        *latency_notes(outcome),
        *edge_notes(outcome.problem.space, outcome.front),
        *_tau_notes(outcome),
        *prediction_notes(outcome),
        *_source_notes(outcome),
    ]


def _needs_no_bench(outcome: Outcome) -> bool:
    """Whether the figures rest on published designs or a supernet, not on a bench that was left."""
    return isinstance(outcome.evidence, FamilyEvidence | SupernetEvidence)


def _failure_notes(outcome: Outcome) -> list[Note]:
    """Networks that failed verification, trials that were stopped on purpose, those that failed."""
    failed = outcome.failed_verification
    without = [t.evaluation for t in outcome.trials if t.evaluation.failure is not None]
    trials = format_count(len(outcome.trials), "trial")
    notes = []
    if failed:
        first, count = failed[0], format_count(len(failed), "network")
        notes.append(
            Note(
                "\n".join(
                    f"Left out, it failed verification: {r.arch.key}: {r.failure}" for r in failed
                ),
                f"Left out, failed verification: {count}, e.g. {first.arch.key}: {first.failure}",
            )
        )
    for word, some in (
        ("failed", [e.failure for e in without if not e.stopped]),
        ("stopped early", [e.failure for e in without if e.stopped]),
    ):
        if some:
            text = f"{len(some)} of {trials} {word}, e.g.: {some[0]}"
            notes.append(Note(text, text))
    return notes


def as_document(outcome: Outcome) -> dict[str, Any]:
    """The JSON of search, resume and front (schema 2). What was not measured is not there."""
    problem = outcome.problem
    targets = {q.name: q.target for q in (*problem.timed_metrics, *problem.metrics) if q.target}
    records = {str(r.target): r for r in problem.target_records}
    outside = _no_outside if _needs_no_bench(outcome) else outside_document
    return {
        "schema": 2,
        "run": str(outcome.path),
        "settings": _settings_document(outcome.settings),
        "finished": outcome.finished,
        "trials": len(outcome.trials),
        "failed": sum(_has_failed(t) for t in outcome.trials),
        "stopped": sum(t.evaluation.stopped for t in outcome.trials),
        "evidence": None if outcome.evidence is None else describe_evidence(outcome.evidence),
        "notes": [note.text for note in collect_notes(outcome)],
        "kendall_tau": outcome.kendall_taus,
        "surrogate": [a.model_dump(mode="json") for a in outcome.surrogate_accuracies],
        "targets": {n: records[str(t)].model_dump(mode="json") for n, t in targets.items()},
        "prediction_error": {
            name: asdict(error) for name, error in outcome.prediction_errors.items()
        },
        "front": [r.as_dict() | outside(r) for r in outcome.front],
        "baselines": [r.as_dict() | outside(r) for r in outcome.baselines],
        "recommended": recommended_name(outcome),
    }


def _no_outside(r: Result) -> dict[str, Any]:
    """In the place of `outside_document`."""
    return {"outside": []}


def _settings_document(settings: Settings) -> dict[str, Any]:
    """The evaluator as a user writes it; what it was told beside that stands as `training`."""
    choice = settings.evaluator
    return settings.model_dump(mode="json", exclude={"storage"}) | {
        "evaluator": None if choice is None else choice.word,
        "training": None if choice is None else choice.training or None,
    }


def _has_failed(trial: Trial) -> bool:
    return trial.evaluation.failure is not None and not trial.evaluation.stopped


def thin_out(members: Sequence[Result], most: int = ROWS) -> list[Result]:
    """At most so many members, evenly over the front, both ends included."""
    if len(members) <= most:
        return list(members)
    picks = np.linspace(0, len(members) - 1, most).round().astype(int)
    return [members[i] for i in picks]


def _make_title(outcome: Outcome, shown: int) -> str:
    limits = ", ".join(str(limit) for limit in outcome.problem.constraints) or "no budget"
    members = format_count(len(outcome.front), "network")
    part = f" ({shown} shown)" if shown < len(outcome.front) else ""
    by_bound = any(r.evaluation is not None and r.evaluation.by_lower_bound for r in outcome.front)
    order = ", by the low end of the interval" if by_bound else ""
    return (
        f"Front of {members}{part}, of {len(outcome.trials)} tried in space "
        f"{outcome.problem.space.name}, {limits}{order}"
    )


def _evidence_notes(outcome: Outcome) -> list[Note]:
    """On what the evaluator's figures rest."""
    evidence = outcome.evidence
    if evidence is None:
        return []
    return [Note(f"{describe_evidence(evidence).rstrip('.')}.", describe_doubt(evidence))]


def _coverage_notes(front: Sequence[Result]) -> list[Note]:
    """Members of which a supernet trained something in few steps."""
    thin = [
        (r.name, r.evaluation.components)
        for r in front
        if r.evaluation is not None and r.evaluation.components.get(INTERVAL_FACTOR, 1.0) > 1.0
    ]
    if not thin:
        return []
    names = ", ".join(name for name, _ in thin)
    widest = max(parts[INTERVAL_FACTOR] for _, parts in thin)
    least = min(parts[COVERAGE] for _, parts in thin)
    line = f"Thinly trained in the supernet: {names}: intervals up to {widest:.1f} times as wide"
    return [
        Note(
            f"{line} as their images say, as a choice of theirs was in {least:.1%} of the steps "
            "(evaluator_coverage and evaluator_interval_factor in front.csv).",
            f"{line}.",
        )
    ]


def _tau_notes(outcome: Outcome) -> list[Note]:
    """How near the evaluator's figure is to a mere count of costs."""
    metric = outcome.problem.evaluated_metric
    if not outcome.kendall_taus or metric is None:
        return []
    taus = ", ".join(f"{tau:.2f} to #{name}" for name, tau in outcome.kendall_taus.items())
    name = "score" if is_relative(outcome, metric) else metric.name
    text = f"{name}: its Kendall tau in this run is {taus}."
    return [Note(text, text)]


def _source_notes(outcome: Outcome) -> list[Note]:
    """Where figures come from that no evaluator and no clock gave."""
    metric, notes = outcome.problem.evaluated_metric, []
    if metric is not None and any(metric.name in r.published for r in outcome.baselines):
        notes.append(Note(_PUBLISHED, "Published: top-1 of the presets on ImageNet-1K."))
    if any(r.op_counts for r in outcome.front):
        rule = "MACs: by formula, and torch's counter agrees on every row"
        notes.append(
            Note(
                f"{rule}; fvcore's and thop's figures are in front.csv (smt-nas profile says what "
                "each leaves out).",
                f"{rule}.",
            )
        )
    return notes


def _next_steps(outcome: Outcome) -> list[str]:
    if not outcome.front and outcome.finished:
        return ["Nothing is on the front. Mend what failed, and search anew with another --out."]
    if not outcome.front:
        return ["Nothing is on the front yet.", f"Next: smt-nas resume {shell_word(outcome.path)}"]
    if not outcome.finished:
        return ["This run is not finished.", f"Next: smt-nas resume {shell_word(outcome.path)}"]
    line, name = recommend_line(outcome), recommended_name(outcome)
    file = outcome.path / "front" / f"{name}.yaml"
    step = f"Next: smt-nas profile {shell_word(file)}{_word_form(outcome)}"
    return [*([] if line is None else [line]), step]


def _word_form(outcome: Outcome) -> str:
    """The option that times a network as the search did; nothing of eager."""
    modes = {target.conditions.mode for target in outcome.problem.local_targets} - {"eager"}
    return f" --form {min(modes)}" if len(modes) == 1 else ""
