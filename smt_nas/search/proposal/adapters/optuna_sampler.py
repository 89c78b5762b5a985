"""Optuna's samplers as strategies: `optuna:tpe`, `optuna:nsga2`, `optuna:gp`.

The history becomes a study in memory, whose pending trials are RUNNING, and the sampler is asked.
So what it proposes follows from history and rng alone, as of every strategy.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.random_search import RandomSearch
from smt_nas.search.proposal.repair import complete_proposals
from smt_nas.search.proposal.strategy import History
from smt_nas.space import Genes

_FIRST = 16  # networks at random, before a sampler has anything to learn from
_POPULATION = 40  # of NSGA-II, as of our own

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": lambda seed: TPESampler(
        seed=seed, multivariate=True, constant_liar=True, n_startup_trials=_FIRST
    ),
    "nsga2": lambda seed: NSGAIISampler(seed=seed, population_size=_POPULATION),
    "gp": lambda seed: GPSampler(seed=seed, n_startup_trials=_FIRST),
}
"""By the word after `optuna:`; made from a seed."""


@dataclass(frozen=True)
class OptunaSearch:
    """A sampler of Optuna; constraints are met by repair, as samplers take them as soft."""

    problem: Problem
    sampler: str

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Ask the sampler n times, each time knowing what it proposed before."""
        seed = int(rng.integers(2**31))
        if len(history.genes) < _FIRST:
            return RandomSearch(self.problem).propose(history, n, rng)
        with _quiet():
            study = self._tell(history, seed)
            answers = [study.ask(self._distributions).params for _ in range(n)]
        free = self._free
        genes = np.zeros((n, len(self.problem.space.genes)), dtype=np.int64)
        for row, params in zip(genes, answers, strict=True):
            row[free] = [params[str(column)] for column in free]
        return complete_proposals(self.problem, genes, history, n, rng)

    @property
    def _free(self) -> list[int]:
        return np.flatnonzero(self.problem.space.cardinality > 1).tolist()

    @property
    def _distributions(self) -> dict[str, BaseDistribution]:
        cardinality = self.problem.space.cardinality
        return {str(c): CategoricalDistribution(range(int(cardinality[c]))) for c in self._free}

    def _tell(self, history: History, seed: int) -> optuna.Study:
        """The history as a study in memory."""
        directions = [StudyDirection.MINIMIZE] * len(self.problem.objectives)
        study = optuna.create_study(directions=directions, sampler=SAMPLERS[self.sampler](seed))
        values, metric = self.problem.values(history.genes), self.problem.evaluated_metric
        failed = [figure is None for figure in history.figures]
        if metric is None:
            failed = [False] * len(failed)
        else:
            figures = [0.0 if f is None else f for f in history.figures]
            values[metric.name] = np.array(figures, dtype=float)
        points = self.problem.objective_matrix(values)
        complete = 0
        for row, point, lost in zip(history.genes, points.tolist(), failed, strict=True):
            if lost:
                self._add(study, row, TrialState.FAIL)
                continue
            self._add(study, row, TrialState.COMPLETE, point, complete // _POPULATION)
            complete += 1
        for row in history.pending:
            self._add(study, row, TrialState.RUNNING)
        return study

    def _add(
        self,
        study: optuna.Study,
        row: Genes,
        state: TrialState,
        point: list[float] | None = None,
        generation: int | None = None,
    ) -> None:
        """Add a trial; NSGA-II takes only those for parents that say of which generation they are.

        It writes that itself where it asks and is told; a trial that is added has to bring it.
        """
        key = NSGAIISampler._get_generation_key()
        study.add_trial(
            create_trial(
                state=state,
                values=point,
                params={str(c): int(row[c]) for c in self._free},
                distributions=self._distributions,
                system_attrs={} if generation is None else {key: generation},
            )
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Optuna calls multivariate TPE and the GP experimental; its users know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
