"""What a loop over trials goes by: how many, when to stop, and who hears of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from smt_nas.runtime.interrupts import InterruptWatch
from smt_nas.search.loop.listener import SearchListener
from smt_nas.search.stop_rule import StopReason, count_wanted
from smt_nas.search.storage.trial import Trial
from smt_nas.search.watch.history_table import HistoryFile

ReadTrials = Callable[[], Sequence[Trial]]


@dataclass(frozen=True)
class LoopControl:
    """How far a loop goes.

    Attributes:
        total: networks to try.
        find_stop: why no more networks are proposed after some trials; None where they are.
        has_time: whether one more trial may begin.
        keep_up: called when a trial is stored, with what reads all that are there.
        history: the table of trials in the run directory.
        listener: hears how far it is.
        interrupts: asked between trials.
    """

    total: int
    find_stop: Callable[[Sequence[Trial]], StopReason | None]
    has_time: Callable[[], bool]
    keep_up: Callable[[ReadTrials], None]
    history: HistoryFile
    listener: SearchListener
    interrupts: InterruptWatch

    @property
    def shown_total(self) -> int | None:
        """Networks to try; None for any number."""
        return count_wanted(self.total)
