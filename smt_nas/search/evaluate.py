"""Rating networks, by an evaluator that workers can make for themselves or by any other here."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators import EVALUATORS, Evaluation, Evaluator, Foresees, Trains, make_evaluator
from smt_nas.evaluators.function import NamedFunction
from smt_nas.metrics import Provenance
from smt_nas.runtime.process_pool import ProcessPool

FIRST = 8  # calls of a user's function; where all of them fail, so will the rest


def runs_elsewhere(evaluator: Evaluator) -> bool:
    """Whether an evaluator runs in worker processes, where a network that takes long can be left.

    A user's function does, known by its name; so does one of EVALUATORS that is slow.
    """
    if isinstance(evaluator, NamedFunction):
        return True
    known = EVALUATORS.get(evaluator.name)
    quick = isinstance(evaluator, Foresees) and evaluator.exact
    return known is not None and type(evaluator) is type(known()) and not quick


class Rater:
    """Rates the networks of one run.

    A user's function known by its name always runs in workers, where it may hang, exit or print.
    It is held to the metrics of its first success, and to one success in its `FIRST` calls.

    Args:
        evaluator: None where formulas suffice.
        workers: where it runs, if it has a name by which they can make it.
        timeout: seconds for one network; None for any. Of effect for what `runs_elsewhere`.
        earlier: ratings that the run holds already; a success among them proves a function.
    """

    def __init__(
        self,
        evaluator: Evaluator | None,
        workers: ProcessPool,
        timeout: float | None = None,
        earlier: Iterable[Evaluation] = (),
    ) -> None:
        self._evaluator = evaluator
        self._workers = workers
        self._timeout = timeout
        self._metrics = next((e.details.keys() for e in earlier if e.reason is None), None)
        self._first: list[str | None] = []  # reasons
        if self._metrics is not None:
            self._first = [None] * FIRST

    def rate(self, archs: Sequence[Architecture]) -> Iterator[Evaluation]:
        """Rate networks, in order.

        Raises:
            ConfigError: a user's function that always fails.
        """
        evaluator, timeout = self._evaluator, self._timeout
        if evaluator is None:
            return (Evaluation(None, "exact") for _ in archs)
        name, provenance = evaluator.name, evaluator.objective.provenance
        if isinstance(evaluator, NamedFunction):
            timeout = math.inf if timeout is None else timeout
            return self._watched(name, self._elsewhere(name, archs, "function", timeout))
        whole = isinstance(evaluator, Trains) or (
            isinstance(evaluator, Foresees) and evaluator.exact  # quicker than to ask a worker
        )
        if whole:
            return iter(evaluator.evaluate(archs))
        if runs_elsewhere(evaluator):
            return self._elsewhere(name, archs, provenance, timeout)
        return (evaluator.evaluate([arch])[0] for arch in archs)

    def _elsewhere(
        self, name: str, archs: Sequence[Architecture], lost: Provenance, timeout: float | None
    ) -> Iterator[Evaluation]:
        prepare = partial(make_evaluator, name)
        function = partial(_rated, name)
        return self._workers.map(function, archs, partial(_lost, lost), timeout, prepare)

    def _watched(self, name: str, ratings: Iterable[Evaluation]) -> Iterator[Evaluation]:
        for rating in ratings:
            judged = self._judged(rating)
            yield judged
            if len(self._first) < FIRST:
                self._first.append(judged.reason)
                _check(name, self._first)

    def _judged(self, rating: Evaluation) -> Evaluation:
        """The rating; or a failed one, where its metrics are not those of the first success."""
        if rating.reason is not None:
            return rating
        if self._metrics is None:
            self._metrics = rating.details.keys()
        lacking = [f"no {m}" for m in sorted(self._metrics - rating.details.keys())]
        odd = [*lacking, *(f"new {m}" for m in sorted(rating.details.keys() - self._metrics))]
        if not odd:
            return rating
        reason = f"must return the same metrics in every call (got {', '.join(odd)})"
        return replace(rating, value=None, details={}, reason=reason)


def _check(name: str, reasons: Sequence[str | None]) -> None:
    """Raise ConfigError where the first calls all failed."""
    if len(reasons) < FIRST or None in reasons:
        return
    [(reason, times)] = Counter(reasons).most_common(1)
    raise ConfigError(
        f"evaluator {name}: must rate networks (got {FIRST} failures in {FIRST} calls; {times} "
        f"times: {reason}). Mend it, and search anew with another --out."
    )


def _rated(name: str, arch: Architecture) -> Evaluation:
    return make_evaluator(name).evaluate([arch])[0]


def _lost(provenance: Provenance, reason: str) -> Evaluation:
    return Evaluation(None, provenance, reason=reason)
