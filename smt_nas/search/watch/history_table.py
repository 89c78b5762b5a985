"""history.csv: every trial of a run in its order, and how far the hypervolume had grown by then."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smt_nas.files import write_atomic
from smt_nas.search.csv_text import to_csv_text
from smt_nas.search.problem.problem import Problem
from smt_nas.search.storage.trial import Trial
from smt_nas.search.watch.hypervolume import measure_points, trace_hypervolume

if TYPE_CHECKING:
    import pandas

FILE = "history.csv"
_EVERY_S = 60.0  # while a search works


def make_history_frame(problem: Problem, trials: Sequence[Trial]) -> pandas.DataFrame:
    """The trials as a table, one row each.

    Columns: `trial`, `key`; `state`: complete, stopped (given up on purpose) or failed; `feasible`:
    it holds every constraint, by what is predicted; `seconds` that evaluating it took; of each
    metric its value, in the unit that its name says; `hypervolume` of all trials up to this one, as
    a share of the box between the best and the worst of the table, a tenth beyond the worst
    included; `reason` why there is no figure. What is not known is missing.
    """
    import pandas

    points = measure_points(problem, trials)
    columns: dict[str, object] = {
        "trial": [t.number for t in trials],
        "key": pandas.Series([t.key for t in trials], dtype="object"),
        "state": pandas.Series([_name_state(t) for t in trials], dtype="object"),
        "feasible": pandas.Series(dtype="bool"),
        "seconds": [t.evaluation.seconds for t in trials],
    }
    if trials:
        genes = np.array([t.genes for t in trials])
        values = problem.evaluate_formulas(genes)
        for q in problem.predicted_metrics:
            known = (t.predictions.get(q.name, (None,))[0] for t in trials)
            values[q.name] = np.array([np.nan if v is None else v for v in known])
        columns["feasible"] = problem.total_violation(values) == 0
        if problem.evaluated_metric is not None:
            figures = [t.evaluation.value for t in trials]
            columns[problem.evaluated_metric.name] = pandas.Series(figures, dtype="float64")
        columns |= values
    columns["hypervolume"] = trace_hypervolume(points)
    columns["reason"] = pandas.Series([t.evaluation.failure for t in trials], dtype="object")
    return pandas.DataFrame(columns)


@dataclass
class HistoryFile:
    """history.csv of a run directory.

    Attributes:
        folder: the run directory.
        problem: what is searched for.
        clock: seconds that only grow.
    """

    folder: Path
    problem: Problem
    clock: Callable[[], float] = time.monotonic
    _written: float | None = field(default=None, init=False)

    def keep(self, trials: Sequence[Trial]) -> None:
        """Write it, where that was not done a minute ago. Raises StoreError."""
        if self._written is None or self.clock() - self._written >= _EVERY_S:
            self.write(trials)

    def write(self, trials: Sequence[Trial]) -> None:
        """Write it. Raises StoreError; what was there before is then kept."""
        text = to_csv_text(make_history_frame(self.problem, trials))
        write_atomic(self.folder / FILE, text)
        self._written = self.clock()


def _name_state(trial: Trial) -> str:
    if trial.evaluation.failure is None:
        return "complete"
    return "stopped" if trial.evaluation.stopped else "failed"
