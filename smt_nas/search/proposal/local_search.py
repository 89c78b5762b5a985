"""Local search from the front, as a baseline: White et al. 2021 found it hard to beat."""

from __future__ import annotations

from dataclasses import dataclass

import moocore
import numpy as np

from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.evolution import judge
from smt_nas.search.proposal.random_search import RandomSearch
from smt_nas.search.proposal.repair import complete_proposals, draw_neighbours
from smt_nas.search.proposal.strategy import History
from smt_nas.space import Genes

_FIRST = 16  # networks at random, whose front is where it starts
_LOOKED_AT = 8  # neighbours drawn for each that is wanted, so that enough of them are new


@dataclass(frozen=True)
class LocalSearch:
    """Pareto local search: networks one gene away from the front (https://arxiv.org/abs/2005.02960)."""

    problem: Problem

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Draw neighbours of the front's members in turn."""
        genes, points = judge(self.problem, history)
        if len(genes) < _FIRST:
            return RandomSearch(self.problem).propose(history, n, rng)
        front = rng.permutation(genes[moocore.is_nondominated(points)])
        turns = np.resize(np.arange(len(front)), _LOOKED_AT * n)
        near = draw_neighbours(self.problem, front[turns], rng, 1)
        near = near[self.problem.feasible(near)]
        return complete_proposals(self.problem, history.drop_taken(near), history, n, rng)
