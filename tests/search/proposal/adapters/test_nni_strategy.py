"""NNI's own strategies propose, a round at a time."""

import sys
from importlib.util import find_spec

import numpy as np
import pytest

from smt_nas.errors import MeasurementError
from smt_nas.runtime.imports import import_nni
from smt_nas.search.proposal.strategy import History
from smt_nas.search.strategies import make_strategy
from smt_nas.space.sample import list_options, read_samples
from tests.fakes.searches import SPACE, make_problem

needs_nni = pytest.mark.skipif(find_spec("nni") is None, reason="nni is not installed")


def propose(name, history, n=8, problem=None):
    strategy = make_strategy(name, problem or make_problem())
    return strategy.propose(history, n, np.random.default_rng(0))


def history(n):
    """Of n random networks, the better the more params they have."""
    problem = make_problem()
    genes = problem.space.sample(np.random.default_rng(5), n)
    return History(genes, np.log(problem.costs(genes)["params"]).tolist())


@needs_nni
def test_random_draws_what_random_of_nni_draws_of_that_seed():
    mutable = import_nni("nni.mutable")
    choices = {n: mutable.Categorical(o, label=n) for n, o in list_options(SPACE).items()}
    seed = int(np.random.default_rng(0).integers(2**32))
    drawn, space = [{} for _ in range(8)], mutable.MutableDict(choices)
    state = np.random.RandomState(seed)
    for sample in drawn:
        space.random(memo=sample, random_state=state)
    assert np.array_equal(propose("nni:random", history(0)), read_samples(SPACE, drawn))


@needs_nni
def test_evolution_mutates_once_its_population_is_full():
    few, full = history(40), history(100)

    def distance(trials):
        """Genes in which proposals differ from the nearest trial, on average."""
        proposed = propose("nni:regularized-evolution", trials)
        return (proposed[:, None] != trials.genes[None]).sum(axis=2).min(axis=1).mean()

    assert distance(full) <= 6 < distance(few)


@needs_nni
def test_parents_are_better_than_the_rest():
    trials, problem = history(100), make_problem(objectives=("score",))
    proposed = propose("nni:regularized-evolution", trials, 16, problem)
    parents = (proposed[:, None] != trials.genes[None]).sum(axis=2).argmin(axis=1)
    figures = np.array(trials.figures)
    assert np.median(figures[parents]) > np.quantile(figures, 0.6)


def test_without_nni_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "nni", None)
    monkeypatch.delitem(sys.modules, "smt_nas.search.proposal.adapters.nni_strategy", raising=False)
    with pytest.raises(MeasurementError, match=r"--strategy nni: nni must be installed"):
        make_strategy("nni:random", make_problem())
