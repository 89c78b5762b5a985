"""How far the training of a supernet is, as its checkpoints keep it, and when to go back."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from smt_nas.evaluators.supernet.coverage import Coverage
from smt_nas.evaluators.supernet.loss_log import LossRow
from smt_nas.evaluators.supernet.training.sandwich_step import StepReport

EXPLODED = 3.0
"""A loss above so many times the usual one is of weights that went wrong; published supernets fell
to chance within ten steps (AttentiveNAS issue 5, AlphaNet issue 9)."""
AT_CHANCE, LEARNT = 0.95, 0.8
"""Shares of ln(classes): a loss above the first is of chance; once the usual one was below the
second, it means that what was learnt is lost."""
PATIENCE = 50
"""Steps in a row with such a loss, or left out, after which the training goes back."""
_USUAL = 200  # losses that the usual one is the median of
_FEWEST = 20
_EVERY = 20  # steps a row of the log


@dataclass
class SupernetState:
    """What has been done; checkpoints keep these fields by name.

    Attributes:
        chance: loss of a network that knows nothing, ln(classes).
        step: steps so far, those left out included.
        seconds: of work, over all starts.
        skipped: steps left out.
        rollbacks: times that it went back to a checkpoint.
        bad_in_a_row: the last so many steps were left out or had a loss that exploded.
        losses: of the big networks in the last steps that were sound, the newest last.
        open_row: reports of the steps since the last row, as plain values.
        rows: of losses.csv.
        coverage: what was trained.
    """

    chance: float = math.inf
    step: int = 0
    seconds: float = 0.0
    skipped: int = 0
    rollbacks: int = 0
    bad_in_a_row: int = 0
    losses: list[float] = field(default_factory=list)
    open_row: list[StepReport] = field(default_factory=list)
    rows: list[LossRow] = field(default_factory=list)
    coverage: Coverage = field(default_factory=Coverage)

    def add(self, report: StepReport, seconds: float) -> None:
        """Count a step."""
        self.step += 1
        self.seconds += seconds
        self.skipped += not report.is_updated
        if report.is_updated and not self._is_exploded(report.loss_big):
            self.bad_in_a_row = 0
            self.losses.append(report.loss_big)
            del self.losses[:-_USUAL]
        else:
            self.bad_in_a_row += 1
        self.open_row.append(report)
        if self.step % _EVERY == 0:
            self.close_row()

    @property
    def has_exploded(self) -> bool:
        """Whether it is time to go back."""
        return self.bad_in_a_row >= PATIENCE

    def close_row(self) -> None:
        """End the row under way, where there is one."""
        if not self.open_row:
            return
        sound = [report for report in self.open_row if report.is_updated]
        self.rows.append(
            LossRow(
                step=self.step,
                loss_big=_mean([r.loss_big for r in sound]),
                kl=_mean([r.kl for r in sound]),
                norm=_mean([r.norm for r in sound]),
                lr=self.open_row[-1].lr,
                skipped=len(self.open_row) - len(sound),
                seconds=round(self.seconds, 3),
            )
        )
        self.open_row.clear()

    def _is_exploded(self, loss: float) -> bool:
        if len(self.losses) < _FEWEST:
            return False
        usual = statistics.median(self.losses)
        is_lost = usual < LEARNT * self.chance and loss > AT_CHANCE * self.chance
        return is_lost or loss > EXPLODED * usual

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values["open_row"] = [list(report) for report in self.open_row]
        values["rows"] = [asdict(row) for row in self.rows]
        values["losses"] = list(self.losses)
        values["coverage"] = self.coverage.to_dict()
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SupernetState:
        """From `to_dict`."""
        known = dict(values)
        known["open_row"] = [StepReport(*report) for report in values["open_row"]]
        known["rows"] = [LossRow(**row) for row in values["rows"]]
        known["coverage"] = Coverage.from_dict(values["coverage"])
        return cls(**known)


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None
