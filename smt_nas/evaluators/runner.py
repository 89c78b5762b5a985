"""Evaluating networks: in worker processes, which make the evaluator for themselves, or here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import takewhile

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators import (
    BatchEvaluator,
    Evaluation,
    Evaluator,
    EvaluatorChoice,
    TrainingEvaluator,
)
from smt_nas.evaluators.base import GeneEvaluator, keep_finite
from smt_nas.evaluators.choice import worker_evaluator
from smt_nas.metrics import Provenance
from smt_nas.runtime.engines.engine import Engine
from smt_nas.space import Genes, SearchSpace

Proceed = Callable[[], bool]
"""Whether to begin one more."""
FIRST = 8  # calls of a user's function; where all of them fail, so will the rest


class EvaluationRunner:
    """Evaluates the networks of one run.

    A user's function always runs in workers, where it may hang, exit or print. It is held to the
    metrics of its first success, and to one success in its `FIRST` calls.

    Args:
        evaluator: None where formulas suffice.
        pool: worker processes.
        choice: by which workers make the evaluator; None for one that is asked in this process.
        timeout: seconds for one network; None for any. Of effect in workers.
        earlier: evaluations that the run holds already; a success among them proves a function.
    """

    def __init__(
        self,
        evaluator: Evaluator | None,
        pool: Engine,
        choice: EvaluatorChoice | None = None,
        timeout: float | None = None,
        earlier: Iterable[Evaluation] = (),
    ) -> None:
        self._evaluator = evaluator
        self._pool = pool
        self._choice = None if choice is None or choice.handed_in else choice
        self._timeout = timeout
        self._metrics = next((e.components.keys() for e in earlier if e.failure is None), None)
        self._first: list[str | None] = []  # failures
        if self._metrics is not None:
            self._first = [None] * FIRST

    def evaluate(
        self, archs: Sequence[Architecture], proceed: Proceed | None = None
    ) -> Iterator[Evaluation]:
        """Evaluate networks, in order.

        Args:
            archs: the networks.
            proceed: asked before each; once it says no, those that run are finished, and no others.
                An evaluator that takes all at once is not asked.

        Raises:
            ConfigError: a user's function that always fails.
        """
        evaluator = self._evaluator
        if evaluator is None:
            return (Evaluation(None, "exact") for _ in archs)
        objective = evaluator.objective
        proceed = proceed or (lambda: True)
        return (keep_finite(e, objective) for e in self._evaluate(evaluator, archs, proceed))

    def evaluate_genes(
        self, space: SearchSpace, genes: Genes, proceed: Proceed | None = None
    ) -> Iterator[Evaluation]:
        """Evaluate the networks of (n, G) genes, in order; where it can be, from the genes alone.

        Args and errors are those of `evaluate`.
        """
        evaluator = self._evaluator
        if evaluator is None:
            return (Evaluation(None, "exact") for _ in genes)
        if self.in_workers or not (self.at_once and isinstance(evaluator, GeneEvaluator)):
            return self.evaluate(space.decode(genes), proceed)
        objective = evaluator.objective
        return (keep_finite(e, objective) for e in evaluator.evaluate_genes(space, genes))

    @property
    def in_workers(self) -> bool:
        """Whether workers evaluate, so that evaluations may come in any order."""
        choice = self._choice
        if self._evaluator is None or choice is None:
            return False
        return choice.entry.runs_user_code or choice.entry.in_worker

    @property
    def at_once(self) -> bool:
        """Whether all networks of a round are evaluated together."""
        evaluator = self._evaluator
        return (
            evaluator is None
            or isinstance(evaluator, TrainingEvaluator)
            or (isinstance(evaluator, BatchEvaluator) and evaluator.is_final)
        )

    def evaluate_unordered(self, archs: Iterable[Architecture]) -> Iterator[tuple[int, Evaluation]]:
        """Evaluate networks in workers; evaluations with the position of their network.

        Each comes as soon as it is there, yet none before the first success in order, by which
        those of a user's function are judged. Networks are asked for as workers become free.

        Raises:
            ConfigError: a user's function that always fails.
        """
        evaluator, choice = self._evaluator, self._choice
        assert evaluator is not None and choice is not None and self.in_workers
        objective = evaluator.objective
        watched = choice.entry.runs_user_code
        provenance: Provenance = "function" if watched else objective.provenance
        timeout = math.inf if watched and self._timeout is None else self._timeout
        numbered = self._pool.map_unordered(
            partial(_evaluate_in_worker, choice),
            archs,
            partial(_lose, provenance),
            timeout,
            partial(worker_evaluator, choice),
        )
        if watched:
            numbered = self._watch_unordered(choice.word, numbered)
        return ((number, keep_finite(e, objective)) for number, e in numbered)

    def _watch_unordered(
        self, name: str, numbered: Iterable[tuple[int, Evaluation]]
    ) -> Iterator[tuple[int, Evaluation]]:
        held: dict[int, Evaluation] = {}
        following = 0
        for number, evaluation in numbered:
            held[number] = evaluation
            while self._metrics is None and following in held:
                for checked in self._watch(name, [held.pop(following)]):
                    yield following, checked
                following += 1
            if self._metrics is not None:
                for other in sorted(held):
                    yield other, self._check_metrics(held.pop(other))

    def _evaluate(
        self, evaluator: Evaluator, archs: Sequence[Architecture], proceed: Proceed
    ) -> Iterator[Evaluation]:
        choice = self._choice
        if choice is not None and choice.entry.runs_user_code:
            timeout = math.inf if self._timeout is None else self._timeout
            answers = self._in_workers(choice, archs, "function", timeout, proceed)
            return self._watch(choice.word, answers)
        if choice is not None and choice.entry.in_worker:
            provenance = evaluator.objective.provenance
            return self._in_workers(choice, archs, provenance, self._timeout, proceed)
        if self.at_once:
            return iter(evaluator.evaluate(archs))
        todo = takewhile(lambda _: proceed(), archs)
        return (evaluator.evaluate([arch])[0] for arch in todo)

    def _in_workers(
        self,
        choice: EvaluatorChoice,
        archs: Sequence[Architecture],
        provenance: Provenance,
        timeout: float | None,
        proceed: Proceed,
    ) -> Iterator[Evaluation]:
        prepare = partial(worker_evaluator, choice)
        function = partial(_evaluate_in_worker, choice)
        lose = partial(_lose, provenance)
        return self._pool.map(function, archs, lose, timeout, prepare, proceed)

    def _watch(self, name: str, evaluations: Iterable[Evaluation]) -> Iterator[Evaluation]:
        for evaluation in evaluations:
            checked = self._check_metrics(evaluation)
            yield checked
            if len(self._first) < FIRST:
                self._first.append(checked.failure)
                _check_successes(name, self._first)

    def _check_metrics(self, evaluation: Evaluation) -> Evaluation:
        """The evaluation; or a failed one, where its metrics are not those of the first success."""
        if evaluation.failure is not None:
            return evaluation
        names = evaluation.components.keys()
        if self._metrics is None:
            self._metrics = names
        lacking = [f"no {m}" for m in sorted(self._metrics - names)]
        odd = [*lacking, *(f"new {m}" for m in sorted(names - self._metrics))]
        if not odd:
            return evaluation
        failure = f"must return the same metrics in every call (got {', '.join(odd)})"
        return replace(evaluation, value=None, components={}, failure=failure)


def _check_successes(name: str, failures: Sequence[str | None]) -> None:
    """Raise ConfigError where the first calls all failed."""
    if len(failures) < FIRST or None in failures:
        return
    [(failure, times)] = Counter(failures).most_common(1)
    raise ConfigError(
        f"evaluator {name}: must rate networks (got {FIRST} failures in {FIRST} calls; {times} "
        f"times: {failure}). Mend it, and search anew with another --out."
    )


def _evaluate_in_worker(choice: EvaluatorChoice, arch: Architecture) -> Evaluation:
    return worker_evaluator(choice).evaluate([arch])[0]


def _lose(provenance: Provenance, failure: str) -> Evaluation:
    return Evaluation(None, provenance, failure=failure)
