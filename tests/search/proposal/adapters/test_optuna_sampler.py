"""Optuna's samplers learn from the history that they are given."""

import numpy as np
import pytest

from smt_nas.search.proposal.adapters.optuna_sampler import SAMPLERS, OptunaSearch
from smt_nas.search.proposal.strategy import History
from tests.fakes.searches import make_problem, sample


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_gene_that_all_trials_share_is_proposed_again(sampler):
    assert sampler in SAMPLERS
    problem = make_problem(objectives=("macs", "params"))
    shared = int(np.flatnonzero(problem.space.cardinality > 1)[0])
    genes = sample(150)
    genes = genes[genes[:, shared] == 0]
    proposed = OptunaSearch(problem, sampler).propose(
        History(genes, [None] * len(genes)), 16, np.random.default_rng(0)
    )
    assert len(genes) > 60
    assert (proposed[:, shared] == 0).mean() > 0.85  # half of them by chance
