"""Proposals that break a budget become networks that meet it."""

import numpy as np
import pytest

from smt_nas.search.proposal.repair import complete_proposals, draw_neighbours, repair
from smt_nas.search.proposal.strategy import History
from tests.fakes.searches import SPACE, make_problem, sample

EMPTY = History(np.empty((0, len(SPACE.genes)), dtype=np.int64), [])


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("budgets", [("8MMACs",), ("2.5MMACs", "0.07Mparams"), ("9..9.5MMACs",)])
def test_what_breaks_a_budget_is_changed_until_it_meets_it(budgets):
    problem, genes = make_problem(*budgets), sample(20)
    assert not problem.feasible(genes).all()
    mended = repair(problem, genes, rng())
    assert len(mended) and problem.feasible(mended).all()
    assert (mended == problem.space.canonical(mended)).all()
    fine = problem.feasible(genes)
    assert (mended[: len(genes)][fine] == genes[fine]).all() or len(mended) < len(genes)


def test_it_stays_nearer_than_another_network_would_be():
    problem, genes = make_problem("12MMACs"), sample(40)
    mended = repair(problem, genes, rng())
    others = repair(problem, sample(40, seed=3), rng())
    assert (mended != genes).mean() < 0.5 * (others != genes).mean()


def test_proposals_are_completed_near_what_was_proposed():
    problem = make_problem("12MMACs")
    one = repair(problem, sample(1), rng())
    genes = complete_proposals(problem, one, EMPTY, 6, rng())
    assert len(np.unique(genes, axis=0)) == 6 and problem.feasible(genes).all()
    assert np.median((genes != one).sum(axis=1)) <= 3


def test_neighbours_differ_in_a_gene_and_what_follows_from_it():
    problem, genes = make_problem(), sample(5)
    near = draw_neighbours(problem, genes, rng(), 8)
    assert (near == problem.space.canonical(near)).all()
    distance = (near[:, None] != genes[None]).sum(axis=2).min(axis=1)
    assert np.median(distance) == 1
