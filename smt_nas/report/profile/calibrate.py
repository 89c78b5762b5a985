"""A calibration as a table of goals and what was seen, and as a JSON document."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from smt_nas.devices.tables.measured_table import Calibration, Evidence

_BUSY = 0.05  # of the machine's CPU time, used by others: more is worth telling


@dataclass(frozen=True)
class Goal:
    """What a table should reach on networks that no fit has seen.

    Attributes:
        heading: of its column.
        value: what was seen; None where there was nothing to see.
        holds: compares it with `bound`.
        bound: the goal.
        shown: format of the value.
    """

    heading: str
    value: Callable[[Calibration], float | None]
    holds: Callable[[float, float], bool]
    bound: float
    shown: str

    def met(self, calibration: Calibration) -> bool | None:
        """Whether it is reached; None where that was not checked."""
        value = self.value(calibration)
        return None if value is None else self.holds(value, self.bound)


GOALS = {
    "mape": Goal("MAPE\n<= 5 %", lambda c: c.mape, operator.le, 0.05, "{:.1%}"),
    "within_10": Goal("within\n10 %\n>= 90 %", lambda c: c.within_10, operator.ge, 0.9, "{:.0%}"),
    "spearman": Goal("Spearman\n>= 0.98", lambda c: c.spearman, operator.ge, 0.98, "{:.3f}"),
}


def calibration_table(evidence: Evidence) -> Group:
    """One row for each set of conditions."""
    table = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    table.add_column("conditions", min_width=10)
    for heading in ("parts\nmeasured", "fitted", "networks\nheld out"):
        table.add_column(heading, justify="right")
    for goal in GOALS.values():
        table.add_column(goal.heading, justify="right", no_wrap=True)
    table.add_column("goals")
    for c in evidence.calibrations:
        counts = (c.parts_measured, c.parts_fitted, len(c.held_out))
        table.add_row(
            str(c.conditions),
            *map(str, counts),
            *(_goal_cell(g, c) for g in GOALS.values()),
            _verdict_cell(c),
        )
    title = f"Latency of space {evidence.space} on {evidence.device_name}, from its parts"
    return Group(Text(title), table)


def calibration_notes(evidence: Evidence, path: Path) -> list[str]:
    """What a reader must know of the table, and where it is."""
    how = "all that was planned" if evidence.complete else "time was up before all was measured"
    lines = [
        f"{evidence.seconds / 60:.1f} minutes of measuring; {how}.",
        "Times are medians at the machine's usual speed: each is scaled by a reference network "
        "timed beside it; so are the networks held out, which no fit has seen.",
        *(
            f"{c.conditions}: the machine's own speed swung by {np.expm1(c.swing):.1%} and less "
            "80 % of the time; that is in the interval, not in the MAPE."
            for c in evidence.calibrations
        ),
    ]
    fitted = [c for c in evidence.calibrations if c.fit_error is not None]
    lines += [
        f"{c.conditions}: parts that were not measured are fitted between those that were; on "
        f"parts held out of that fit it is {c.fit_error:.1%} off. Give it more --minutes."
        for c in fitted
    ]
    lines += _load_notes(evidence)
    lines.append(f"Written: {path} and {path.with_suffix('.json').name}. Predictions use it now.")
    return lines


def calibration_document(evidence: Evidence, path: Path) -> dict[str, Any]:
    """The JSON of a calibration (schema 1): its evidence, its file, the goals."""
    return {
        **evidence.model_dump(mode="json", by_alias=True),
        "path": str(path),
        "goals": [
            {"conditions": str(c.conditions)} | {name: goal.met(c) for name, goal in GOALS.items()}
            for c in evidence.calibrations
        ],
    }


def _goal_cell(goal: Goal, calibration: Calibration) -> str:
    value = goal.value(calibration)
    return "-" if value is None else goal.shown.format(value)


def _verdict_cell(calibration: Calibration) -> str:
    met = [goal.met(calibration) for goal in GOALS.values()]
    if None in met:
        return "not checked"
    return "met" if all(met) else "not met"


def _load_notes(evidence: Evidence) -> list[str]:
    load, lines = evidence.load, list[str]()
    if load.foreign_median is None:
        lines.append("Whether others used the machine is not known.")
    elif load.foreign_median > _BUSY:
        lines.append(
            f"Others used {load.foreign_median:.0%} of this machine's CPU time meanwhile; a table "
            "measured in a quiet hour is better."
        )
    if load.interrupted > _BUSY:
        lines.append(
            f"{load.interrupted:.0%} of the samples were interrupted: CPU time stands for wall "
            "time in them."
        )
    return lines
