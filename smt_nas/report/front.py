"""The front as a table, as notes below it, and as a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from smt_nas.metrics import METRICS
from smt_nas.search import Outcome, Result

ROWS = 20  # of a long front that are shown without --all
REFERENCE = "smt_t"
_COLUMNS = ("score", "macs", "params", "peak_memory_mb", "latency_ms")
_COMPARED = "macs"


def front_table(outcome: Outcome, show_all: bool) -> Group:
    """Members best first, then the baselines; at most `ROWS` members unless `show_all`."""
    members = outcome.front if show_all else _thinned(outcome.front)
    columns = [n for n in _columns(outcome) if _known(outcome, n)]
    tight = len(columns) > len(_COLUMNS)  # else 80 characters would not hold it
    table = Table(show_edge=False, pad_edge=False, collapse_padding=tight)
    table.add_column("name", no_wrap=True)
    for name in columns:
        table.add_column(_heading(outcome, name), justify="right", no_wrap=True)
    table.add_column(f"MACs vs\n{REFERENCE}", justify="right")
    for r in members:
        table.add_row(*_cells(outcome, r, columns))
    table.add_section()
    for r in outcome.baselines:
        table.add_row(*_cells(outcome, r, columns), style="dim")
    return Group(Text(_title(outcome)), table)


def front_notes(outcome: Outcome, show_all: bool) -> list[str]:
    """What a reader must know of the table, and what to run next."""
    lines = []
    if len(outcome.front) > ROWS and not show_all:
        lines.append(
            f"{len(outcome.front)} networks are on the front; {ROWS} are shown, spread over it. "
            f"All: smt-nas front {outcome.path} --all"
        )
    lines += _provenance(outcome)
    lines += [f"Left out, its proof failed: {r.arch.key}: {r.reason}" for r in outcome.disproved]
    failed = [t for t in outcome.trials if t.evaluation.reason is not None]
    if failed:
        reasons = dict.fromkeys(str(t.evaluation.reason) for t in failed)
        lines.append(f"{len(failed)} of {len(outcome.trials)} trials failed: {next(iter(reasons))}")
    lines.append(_next(outcome))
    return lines


def as_document(outcome: Outcome) -> dict[str, Any]:
    """The JSON of search, resume and front (schema 1). What was not measured is not there."""
    return {
        "schema": 1,
        "run": str(outcome.path),
        "settings": outcome.settings.model_dump(mode="json", exclude={"storage"}),
        "finished": outcome.finished,
        "trials": len(outcome.trials),
        "failed": sum(t.evaluation.reason is not None for t in outcome.trials),
        "kendall_tau": outcome.taus,
        "front": [r.as_dict() for r in outcome.front],
        "baselines": [r.as_dict() for r in outcome.baselines],
    }


def _columns(outcome: Outcome) -> list[str]:
    wanted = [m.name for m in outcome.problem.objectives]
    wanted += [limit.metric for limit in outcome.problem.limits]
    return [n for n in METRICS if n in wanted or n in _COLUMNS]


def _known(outcome: Outcome, name: str) -> bool:
    return any(name in r.values for r in (*outcome.front, *outcome.baselines))


def _heading(outcome: Outcome, name: str) -> str:
    """A column's title, with the provenance of what stands in it."""
    rows = (*outcome.front, *outcome.baselines)
    sources = dict.fromkeys(r.provenance[name] for r in rows if name in r.values)
    return f"{METRICS[name].heading}\n{', '.join(sources)}"


def _cells(outcome: Outcome, r: Result, columns: Sequence[str]) -> list[str]:
    reference = next(b for b in outcome.baselines if b.name == REFERENCE)
    ratio = r.values[_COMPARED] / reference.values[_COMPARED]
    shown = [METRICS[name].show(r.values.get(name)) for name in columns]
    return [r.name, *shown, f"{ratio:.2f}x"]


def _thinned(members: Sequence[Result]) -> list[Result]:
    """At most `ROWS` members, evenly over the front, both ends included."""
    if len(members) <= ROWS:
        return list(members)
    picks = np.linspace(0, len(members) - 1, ROWS).round().astype(int)
    return [members[i] for i in picks]


def _title(outcome: Outcome) -> str:
    limits = ", ".join(str(limit) for limit in outcome.problem.limits) or "no budget"
    return (
        f"Front of {len(outcome.trials)} networks of space {outcome.problem.space.name}, {limits}"
    )


def _provenance(outcome: Outcome) -> list[str]:
    lines = []
    if outcome.taus:
        taus = ", ".join(f"{tau:.2f} to #{name}" for name, tau in outcome.taus.items())
        rated = outcome.problem.rated
        assert rated is not None
        proxy = any(r.provenance.get(rated.name) == "proxy" for r in outcome.front)
        word = "a proxy, not an accuracy" if proxy else f"of evaluator {outcome.settings.evaluator}"
        lines.append(f"{rated.name}: {word}; its Kendall tau in this run is {taus}.")
    if any(r.witnesses for r in outcome.front):
        lines.append(
            "MACs: by formula, and torch's counter agrees on every row; fvcore's and thop's "
            "figures are in front.csv (smt-nas profile says what each leaves out)."
        )
    if any("latency_ms" in r.values for r in outcome.front):
        lines.append(
            "latency_ms: measured on this machine, 1 image, 1 CPU thread, fp32, median of "
            "interleaved runs; compare rows, not machines."
        )
    return lines


def _next(outcome: Outcome) -> str:
    if not outcome.front:
        return f"Nothing is on the front yet. Next: smt-nas resume {outcome.path}"
    if not outcome.finished:
        return f"This run is not finished. Next: smt-nas resume {outcome.path}"
    best = f"{outcome.path}/front/{outcome.front[0].name}.yaml"
    return f"Next: smt-nas profile {best}"
