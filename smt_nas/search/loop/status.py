"""How a search stands at one moment: what a person who watches it wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from smt_nas.metrics import Metric
from smt_nas.search.problem.problem import Problem
from smt_nas.search.results.recommendation import Recommendation, recommend
from smt_nas.search.results.results import Result, select_front
from smt_nas.search.storage.study_notes import StudyNotes
from smt_nas.search.storage.trial import Trial
from smt_nas.search.watch.hypervolume import measure_points, trace_hypervolume

_POINTS = 200  # of the curve that are kept


@dataclass(frozen=True)
class SearchStatus:
    """A search as it is now.

    Attributes:
        tried: networks.
        wanted: networks that are to be tried; None for any number.
        failed: of those tried, without the ones that were given up on purpose.
        front: members of the front.
        hypervolume: after each trial, or at most 200 of them evenly; it never falls.
        surrogate_tau: Kendall's tau of the strategy's model in the last round it foretold; None
            where there was none.
        metric: what members are compared by first, and `metric_name` its key in values.
        best: the member to take first, beside the preset of equal cost; None of an empty front.
    """

    tried: int
    wanted: int | None
    failed: int
    front: int
    hypervolume: tuple[float, ...]
    surrogate_tau: float | None
    metric: Metric
    metric_name: str
    best: Recommendation | None


def measure_status(
    problem: Problem,
    trials: Sequence[Trial],
    notes: StudyNotes,
    presets: Sequence[Result],
    wanted: int | None,
) -> SearchStatus:
    """Look at the trials and notes of a search; takes some milliseconds, more of many trials."""
    curve = trace_hypervolume(measure_points(problem, trials))
    picks = np.linspace(0, len(curve) - 1, min(len(curve), _POINTS)).round().astype(int)
    members = select_front(problem, trials)
    taus = [a.kendall_tau for a in notes.surrogate_accuracies if a.kendall_tau is not None]
    return SearchStatus(
        tried=len(trials),
        wanted=wanted,
        failed=sum(t.evaluation.failure is not None and not t.evaluation.stopped for t in trials),
        front=len(members),
        hypervolume=tuple(curve[picks].tolist()),
        surrogate_tau=taus[-1] if taus else None,
        metric=problem.objectives[0].metric,
        metric_name=problem.objectives[0].name,
        best=recommend(problem, members, presets),
    )
