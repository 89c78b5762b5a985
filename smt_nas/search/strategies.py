"""STRATEGIES: what `--strategy` offers. A strategy is added by a row here.

Help, errors and the size of a round follow from the row. Rows import what they need when they are
made: looking at the table loads neither pymoo nor Optuna.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from smt_nas.errors import UnknownName

if TYPE_CHECKING:
    from smt_nas.search.problem.problem import Problem
    from smt_nas.search.proposal.strategy import Prior, Strategy

DEFAULT_STRATEGY = "surrogate"
COSTLY_BATCH = 8
"""Proposals a round where an evaluation costs much: what a round shows, the next one knows."""
SCREENED_BATCH = 32
"""Proposals a round where nothing is learnt from it, and of runs of before rounds had a size."""
_FEW, _LARGEST_BATCH = 512, 5_000
_EARLIER_NAMES = {"nsga2": "surrogate"}


@dataclass(frozen=True)
class StrategyEntry:
    """A row of STRATEGIES.

    Attributes:
        make: from the problem, and what is known of the evaluator's values before, to the strategy.
        help: how it proposes, in a few words.
        batch: proposals a round where an evaluation costs much; a round sees all trials before it
            and none of its own.
    """

    make: Callable[[Problem, Prior | None], Strategy]
    help: str
    batch: int = COSTLY_BATCH


def _make_surrogate(problem: Problem, prior: Prior | None) -> Strategy:
    from smt_nas.search.proposal.surrogate.surrogate_search import SurrogateNSGA2

    return SurrogateNSGA2(problem, prior)


def _make_nsga2(problem: Problem, prior: Prior | None) -> Strategy:
    from smt_nas.search.proposal.evolution import NSGA2Search

    return NSGA2Search(problem)


def _make_random(problem: Problem, prior: Prior | None) -> Strategy:
    from smt_nas.search.proposal.random_search import RandomSearch

    return RandomSearch(problem)


def _make_evolution(problem: Problem, prior: Prior | None) -> Strategy:
    from smt_nas.search.proposal.evolution import RegularizedEvolution

    return RegularizedEvolution(problem)


def _make_local_search(problem: Problem, prior: Prior | None) -> Strategy:
    from smt_nas.search.proposal.local_search import LocalSearch

    return LocalSearch(problem)


def _make_optuna(sampler: str) -> Callable[[Problem, Prior | None], Strategy]:
    def make(problem: Problem, prior: Prior | None) -> Strategy:
        from smt_nas.search.proposal.adapters.optuna_sampler import OptunaSearch

        return OptunaSearch(problem, sampler)

    return make


def _make_ax(problem: Problem, prior: Prior | None) -> Strategy:
    from smt_nas.search.proposal.adapters.ax_sampler import AxSearch

    return AxSearch(problem)


def _make_nni_random(problem: Problem, prior: Prior | None) -> Strategy:
    from smt_nas.search.proposal.adapters.nni_strategy import NNIRandom

    return NNIRandom(problem)


def _make_nni_evolution(problem: Problem, prior: Prior | None) -> Strategy:
    from smt_nas.search.proposal.adapters.nni_strategy import NNIRegularizedEvolution

    return NNIRegularizedEvolution(problem)


STRATEGIES: dict[str, StrategyEntry] = {  # the first is the default
    "surrogate": StrategyEntry(_make_surrogate, "NSGA-II on models of the evaluator, refit"),
    "nsga2": StrategyEntry(_make_nsga2, "NSGA-II on evaluated figures alone"),
    "random": StrategyEntry(_make_random, "feasible networks at random"),
    "regularized-evolution": StrategyEntry(_make_evolution, "mutants of the best of the youngest"),
    "local-search": StrategyEntry(_make_local_search, "neighbours of the front"),
    "optuna:tpe": StrategyEntry(_make_optuna("tpe"), "Optuna's multivariate TPE"),
    "optuna:nsga2": StrategyEntry(_make_optuna("nsga2"), "Optuna's NSGA-II"),
    "optuna:gp": StrategyEntry(_make_optuna("gp"), "Optuna's Gaussian process"),
    "ax:qnehvi": StrategyEntry(_make_ax, "Ax's expected hypervolume improvement (extra ax)"),
    "nni:random": StrategyEntry(_make_nni_random, "NNI's random search"),
    "nni:regularized-evolution": StrategyEntry(_make_nni_evolution, "NNI's aging evolution"),
}


def make_strategy(name: str, problem: Problem, prior: Prior | None = None) -> Strategy:
    """Make a strategy by name. Raises UnknownName."""
    return find_strategy(name).make(problem, prior)


def find_strategy(name: str) -> StrategyEntry:
    """The row of a strategy. Raises UnknownName."""
    if name not in STRATEGIES:
        raise UnknownName("strategy", name, STRATEGIES)
    return STRATEGIES[name]


def choose_batch(name: str, is_costly: bool, n: int) -> int:
    """Proposals a round of a search of n networks.

    `is_costly` says that evaluations teach what was not known before. Where they do not, a search
    of many networks has few rounds: each screens anew.
    """
    if is_costly:
        return find_strategy(name).batch
    return SCREENED_BATCH if n <= _FEW else min(-(-n // 2), _LARGEST_BATCH)


def read_earlier_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain settings as they are called today, of a file in which rounds have no size yet.

    Rounds had 32 networks then, and what is `surrogate` now was called `nsga2`.
    """
    if "strategy" not in values or values.get("batch") is not None:
        return dict(values)
    strategy = _EARLIER_NAMES.get(values["strategy"], values["strategy"])
    return {**values, "strategy": strategy, "batch": SCREENED_BATCH}
