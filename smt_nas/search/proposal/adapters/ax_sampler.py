"""Ax as a strategy, `ax:qnehvi`: Gaussian processes, noisy expected hypervolume improvement.

Needs the extra `ax`. The history becomes an experiment of Ax's Client, whose pending trials run,
and the Client is asked for the next ones: https://ax.dev/docs/tutorials/multiobjective_optimization.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from smt_nas.errors import ConfigError
from smt_nas.runtime.imports import import_optional, quiet_libraries
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.evolution import judge
from smt_nas.search.proposal.random_search import RandomSearch
from smt_nas.search.proposal.repair import complete_proposals
from smt_nas.search.proposal.strategy import History
from smt_nas.space import Gene, Genes

_FIRST = 16  # networks at random, before a model has anything to learn from
_WAY_OUT = "pip install 'smt-nas[ax]', or use another strategy."


@dataclass(frozen=True)
class AxSearch:
    """Ax's choice for several objectives; constraints are met by repair.

    Raises:
        ConfigError: Ax is not installed.
    """

    problem: Problem

    def __post_init__(self) -> None:
        with quiet_libraries():
            import_optional("ax.api.client", _WAY_OUT, "--strategy ax:qnehvi", "ax", ConfigError)

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Ask Ax for n networks at once; where it has no new ones, what is left is drawn."""
        if len(history.complete[0]) < _FIRST:
            return RandomSearch(self.problem).propose(history, n, rng)
        seed = int(rng.integers(2**31))
        with quiet_libraries():
            _forgo_compiling()
            arms = _ask(self._tell(history, seed), n)
        genes = np.zeros((len(arms), len(self.problem.space.genes)), dtype=np.int64)
        for row, chosen in zip(genes, arms, strict=True):
            for column in self._free:
                row[column] = int(chosen[f"g{column}"])
        return complete_proposals(self.problem, genes, history, n, rng)

    @property
    def _free(self) -> list[int]:
        columns: list[int] = np.flatnonzero(self.problem.space.cardinality > 1).tolist()
        return columns

    def _tell(self, history: History, seed: int) -> Any:
        """The history as an experiment; what failed is left out, and is not proposed again."""
        from ax.api.client import Client

        client = Client(random_seed=seed)
        genes = self.problem.space.genes
        client.configure_experiment(parameters=[_configure(genes[c], c) for c in self._free])
        names = [f"f{i}" for i in range(len(self.problem.objectives))]
        client.configure_optimization(objective=", ".join(f"-{name}" for name in names))
        rows, points = judge(self.problem, history)
        for row, point in zip(rows, points.tolist(), strict=True):
            at = client.attach_trial(parameters=self._name(row))
            client.complete_trial(trial_index=at, raw_data=dict(zip(names, point, strict=True)))
        for row in history.pending:
            client.attach_trial(parameters=self._name(row))
        return client

    def _name(self, row: Genes) -> dict[str, Any]:
        return {f"g{column}": int(row[column]) for column in self._free}


def _ask(client: Any, n: int) -> list[dict[str, Any]]:
    from ax.exceptions.core import OptimizationComplete

    try:
        return list(client.get_next_trials(max_trials=n).values())
    except OptimizationComplete:  # of a small space: no n networks were new to it
        return []


def _forgo_compiling() -> None:
    """Let botorch compute in Python what it would compile a C++ kernel for.

    A process that is killed while it compiles leaves a lock in the user's cache, for which each
    later one waits without end (`FileBaton.wait` of torch). The kernel rounds otherwise, too.
    """
    try:
        module = importlib.import_module("botorch.acquisition.multi_objective.logei")
    except ImportError:  # of a botorch without it
        return
    module.__dict__["_load_attempted"] = True


def _configure(gene: Gene, column: int) -> Any:
    """A gene as a parameter: a range where its options are numbers, else a choice."""
    from ax.api.configs import ChoiceParameterConfig, RangeParameterConfig

    size = len(gene.options)
    if all(isinstance(option, int | float) for option in gene.options):
        return RangeParameterConfig(name=f"g{column}", bounds=(0, size - 1), parameter_type="int")
    return ChoiceParameterConfig(
        name=f"g{column}", values=list(range(size)), parameter_type="int", is_ordered=False
    )
