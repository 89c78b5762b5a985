"""NNI 3's own Random and RegularizedEvolution, one round at a time.

NNI's strategies run until an engine has no budget left, and can be resumed from a state. So each
round makes one, gives it the trials so far as its state, and an engine that only collects what it
submits: nothing is evaluated by NNI, and a search that was killed proposes the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smt_nas.runtime.imports import import_nni, quiet_libraries
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.evolution import judge, rank_by_dominance
from smt_nas.search.proposal.repair import complete_proposals
from smt_nas.search.proposal.strategy import History
from smt_nas.space import Genes, SearchSpace
from smt_nas.space.sample import list_options, make_samples, read_samples

_WHERE = "--strategy nni"
_execution = import_nni("nni.nas.execution", _WHERE)
_events = import_nni("nni.nas.execution.event", _WHERE)
_spaces = import_nni("nni.nas.space", _WHERE)
_strategies = import_nni("nni.nas.strategy", _WHERE)
_evolution = import_nni("nni.nas.strategy.evolution", _WHERE)
_utils = import_nni("nni.nas.strategy.utils", _WHERE)
_mutable = import_nni("nni.mutable", _WHERE)
_serializer = import_nni("nni.common.serializer", _WHERE)

POPULATION, TOURNAMENT = 100, 25  # NNI's own, as Real et al. 2019 have them
_MAX_SUBMITTED = 600  # networks of a round that NNI may submit; about a millisecond each
_JUDGED_AT_ONCE = 32


@dataclass(frozen=True)
class NNIRandom:
    """NNI's random search: what breaks a budget or was tried is turned away."""

    problem: Problem

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Collect n networks that NNI draws."""

        def resume(strategy: Any, dedup: Mapping[str, Any]) -> None:
            strategy.load_state_dict({**strategy.state_dict(), **dedup})

        make = _strategies.Random
        return _propose(self.problem, history, n, rng, make, resume)


@dataclass(frozen=True)
class NNIRegularizedEvolution:
    """NNI's regularized evolution (Real et al. 2019) with NNI's own population and mutation.

    It knows one figure a network: its place by non-dominated rank, then by crowding, among the
    living.
    """

    problem: Problem

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Collect n networks that NNI draws until its population is full, then mutates."""
        # with more networks underway than fit a population that is empty, NNI has no parent to take
        size = max(POPULATION, n + _JUDGED_AT_ONCE)
        population = self._list_living(history, size)

        def make(seed: int) -> Any:
            return _strategies.RegularizedEvolution(
                population_size=size, sample_size=TOURNAMENT, seed=seed
            )

        def resume(strategy: Any, dedup: Mapping[str, Any]) -> None:
            strategy.load_state_dict({**strategy.state_dict(), **dedup, "population": population})

        return _propose(self.problem, history, n, rng, make, resume)

    def _list_living(self, history: History, size: int) -> list[Any]:
        genes, points = judge(self.problem, history)
        genes, points = genes[-size:], points[-size:]
        place = np.zeros(len(genes), dtype=np.int64)
        if len(genes):
            place[rank_by_dominance(points)] = np.arange(len(genes))
        rows = zip(make_samples(self.problem.space, genes), place.tolist(), strict=True)
        return [_evolution.Individual(sample, -at) for sample, at in rows]


def _propose(
    problem: Problem,
    history: History,
    n: int,
    rng: np.random.Generator,
    make: Callable[..., Any],
    resume: Callable[[Any, Mapping[str, Any]], None],
) -> Genes:
    """Up to n new feasible rows (n, G) of a strategy of NNI's, made, resumed and run anew.

    Where NNI's patience or ours ends first, what it proposed beyond the budget is repaired.
    """
    engine = _Collector(problem, history, n)
    with quiet_libraries():  # its log tells every network that is turned away
        strategy = make(seed=int(rng.integers(2**32)))
        strategy.initialize(_make_space(problem.space), engine)
        resume(strategy, _remember(make_samples(problem.space, history.genes)))
        strategy.run()
        engine.judge()
    genes = np.array([*engine.accepted, *engine.refused][:n], dtype=np.int64)
    return complete_proposals(problem, genes.reshape(-1, len(problem.space.genes)), history, n, rng)


def _make_space(space: SearchSpace) -> Any:
    """The genes of a space, as NNI's strategies take them; nothing is built of it."""
    choices = {
        name: _mutable.Categorical(options, label=name)
        for name, options in list_options(space).items()
    }
    return _spaces.SimplifiedModelSpace(_serializer.SerializableObject(dict, [], {}), choices, None)


def _remember(samples: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The state by which NNI knows samples that it has tried."""
    helper = _utils.DeduplicationHelper()
    for sample in samples:
        helper.dedup(sample)
    state: dict[str, Any] = helper.state_dict()
    return state


class _Collector(_execution.ExecutionEngine):  # type: ignore[misc, name-defined]
    """An engine of NNI's that takes n new feasible networks and runs none.

    Attributes:
        accepted: their genes, in order.
        refused: genes of new ones that break a constraint.
    """

    def __init__(self, problem: Problem, history: History, n: int) -> None:
        super().__init__()
        self._problem, self._n, self._taken = problem, n, history.taken
        self._models: list[Any] = []
        self._unjudged: list[Any] = []
        self.accepted: list[Genes] = []
        self.refused: list[Genes] = []

    def submit_models(self, *models: Any) -> None:
        self._models += models
        self._unjudged += models
        if len(self._unjudged) >= _JUDGED_AT_ONCE:
            self.judge()

    def judge(self) -> None:
        """Take or turn away what was submitted, which costs as much for one network as for many."""
        models, self._unjudged = self._unjudged, []
        if not models:
            return
        genes = read_samples(self._problem.space, [model.sample for model in models])
        for model, row, holds in zip(models, genes, self._problem.feasible(genes), strict=True):
            is_new = row.tobytes() not in self._taken
            self._taken.add(row.tobytes())
            if is_new and holds and len(self.accepted) < self._n:
                self.accepted.append(row)
                continue
            self.refused += [row] * (is_new and not holds)
            self.dispatch_model_event(_events.TrainingEndEvent(model, _spaces.ModelStatus.Invalid))

    def list_models(self, status: Any = None) -> list[Any]:
        return [model for model in self._models if status in (None, model.status)]

    def wait_models(self, *models: Any) -> None:
        """Those that were accepted are answered in the next round."""

    def idle_worker_available(self) -> bool:
        return True

    def budget_available(self) -> bool:
        return len(self.accepted) < self._n and len(self._models) < _MAX_SUBMITTED
