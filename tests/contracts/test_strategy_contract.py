"""What every strategy promises, held for each entry of STRATEGIES."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from smt_nas.runtime.imports import quiet_libraries
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.strategy import History
from smt_nas.search.strategies import STRATEGIES, make_strategy
from smt_nas.space import SearchSpace, SpaceConfig
from tests.fakes import devices, screening

needs_nni = pytest.mark.skipif(find_spec("nni") is None, reason="nni is not installed")


def problem_of(budgets, objectives):
    return Problem.of(SearchSpace.load("smt_micro"), budgets, objectives)


def problem_of_one_network():
    config = SearchSpace.load("smt_micro").config.model_dump(mode="json")
    for stage in config["stages"]:
        stage |= {name: options[:1] for name, options in stage.items() if len(options) > 1}
    config["stem"]["kernel"] = config["stem"]["kernel"][:1]
    space = SearchSpace(SpaceConfig.model_validate(config), "one")
    assert space.size == 1
    return Problem.of(space, [], ["score", "macs"])


def empty(problem):
    return History(np.empty((0, len(problem.space.genes)), dtype=np.int64), [])


def rated(problem, genes):
    """A history in which every seventh network failed."""
    figures = np.log(problem.costs(genes)["params"])
    return History(genes, [None if i % 7 == 3 else float(f) for i, f in enumerate(figures)])


class StrategyContract:
    """Subclass it and name the entry of STRATEGIES."""

    entry = None
    n = 24  # proposals of a round

    @pytest.fixture(autouse=True)
    def short(self, monkeypatch):
        """What is promised holds however long candidates evolve."""
        screening.shorten(monkeypatch)

    @pytest.fixture(params=["score, macs, params", "macs, params", "score, latency, macs, params"])
    def problem(self, request, monkeypatch):
        devices.install(monkeypatch)
        budgets = ["12MMACs", "0.8Mparams", *["0.3ms"] * ("latency" in request.param)]
        return problem_of(budgets, request.param.split(", "))

    def propose(self, problem, study, seed=0, n=None):
        strategy = make_strategy(self.entry, problem)
        return strategy.propose(study, n or self.n, np.random.default_rng(seed))

    def later(self, problem):
        """A history of two rounds."""
        first = self.propose(problem, empty(problem), seed=1, n=24)
        second = self.propose(problem, rated(problem, first), seed=2)
        return rated(problem, np.concatenate([first, second]))

    @pytest.mark.parametrize("moment", ["first", "later"])
    def test_proposals_are_new_canonical_and_hold_the_limits(self, problem, moment):
        study = empty(problem) if moment == "first" else self.later(problem)
        genes = self.propose(problem, study)
        assert genes.shape == (self.n, len(problem.space.genes))
        assert genes.dtype.kind == "i"
        assert (genes == problem.space.canonical(genes)).all()
        assert problem.feasible(genes).all()
        rows = {tuple(row) for row in genes.tolist()}
        assert len(rows) == self.n
        assert rows.isdisjoint(tuple(row) for row in study.genes.tolist())

    def test_the_same_rng_gives_the_same_and_another_gives_others(self, problem):
        study = self.later(problem)
        first, again, other = (self.propose(problem, study, seed=s) for s in (0, 0, 1))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_a_space_of_one_network_gives_that_one(self):
        problem = problem_of_one_network()
        (only,) = self.propose(problem, empty(problem), n=4)
        assert not len(self.propose(problem, History(only[None], [1.0]), n=4))

    def test_the_history_is_left_alone(self, problem):
        study = self.later(problem)
        before = study.genes.copy(), list(study.figures)
        self.propose(problem, study)
        assert np.array_equal(study.genes, before[0])
        assert list(study.figures) == before[1]

    def test_all_failed_is_no_dead_end(self, problem):
        first = self.propose(problem, empty(problem), seed=1)
        genes = self.propose(problem, History(first, [None] * len(first)))
        assert len(genes) == self.n

    def test_fewer_only_where_no_more_are_left(self, tiny):
        genes = self.propose(tiny, empty(tiny), n=100)
        assert len(genes) == tiny.space.size  # small enough to be known by heart
        seen = rated(tiny, genes[:-2])
        rest = self.propose(tiny, seen, n=100)
        assert {tuple(r) for r in rest.tolist()} == {tuple(r) for r in genes[-2:].tolist()}
        assert len(self.propose(tiny, rated(tiny, genes), n=100)) == 0

    @pytest.fixture(params=["score, macs, params", "macs, params"])
    def tiny(self, request, tmp_path):
        """Twelve networks."""
        stage = "  - {dim: [%s], depth: [%s], mlp_ratio: [2], expand_ratio: [2], kernels: [[3]],"
        stage += " attention_ratio: [0], stacking: [tail], heads: 2}\n"
        head = "image_size: 32\nnum_classes: 10\nstem: {kernel: 3, stride: 2}\nstages:\n"
        stages = [("16", "1, 2"), ("16, 32, 48", "1"), ("32", "1, 2"), ("64", "1")]
        path = tmp_path / "tiny.yaml"
        path.write_text(head + "".join(stage % s for s in stages))
        return Problem.of(SearchSpace.load(path), (), request.param.split(", "))

    def test_what_is_pending_is_not_proposed(self, problem):
        study = self.later(problem)
        alone = self.propose(problem, study, n=self.n)
        beside = self.propose(problem, replace(study, pending=alone), n=self.n)
        assert len(beside) == self.n and problem.feasible(beside).all()
        assert {tuple(r) for r in alone.tolist()}.isdisjoint(tuple(r) for r in beside.tolist())

    def test_what_is_pending_fills_a_tiny_space_too(self, tiny):
        genes = self.propose(tiny, empty(tiny), n=100)
        seen = replace(rated(tiny, genes[:6]), pending=genes[6:-1])
        assert self.propose(tiny, seen, n=4).tolist() == genes[-1:].tolist()


class TestSurrogate(StrategyContract):
    entry = "surrogate"


class TestNSGA2(StrategyContract):
    entry = "nsga2"


class TestRandom(StrategyContract):
    entry = "random"


class TestRegularizedEvolution(StrategyContract):
    entry = "regularized-evolution"


class TestLocalSearch(StrategyContract):
    entry = "local-search"


class TestOptunaTPE(StrategyContract):
    entry = "optuna:tpe"


class TestOptunaNSGA2(StrategyContract):
    entry = "optuna:nsga2"


class TestOptunaGP(StrategyContract):
    entry = "optuna:gp"
    n = 2  # each takes a second

    @pytest.fixture
    def problem(self):
        return problem_of(["12MMACs", "0.8Mparams"], ["score", "macs"])


@pytest.mark.skipif(find_spec("ax") is None, reason="ax-platform is not installed")
class TestAx(StrategyContract):
    entry = "ax:qnehvi"
    n = 2  # each takes seconds

    @pytest.fixture
    def problem(self):
        return problem_of(["12MMACs", "0.8Mparams"], ["score", "macs"])

    def test_where_ax_finds_no_more_what_is_left_is_drawn(self, problem, monkeypatch):
        with quiet_libraries():
            from ax.api.client import Client
            from ax.exceptions.core import SearchSpaceExhausted

        def refuse(client, max_trials):
            raise SearchSpaceExhausted("no new points left")

        monkeypatch.setattr(Client, "get_next_trials", refuse)
        genes = self.propose(problem, empty(problem), n=24)
        assert len(self.propose(problem, rated(problem, genes), n=4)) == 4

    def test_nothing_is_compiled_for_whose_lock_others_would_wait(self, problem, monkeypatch):
        with quiet_libraries():
            from botorch.acquisition.multi_objective import logei
            from torch.utils import cpp_extension

        compiled = []
        monkeypatch.setattr(cpp_extension, "load", lambda **kernel: compiled.append(kernel))
        monkeypatch.setattr(logei, "_load_attempted", False)
        genes = self.propose(problem, empty(problem), n=24)
        assert len(self.propose(problem, rated(problem, genes))) == self.n
        assert not compiled


@needs_nni
class TestNNIRandom(StrategyContract):
    entry = "nni:random"
    n = 8


@needs_nni
class TestNNIRegularizedEvolution(StrategyContract):
    entry = "nni:regularized-evolution"
    n = 8


def test_every_strategy_has_a_contract():
    assert {c.entry for c in StrategyContract.__subclasses__()} == set(STRATEGIES)
