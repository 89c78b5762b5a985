"""Feasible networks at random: the baseline that every strategy must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.screen import sample_feasible
from smt_nas.search.proposal.strategy import History
from smt_nas.space import Genes


@dataclass(frozen=True)
class RandomSearch:
    """Feasible networks at random: the baseline that every strategy must beat."""

    problem: Problem

    def propose(self, history: History, n: int, rng: np.random.Generator) -> Genes:
        """Draw n feasible networks that are new."""
        return history.drop_taken(sample_feasible(self.problem, rng, n + history.n_taken))[:n]
