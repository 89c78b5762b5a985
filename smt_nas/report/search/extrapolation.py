"""Where members of a front lie outside what was trained, or all at an edge of the space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from smt_nas.errors import format_count, list_names
from smt_nas.evaluators.predictors.extrapolation import ExtrapolatedFeature, find_extrapolated
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.report.search.notes import Note
from smt_nas.search import Result
from smt_nas.space import SearchSpace

_FRONT = 5  # members from which it tells something that all lie at an edge
_EDGES = {
    "depth": "depth",
    "dim": "width",
    "mlp_ratio": "FFN ratio",
    "attention_ratio": "attention",
}
_MOST, _NAMED = 6, 8  # features, and members of each, that are named; the JSON has all


def outside_notes(members: Sequence[Result]) -> list[Note]:
    """A note a feature with the members that leave the bench in it; none where all lie inside."""
    by_feature: dict[str, list[tuple[str, ExtrapolatedFeature]]] = {}
    leaving = set()
    for r, outside in zip(members, find_extrapolated([r.arch for r in members]), strict=True):
        for exceeded in outside:
            by_feature.setdefault(exceeded.feature, []).append((r.name, exceeded))
            leaving.add(r.name)
    if not by_feature:
        return []
    share = f"{len(leaving)} of {format_count(len(members), 'member')}"
    notes = [
        Note(
            f"Outside the evidence ({BENCH} trained no network like it): {share}, in",
            f"Outside the evidence, so in more doubt: {share}.",
        )
    ]
    ordered = sorted(by_feature.values(), key=lambda rows: -max(b.widths for _, b in rows))
    for rows in ordered[:_MOST]:
        first = rows[0][1]
        names = ", ".join(f"{name} ({b.value:.3g})" for name, b in rows[:_NAMED])
        others = len(rows) - _NAMED
        names += f" and {format_count(others, 'other')}" if others > 0 else ""
        notes.append(Note(f"  {first.words}, bench {first.low:.3g} to {first.high:.3g}: {names}"))
    if len(ordered) > _MOST:
        more = format_count(len(ordered) - _MOST, "other feature")
        notes.append(Note(f"  and {more}; --json has them."))
    return notes


def design_notes(members: Sequence[Result]) -> list[Note]:
    """Where members lie among published designs; none for small images."""
    placed = [(r, r.design) for r in members if r.design is not None]
    if not placed:
        return []
    limit = placed[0][1].limit
    outside = [r.name for r, design in placed if design.distance > limit]
    least, most = (f(design.distance for _, design in placed) for f in (min, max))
    where = (
        f"all {len(placed)} lie within"
        if not outside
        else f"{len(outside)} of {len(placed)} lie outside"
    )
    text = (
        f"Designs: {where} the region of published ones (distance to the third nearest {least:.1f} "
        f"to {most:.1f}; it ends at {limit:.1f})"
    )
    nearest = "; ".join(f"{r.name}: {', '.join(d.nearest)}" for r, d in placed[:_NAMED])
    return [Note(f"{text}. Nearest to {nearest}.", f"{text}.")]


def edge_notes(space: SearchSpace, members: Sequence[Result]) -> list[Note]:
    """Options at whose least or greatest value every member lies: there the space is the limit."""
    if len(members) < _FRONT:
        return []
    edges = {}
    for i, options in enumerate(space.config.stages):
        for field, words in _EDGES.items():
            values = sorted(getattr(options, field))
            for edge in {values[0], values[-1]} if len(values) > 1 else ():
                if all(getattr(r.arch.stages[i], field) == edge for r in members):
                    name = f"{words} of stage {i + 1}"
                    edges[name] = f"is {edge:g} (of {values[0]:g}..{values[-1]:g})"
    if not edges:
        return []
    whole = ", ".join(f"{name} {value}" for name, value in edges.items())
    short = f"At an edge of the space in all {len(members)}: {list_names([*edges], 2)}."
    return [Note(f"At an edge of the space in all {len(members)} members: {whole}.", short)]


def outside_document(r: Result) -> dict[str, Any]:
    """All features of a network that lie outside, the farthest first."""
    return {"outside": [asdict(exceeded) for exceeded in find_extrapolated([r.arch])[0]]}
