"""What the next round of a search evaluates, by its strategy and a generator of that round.

Round r of B networks proposes trials B r to B r + B - 1 from the trials before it and
`default_rng([seed, B r])`, so a search that was killed proposes the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from smt_nas.evaluators import BatchEvaluator, Evaluator
from smt_nas.search.problem.objectives import Floats
from smt_nas.search.proposal.strategy import LearningStrategy, Prior
from smt_nas.search.settings import Settings
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.trial import OpenTrial, Trial, make_history
from smt_nas.search.strategies import SCREENED_BATCH, make_strategy
from smt_nas.space import Genes, SearchSpace


class RoundProposer:
    """Proposes the rounds of one search, and notes how well its strategy predicts them.

    Args:
        study: that holds the trials.
        settings: of the search.
        evaluator: whose predictions guide the strategy, where it has any.
        superseded: genes of networks that are evaluated before any others, in the rounds that they
            were tried in.
    """

    def __init__(
        self,
        study: Study,
        settings: Settings,
        evaluator: Evaluator | None,
        superseded: Sequence[Genes],
    ) -> None:
        self.batch = count_batch(settings)
        self.superseded = superseded
        self._study, self._seed = study, settings.seed
        prior = _make_prior(evaluator, study.problem.space)
        self._strategy = make_strategy(settings.strategy, study.problem, prior)

    def propose(self, trials: Sequence[Trial], waiting: Sequence[OpenTrial] = ()) -> Genes:
        """What is left of the round that the next trial belongs to; (n, G)."""
        every: list[Trial | OpenTrial] = [*trials, *waiting]
        if len(every) < len(self.superseded):
            return self._propose_superseded(len(every))
        every.sort(key=lambda trial: trial.number)
        first = len(every) // self.batch * self.batch
        rng = np.random.default_rng([self._seed, first])
        history = make_history(self._study.problem, every[:first])
        proposed = self._strategy.propose(history, self.batch, rng)
        tried = {t.genes.tobytes() for t in every[first:]}
        return proposed[[row.tobytes() not in tried for row in proposed]]

    def _propose_superseded(self, tried: int) -> Genes:
        """What is left of a round of before the evaluator changed; (n, G)."""
        return np.array(self.superseded[tried : (tried // self.batch + 1) * self.batch])

    def assess(self, trials: Sequence[Trial]) -> None:
        """Note how well the strategy's model predicted the round that is complete now."""
        problem = self._study.problem
        first = (len(trials) - 1) // self.batch * self.batch
        if not isinstance(self._strategy, LearningStrategy) or problem.evaluated_metric is None:
            return
        before = make_history(problem, trials[:first])
        genes, figures = make_history(problem, trials[first:]).complete
        accuracy = self._strategy.assess(before, genes, figures)
        if accuracy is not None:
            self._study.read_notes().write_surrogate_accuracy(accuracy)


def count_batch(settings: Settings) -> int:
    """Networks of a round; in settings of before rounds had a size there is none."""
    return settings.batch or SCREENED_BATCH


def _make_prior(evaluator: Evaluator | None, space: SearchSpace) -> Prior | None:
    if not isinstance(evaluator, BatchEvaluator):
        return None
    return Prior(partial(_predict_compared, evaluator, space), is_final=evaluator.is_final)


def _predict_compared(evaluator: BatchEvaluator, space: SearchSpace, genes: Genes) -> Floats:
    return evaluator.predict(space, genes).compared
