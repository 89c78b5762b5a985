"""Who is faster: networks of one profile side by side, and saved profiles against each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS
from smt_nas.profilers.compare import Verdict, verdict
from smt_nas.profilers.latency.measurement import Measurement
from smt_nas.profilers.profile import Profile, ProfileRow
from smt_nas.report.profile.costs import NetworkCounts
from smt_nas.report.profile.document import Saved
from smt_nas.report.profile.readings import as_ms, as_number, half_width


def comparison_table(
    profile: Profile, conditions: Conditions, counted: Sequence[NetworkCounts]
) -> Table:
    """Networks under the same conditions, each against the first one."""
    measured = profile.where is not None
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True, title=str(conditions))
    table.title_justify = "left"
    table.add_column("network", overflow="fold", min_width=9)
    params = METRICS["params"].choose_unit(c.params for c in counted)
    macs = METRICS["macs"].choose_unit(c.macs for c in counted)
    headings = [
        params.heading.replace("params", "\nparams"),
        macs.heading,
        "latency\nms",
        "±95%" if measured else "80 %\ninterval",
    ]
    headings += ["img/s", "peak\nMB", "v the\nfirst"]
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict" if measured else "", no_wrap=True)
    table.add_column("status", no_wrap=True)
    rows = {r.network: r for r in profile.rows if r.conditions == conditions and r.readings}
    verdicts = {c.other: c.verdict for c in profile.comparisons if c.conditions == conditions}
    for c in counted:
        if c.network.name in rows:
            row = rows[c.network.name]
            cells = _cells(row, _compare_with_first(row, rows), verdicts.get(row.network))
            table.add_row(row.network, params.show(c.params), macs.show(c.macs), *cells)
    return table


def _cells(row: ProfileRow, ratio: str, word: Verdict | None) -> list[str]:
    latency = row.readings["latency_ms"]
    return [
        as_ms(latency.value),
        half_width(latency) if row.measurement else f"{as_ms(latency.low)}-{as_ms(latency.high)}",
        as_number(row.readings.get("throughput_ips")),
        as_number(row.readings.get("peak_memory_mb")),
        ratio,
        "" if word is None else word.word,
        latency.status if row.measurement else latency.provenance,
    ]


def _compare_with_first(row: ProfileRow, rows: Mapping[str, ProfileRow]) -> str:
    first, own = next(iter(rows.values())).readings["latency_ms"], row.readings["latency_ms"]
    assert first.value and own.value
    return f"{own.value / first.value:.2f}x"


@dataclass(frozen=True)
class Pair:
    """Two measurements under the same conditions; `verdict` is of `b` relative to `a`."""

    a: Measurement
    b: Measurement
    verdict: Verdict


def match_pairs(a: Saved, b: Saved) -> list[Pair]:
    """What of two saved profiles can be compared: the same conditions, and the same network.

    Where they share no network, each network of one is compared with each of the other.

    Raises:
        ConfigError: no conditions are the same.
    """
    same = {m.name for m in a.measurements} & {m.name for m in b.measurements}
    matches = [
        Pair(x, y, verdict(x, y))
        for x in a.measurements
        for y in b.measurements
        if x.conditions == y.conditions and (x.name == y.name or not same)
    ]
    if not matches:
        ways = [", ".join(dict.fromkeys(str(m.conditions) for m in s.measurements)) for s in (a, b)]
        raise ConfigError(
            f"{a.path} and {b.path}: no conditions are the same (got {ways[0]} and {ways[1]}). "
            "Profile both the same way."
        )
    return matches


def pairs_table(pairs: Sequence[Pair]) -> Table:
    """A row for each pair."""
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("network", overflow="fold")
    table.add_column("conditions")
    for heading in ("first\nms", "second\nms", "second\nover first", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("the second is", no_wrap=True)
    for p in pairs:
        name = p.a.name if p.a.name == p.b.name else f"{p.b.name} v {p.a.name}"
        times = (as_ms(p.a.wall.median_ms), as_ms(p.b.wall.median_ms))
        v = p.verdict
        interval = f"{v.low:.3f} to {v.high:.3f}"
        table.add_row(name, str(p.a.conditions), *times, f"{v.ratio:.3f}", interval, v.word)
    return table


def pairs_notes(a: Saved, b: Saved, pairs: Sequence[Pair]) -> list[str]:
    """What differs between the two profiles, and why a verdict is unclear."""
    lines = [f"First: {a.path}, on {a.device}. Second: {b.path}, on {b.device}."]
    for key, (old, new) in _differences(a, b).items():
        lines.append(f"{key} differs: {old} and {new}.")
    margin = max(p.verdict.margin for p in pairs)
    lines.append(
        f"Two runs: nothing below {margin:.0%} is called a difference, and no more than that can "
        "be told between days."
    )
    reasons = dict.fromkeys(p.verdict.reason for p in pairs if p.verdict.reason)
    return lines + [f"UNCLEAR: {reason}." for reason in reasons]


def pairs_document(a: Saved, b: Saved, pairs: Sequence[Pair]) -> dict[str, Any]:
    """The JSON of `compare` (schema 1)."""
    return {
        "schema": 1,
        "kind": "comparison",
        "first": {"path": a.path, "device": a.device},
        "second": {"path": b.path, "device": b.device},
        "differences": {key: list(pair) for key, pair in _differences(a, b).items()},
        "pairs": [
            {
                "first": p.a.name,
                "second": p.b.name,
                "conditions": p.a.conditions.model_dump(mode="json"),
                "first_ms": p.a.wall.median_ms,
                "second_ms": p.b.wall.median_ms,
                **asdict(p.verdict),
            }
            for p in pairs
        ],
    }


_OF_THE_RUN = ("date", "load")  # differ always


def _differences(a: Saved, b: Saved) -> dict[str, tuple[Any, Any]]:
    """Entries of the environment stamps that are not equal."""
    keys = [k for k in dict.fromkeys((*a.environment, *b.environment)) if k not in _OF_THE_RUN]
    both = {k: (a.environment.get(k), b.environment.get(k)) for k in keys}
    return {k: pair for k, pair in both.items() if pair[0] != pair[1]}
