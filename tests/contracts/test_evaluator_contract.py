"""What every evaluator promises, held for each entry of EVALUATORS and for the public classes."""

import importlib
import math
import sys

import numpy as np
import pytest

from smt_nas import costs
from smt_nas.evaluators import (
    EVALUATORS,
    Foresees,
    FunctionEvaluator,
    ReplayEvaluator,
    make_evaluator,
)
from smt_nas.evaluators.short_train import evaluator as short
from smt_nas.evaluators.short_train.evaluator import ShortTrainEvaluator, ShortTraining
from smt_nas.metrics import METRICS
from smt_nas.space import SearchSpace


@pytest.fixture(scope="module")
def archs():
    space = SearchSpace.load("smt_micro")
    return space.decode(space.sample(np.random.default_rng(5), 3))


class EvaluatorContract:
    """Subclass it and say how to make the evaluator, and one that fails on a network."""

    entry = None  # its name in EVALUATORS
    provenance = None

    def make(self, archs):
        return make_evaluator(self.entry)

    def break_it(self, archs, monkeypatch):
        """An evaluator that fails on archs[1] only."""
        raise NotImplementedError

    def test_says_what_it_rates(self, archs):
        evaluator = self.make(archs)
        assert METRICS[evaluator.objective.name] is evaluator.objective
        assert evaluator.name == (self.entry or evaluator.name)
        assert evaluator.name
        assert evaluator.evidence.startswith(evaluator.name)
        assert "\n" not in evaluator.evidence

    def test_one_evaluation_a_network_in_order(self, archs):
        evaluator = self.make(archs)
        together = evaluator.evaluate(archs)
        assert [e.reason for e in together] == [None] * len(archs)
        assert all(math.isfinite(e.value) and e.seconds >= 0 for e in together)
        assert {e.provenance for e in together} == {self.provenance}
        backwards = evaluator.evaluate(archs[::-1])[::-1]
        alone = [self.make(archs).evaluate([arch])[0] for arch in archs]
        assert [e.value for e in together] == [e.value for e in backwards]
        assert [e.value for e in together] == [e.value for e in alone]
        assert len({e.value for e in together}) == len(archs)

    def test_nothing_in_nothing_out(self, archs):
        assert self.make(archs).evaluate([]) == []

    def test_a_failing_network_says_why_and_spares_the_others(self, archs, monkeypatch):
        first, broken, last = self.break_it(archs, monkeypatch).evaluate(archs)
        assert broken.value is None
        assert broken.reason
        assert None not in (first.value, last.value)


class TestZeroCost(EvaluatorContract):
    entry = "zero-cost"
    provenance = "proxy"

    def break_it(self, archs, monkeypatch):
        from smt_nas.evaluators import zero_cost

        true = zero_cost.measure

        def measure(arch):
            return true(arch) | ({"synflow": math.nan} if arch == archs[1] else {})

        monkeypatch.setattr(zero_cost, "measure", measure)
        return self.make(archs)


class Foreseeing(EvaluatorContract):
    """Of evaluators that rate gene arrays too."""

    provenance = "predicted"
    module, part = None, None  # what rates one network

    def break_it(self, archs, monkeypatch):
        module = importlib.import_module(self.module)
        true = getattr(module, self.part)

        def rate(arch):
            return true(arch) if arch not in ([archs[1]], archs[1]) else 1 / 0

        monkeypatch.setattr(module, self.part, rate)
        return self.make(archs)

    def test_gene_arrays_are_rated_alike(self, archs):
        evaluator, space = self.make(archs), SearchSpace.load("smt_micro")
        assert isinstance(evaluator, Foresees) and evaluator.exact
        at_once = evaluator.figures(space, space.encode(archs))
        np.testing.assert_allclose(at_once, [e.value for e in evaluator.evaluate(archs)])

    def test_the_interval_holds_the_value(self, archs):
        for e in self.make(archs).evaluate(archs):
            assert e.details["low"] < e.value < e.details["high"]


class TestPredictor(Foreseeing):
    entry = "predictor"
    module, part = "smt_nas.evaluators.features", "of_archs"


class TestCapacity(Foreseeing):
    entry = "capacity"
    module, part = "smt_nas.evaluators.capacity", "of_arch"


class TestJoint(Foreseeing):
    entry = "joint"
    module, part = "smt_nas.evaluators.features", "of_archs"


class TestShortTrain(EvaluatorContract):
    """One epoch is one rung: nothing is stopped, so that figures do not depend on the others."""

    provenance = "trained"

    def make(self, archs):
        changes = ("images=120", "batch_size=40")
        return ShortTrainEvaluator(
            ShortTraining(data="digits", epochs=1, changes=changes), workers=1
        )

    def break_it(self, archs, monkeypatch):
        true = short.trained

        def trained(job):
            return "diverged" if job.arch == archs[1] else true(job)

        monkeypatch.setattr(short, "trained", trained)
        return self.make(archs)


def params(arch):
    return float(costs.of(arch).params)


class TestFunction(EvaluatorContract):
    provenance = "function"

    def make(self, archs):
        return FunctionEvaluator(params)

    def break_it(self, archs, monkeypatch):
        return FunctionEvaluator(lambda arch: 1 / 0 if arch == archs[1] else 1.0)


class TestNamedFunction(EvaluatorContract):
    """A function of a module in the working directory, by `module:function`."""

    provenance = "function"
    name = "function_of_the_contract:rate"

    @pytest.fixture(autouse=True)
    def module(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "function_of_the_contract.py").write_text(
            "from smt_nas import costs\n"
            "broken = None\n"
            "def rate(arch):\n"
            "    return 'nonsense' if arch == broken else float(costs.of(arch).params)\n"
        )
        yield
        sys.modules.pop("function_of_the_contract", None)

    def make(self, archs):
        evaluator = make_evaluator(self.name)
        assert evaluator.name == self.name
        return evaluator

    def break_it(self, archs, monkeypatch):
        evaluator = self.make(archs)
        monkeypatch.setattr(sys.modules["function_of_the_contract"], "broken", archs[1])
        return evaluator


class TestReplay(EvaluatorContract):
    provenance = "function"

    def make(self, archs):
        return ReplayEvaluator({arch.key: params(arch) for arch in archs})

    def break_it(self, archs, monkeypatch):
        return ReplayEvaluator({archs[0].key: 1.0, archs[2].key: {"score": 2.0}})


def test_every_evaluator_has_a_contract():
    contracts = [*EvaluatorContract.__subclasses__(), *Foreseeing.__subclasses__()]
    assert {contract.entry for contract in contracts} - {None} == set(EVALUATORS)
