"""What `profile` shows, in order: costs, counters, figures, comparisons, where the time goes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from smt_nas.profilers.breakdown import Breakdown
from smt_nas.profilers.profile import Profile
from smt_nas.report.profile.breakdown import breakdown_notes, breakdown_table
from smt_nas.report.profile.compare import comparison_table
from smt_nas.report.profile.costs import NetworkCounts, costs_table, counter_notes, counter_table
from smt_nas.report.profile.readings import notes, reading_table, title


def tables(
    profile: Profile, counted: Sequence[NetworkCounts], breakdowns: Sequence[Breakdown]
) -> Iterator[RenderableType]:
    """Everything a reader wants to see of a profile, in order."""
    if len(counted) == 1:
        yield from _counts(counted[0])
    yield Text()
    conditions = list(dict.fromkeys(r.conditions for r in profile.rows if r.readings))
    if conditions:  # else the notes say why there is no figure
        yield Text(title(profile))
    if len(counted) == 1 and conditions:
        yield reading_table(profile)
    elif len(counted) > 1:
        yield from (comparison_table(profile, each, counted) for each in conditions)
    for b in breakdowns:
        yield Text()
        yield breakdown_table(b)
    for line in [*notes(profile), *(n for b in breakdowns[:1] for n in breakdown_notes(b))]:
        yield Text(line)


def _counts(c: NetworkCounts) -> Iterator[RenderableType]:
    """Costs by formula, where a formula knows the network; then what each counter says."""
    if c.network.arch is not None:
        yield costs_table(c.network.name, c.network.arch, c.parts)
    if not c.network.is_countable:
        yield Text(f"{c.network.name}: no manifest says its network, so nothing of it is counted.")
        return
    if c.network.file is not None:
        yield Text(f"{c.network.name}: costs are of the network it was written from.")
    yield counter_table(c)
    yield from map(Text, counter_notes(c))
