"""`Outcome`: what a search has found so far, made of its trials and of the notes beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from smt_nas.evaluators.capacity import published_figures
from smt_nas.evaluators.evidence import AnyEvidence
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.strategy import SurrogateAccuracy
from smt_nas.search.results.prediction_errors import PredictionError, measure_prediction_errors
from smt_nas.search.results.results import (
    Result,
    compare_with_presets,
    make_frame,
    make_result,
    select_front,
)
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.settings import Settings
from smt_nas.search.stop_rule import StopReason
from smt_nas.search.storage.study_notes import StudyNotes
from smt_nas.search.storage.trial import Trial
from smt_nas.space.baselines import baselines

if TYPE_CHECKING:
    import pandas

_COUNTED = ("params", "macs")  # what a score is compared with, so that nobody takes it for accuracy


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


def make_outcome(
    directory: RunDirectory,
    problem: Problem,
    trials: list[Trial],
    notes: StudyNotes,
    has_enough: bool,
    stopped_by: StopReason | None,
) -> Outcome:
    """What a search has found.

    Args:
        directory: of the run.
        problem: what is searched for.
        trials: all that count for the front.
        notes: of the study.
        has_enough: no more networks are to be tried.
        stopped_by: why no more are proposed, where that is before all are tried.
    """
    front = _add_verifications(problem, select_candidates(problem, trials, notes), notes)
    presets = _add_verifications(problem, collect_baselines(problem, notes), notes)
    front = compare_with_presets(front, presets)
    is_verified = all(_is_verified(problem, r, notes) for r in (*front, *presets))
    return Outcome(
        path=directory.path,
        settings=directory.settings,
        problem=problem,
        front=front,
        baselines=presets,
        failed_verification=_collect_failed(problem, trials, notes),
        trials=trials,
        kendall_taus=_compare_with_costs(problem, trials),
        prediction_errors=measure_prediction_errors(front),
        evidence=directory.evidence,
        surrogate_accuracies=notes.surrogate_accuracies,
        finished=has_enough and (is_verified or not directory.settings.verify),
        stopped_by=stopped_by,
    )


def select_candidates(problem: Problem, trials: Sequence[Trial], notes: StudyNotes) -> list[Result]:
    """The front without the networks that failed verification."""
    failed = notes.failed_keys
    return select_front(problem, [t for t in trials if t.key not in failed])


def collect_baselines(problem: Problem, notes: StudyNotes) -> list[Result]:
    """The presets at the space's input, with what the evaluator said of them so far."""
    results = []
    for name, arch in baselines(problem.space).items():
        evaluation = notes.read_baseline(name)
        result = make_result(problem, name, arch, evaluation, problem.predict_preset(name))
        results.append(replace(result, published=published_figures(arch)))
    return results


def _collect_failed(problem: Problem, trials: Sequence[Trial], notes: StudyNotes) -> list[Result]:
    """Tried networks that failed verification."""
    failed = notes.failed_keys
    dropped = [t for t in trials if t.key in failed]
    archs = [problem.space.decode(t.genes[None])[0] for t in dropped]
    results = [
        make_result(problem, str(t.number), arch, None, t.predictions)
        for t, arch in zip(dropped, archs, strict=True)
    ]
    return _add_verifications(problem, results, notes)


def _add_verifications(
    problem: Problem, results: Sequence[Result], notes: StudyNotes
) -> list[Result]:
    """Results with what verification gave so far."""
    targets = [q.target for q in problem.timed_metrics if q.target is not None]
    return [
        r.with_verification(problem, notes.read_verification(r.arch.key, targets)) for r in results
    ]


def _is_verified(problem: Problem, r: Result, notes: StudyNotes) -> bool:
    targets = problem.local_targets
    verification = notes.read_verification(r.arch.key, targets)
    return verification is not None and verification.is_complete(targets)


def _compare_with_costs(problem: Problem, trials: Sequence[Trial]) -> dict[str, float]:
    """Kendall tau of the evaluator's values to costs, where it is defined."""
    evaluated = [t for t in trials if t.evaluation.value is not None]
    if problem.evaluated_metric is None or len(evaluated) < 3:
        return {}
    from scipy.stats import kendalltau

    costs = problem.costs(np.array([t.genes for t in evaluated]))
    values = [t.evaluation.value for t in evaluated]
    taus = {name: float(kendalltau(values, costs[name]).statistic) for name in _COUNTED}
    return {name: tau for name, tau in taus.items() if np.isfinite(tau)}
