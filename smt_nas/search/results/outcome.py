"""`Outcome`: what a search has found so far, as a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.evaluators.evidence import AnyEvidence
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.strategy import SurrogateAccuracy
from smt_nas.search.results.results import PredictionError, Result, make_frame
from smt_nas.search.settings import Settings
from smt_nas.search.storage.trial import Trial
from smt_nas.search.watch.stopping import StopReason

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Outcome:
    """What a search has found so far.

    Attributes:
        path: the run directory.
        settings: what was asked for.
        problem: space, constraints, objectives.
        front: non-dominated networks, best first; those that failed verification are left out.
        baselines: the presets at the space's input.
        failed_verification: networks that failed verification, with the reason.
        trials: all that were tried, and those of a round that was stopped that are evaluated.
        kendall_taus: of the evaluator's values to `params` and to `macs` in this run; empty without
            an evaluator or with fewer than 3 trials.
        prediction_errors: against what was measured on the front, by metric.
        evidence: what the evaluator's figures rest on; a sentence in runs of before, None without
            one.
        finished: all trials are there, or its stop rule says that it is enough, and the front is
            verified.
        interrupted: the user stopped it.
        stopped_by: why no more networks are proposed; None where all are tried, or not yet.
        surrogate_accuracies: of each round, how well the strategy's model foretold it.
    """

    path: Path
    settings: Settings
    problem: Problem
    front: list[Result]
    baselines: list[Result]
    failed_verification: list[Result]
    trials: list[Trial]
    kendall_taus: dict[str, float]
    prediction_errors: dict[str, PredictionError]
    evidence: AnyEvidence | str | None
    finished: bool
    interrupted: bool = False
    stopped_by: StopReason | None = None
    surrogate_accuracies: Sequence[SurrogateAccuracy] = ()

    def frame(self) -> pandas.DataFrame:
        """The front and the baselines as a table, with units in the column names.

        It is what front.csv holds; see `results.make_frame` for the columns.
        """
        return make_frame(self.front, self.baselines)
