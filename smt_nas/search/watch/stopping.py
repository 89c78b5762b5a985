"""When a search proposes no more: after so much time, or once its hypervolume stalls.

Both can be told from what is stored, so a search that was killed stops where it would have.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from smt_nas.files import write_atomic
from smt_nas.search.problem.problem import Problem
from smt_nas.search.stop_rule import StopReason, StopRule
from smt_nas.search.storage.trial import Trial
from smt_nas.search.watch.hypervolume import measure_growth, measure_points

STALLED = 0.001  # share by which the hypervolume grows in the rounds that count
_FILE = ".worked"
_EVERY_S = 10.0


def find_stop(
    rule: StopRule, problem: Problem, trials: Sequence[Trial], round_size: int, worked_s: float
) -> StopReason | None:
    """Why no network is to be proposed any more; None where there is no reason.

    Args:
        rule: what was asked for.
        problem: what is searched for.
        trials: all that are there; rounds are counted from the first.
        round_size: trials of a round.
        worked_s: seconds that the run has worked.
    """
    if rule.minutes is not None and worked_s >= 60 * rule.minutes:
        return "minutes"
    if rule.hv_stall is None:
        return None
    rounds = len(trials) // round_size
    if rounds <= rule.hv_stall:
        return None
    points = measure_points(problem, trials[: rounds * round_size])
    growth = measure_growth(points, (rounds - rule.hv_stall) * round_size)
    return "hv-stall" if growth <= STALLED else None


@dataclass
class WorkingTime:
    """Seconds that a run has worked, over all its starts; kept in its folder.

    Attributes:
        folder: the run directory.
        clock: seconds that only grow.
    """

    folder: Path
    clock: Callable[[], float] = time.monotonic
    _before: float = field(init=False)
    _start: float | None = field(default=None, init=False)
    _written: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        try:
            self._before = float((self.folder / _FILE).read_text("ascii"))
        except (OSError, ValueError):  # a run of before, or one that did nothing yet
            self._before = 0.0
        self._written = self._before

    @property
    def seconds(self) -> float:
        """So far."""
        return self._before + (0.0 if self._start is None else self.clock() - self._start)

    def start(self) -> None:
        """Count from now on."""
        self._before, self._start = self.seconds, self.clock()

    def keep(self, at_once: bool = False) -> None:
        """Write it down, where that was not done a moment ago. Raises StoreError."""
        if at_once or self.seconds - self._written >= _EVERY_S:
            self._written = self.seconds
            write_atomic(self.folder / _FILE, f"{self._written:.1f}\n")
