"""How joint and capacity agree with published networks: a table, what it says, a JSON document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.table import Table

from smt_nas.errors import format_count
from smt_nas.evaluators.scaling_law import KNOWN_MEMBERS
from smt_nas.evaluators.topology.leave_family_out import SHARE
from smt_nas.evaluators.topology.left_out import FamilyDifference, TargetCount
from smt_nas.evaluators.validation.family_validation import (
    COSTS,
    IMAGENET,
    JOINT,
    LAW,
    FamilyError,
    FamilyValidation,
    RegionCheck,
)
from smt_nas.report.shares import DASH


def family_table(validation: FamilyValidation) -> Table:
    """A row a model; each figure of hybrids, then of all networks."""
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("error, points", no_wrap=True)
    groups = ("none known", f"{KNOWN_MEMBERS} known", f"80 % holds, {KNOWN_MEMBERS} known")
    for group in groups:
        table.add_column(f"{group}\nhybrids / all", justify="right", no_wrap=True)
    for row in validation.errors:
        errors = [" / ".join(map(_format_points, pair)) for pair in (row.unknown, row.known)]
        table.add_row(row.model, *errors, " / ".join(map(_format_share, row.coverage)))
    return table


def family_notes(validation: FamilyValidation) -> list[str]:
    """What the table is of, and what follows from it."""
    unknown, known = validation.targets
    lines = [
        f"On {validation.source}: mean absolute error of top-1 in families left out in turn "
        f"with their lines of design, with no member known ({_word_targets(unknown)}) or "
        f"{KNOWN_MEMBERS} ({_word_targets(known)}). "
        "Hybrids mix convolution with attention or modulation, as SMT does.",
        *(_word_difference(other, gap) for other, gap in validation.above.items()),
        *_word_siblings(validation),
        _word_intervals(validation),
    ]
    if any(row.model == JOINT for row in validation.errors):
        lines.append(_word_region(validation.region))
    if validation.source != IMAGENET:
        lines.append(
            "What was fitted to the shipped table is taken from there; a family of it has what was "
            "fitted without it. One that has another name here is flattered."
        )
    return lines


def _word_siblings(validation: FamilyValidation) -> list[str]:
    """The same where networks of a family's line of design stay."""
    errors, above = validation.with_siblings, validation.above_costs_with_siblings
    if errors is None:
        return []
    unknown, known = (
        " / ".join(map(_format_points, pair)) for pair in (errors.unknown, errors.known)
    )
    less = "" if above is None else f"; less costs alone {_format_difference(above)}"
    return [
        f"With siblings left in (families alone left out): {JOINT} {unknown} with none known, "
        f"{known} with {KNOWN_MEMBERS}{less}."
    ]


def _format_difference(difference: FamilyDifference) -> str:
    return f"{difference.mean:+.3f} points, {difference.low:+.3f} to {difference.high:+.3f}"


def _word_targets(count: TargetCount) -> str:
    networks = format_count(count.networks, "network")
    return (
        f"{networks} of {_count_families(count.families)}; "
        f"{format_count(count.hybrids, 'hybrid')} of {count.hybrid_families}"
    )


def _count_families(number: int) -> str:
    return f"{number} {'family' if number == 1 else 'families'}"


def _word_difference(other: str, difference: FamilyDifference | None) -> str:
    if difference is None:
        return f"{JOINT} less {other}: no family has more than {KNOWN_MEMBERS} members."
    word = "no difference is certain"
    if difference.low > 0 or difference.high < 0:
        word = "better beyond doubt" if difference.high < 0 else "worse beyond doubt"
    return (
        f"{JOINT} less {other}: {_format_difference(difference)} (95 %; mean over "
        f"{_count_families(difference.families)}, {KNOWN_MEMBERS} known): {word}."
    )


def _word_intervals(validation: FamilyValidation) -> str:
    of_law = f"of {LAW} are as wide as its errors in the other families."
    models = [row.model for row in validation.errors]
    if JOINT not in models:
        return f"Intervals {of_law}"
    by_others = ""
    if validation.cross_coverage is not None:
        by_others = (
            f"; by the factor that the other families give, {JOINT}'s hold "
            f"{_format_share(validation.cross_coverage)} of the hybrids"
        )
    if validation.gain_coverage is not None and None not in validation.gain_coverage:
        hybrids, every = map(_format_share, validation.gain_coverage)
        by_others += f"; its 95 % intervals, as gains have, hold {hybrids} of them, {every} of all"
    return (
        f"Intervals of {JOINT} and {COSTS} are {validation.interval_factor:g} times as wide as the "
        f"processes have them, so that {_format_share(SHARE)} of the shipped hybrids are held"
        f"{by_others}. Those {of_law}"
    )


def _word_region(region: RegionCheck | None) -> str:
    if region is None:
        return "Region of designs: not checked; the table has too few lines of design."
    return (
        f"Region of designs ({region.networks} architectures of {region.lines} lines): its limit, "
        f"fitted on half of the lines, holds {_format_share(region.inside)} of the others' "
        f"networks (mean of {region.halves} random halves; {_format_share(region.lowest)} to "
        f"{_format_share(region.highest)}); fitted on all it is {region.limit:.2f}."
    )


def _format_points(value: float | None) -> str:
    return DASH if value is None else f"{value:.2f}"


def _format_share(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.0f} %"


def _row_document(row: FamilyError) -> dict[str, Any]:
    return {
        "name": row.model,
        "none_known_error": _by_kind(row.unknown),
        "members_known_error": _by_kind(row.known),
        "coverage_80": _by_kind(row.coverage),
    }


def family_document(validation: FamilyValidation) -> dict[str, Any]:
    """The JSON of `validate` on published networks."""
    unknown, known = (asdict(count) for count in validation.targets)
    siblings = validation.with_siblings
    return {
        "schema": 1,
        "published": validation.source,
        "targets": {"none_known": unknown, "members_known": known},
        "known_members": KNOWN_MEMBERS,
        "rows": [_row_document(row) for row in validation.errors],
        "with_siblings": None if siblings is None else _row_document(siblings),
        "joint_less": {
            other: None if difference is None else asdict(difference)
            for other, difference in validation.above.items()
        },
        "interval_factor": validation.interval_factor,
        "cross_coverage_80": validation.cross_coverage,
        "coverage_95": None
        if validation.gain_coverage is None
        else _by_kind(validation.gain_coverage),
        "region": None if validation.region is None else asdict(validation.region),
    }


def _by_kind(pair: Sequence[float | None]) -> dict[str, float | None]:
    hybrids, every = pair
    return {"hybrids": hybrids, "all": every}
