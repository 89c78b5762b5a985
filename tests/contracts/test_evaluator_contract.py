"""What every evaluator promises, held for each entry of EVALUATORS and for the public classes."""

import dataclasses
import importlib
import math
import pickle
import string
import sys
from typing import ClassVar

import numpy as np
import pytest
from pydantic import TypeAdapter

from smt_nas import costs
from smt_nas.evaluators import (
    EVALUATORS,
    BatchEvaluator,
    EvaluatorChoice,
    FunctionEvaluator,
    ReplayEvaluator,
    choose_evaluator,
    make_evaluator,
)
from smt_nas.evaluators.evidence import AnyEvidence
from smt_nas.evaluators.short_train import evaluator as short
from smt_nas.metrics import METRICS
from smt_nas.report.evidence import describe_evidence
from smt_nas.space import SearchSpace
from tests.fakes.supernets import draw_archs, make_small_space


@pytest.fixture(scope="module")
def archs():
    space = SearchSpace.load("smt_micro")
    return space.decode(space.sample(np.random.default_rng(5), 3))


class EvaluatorContract:
    """Subclass it and say how to make the evaluator, and one that fails on a network."""

    provenance = None

    def make(self, archs):
        raise NotImplementedError

    def break_it(self, archs, monkeypatch):
        """An evaluator that fails on archs[1] only."""
        raise NotImplementedError

    def test_says_what_it_is(self, archs):
        evaluator = self.make(archs)
        assert METRICS[evaluator.objective.name] is evaluator.objective
        assert evaluator.name

    def test_what_it_rests_on_is_a_value_that_has_words(self, archs):
        evidence = self.make(archs).evidence
        kind = TypeAdapter(AnyEvidence)
        assert kind.validate_python(kind.dump_python(evidence, mode="json")) == evidence
        words = describe_evidence(evidence)
        assert words.startswith(self.make(archs).name) and "\n" not in words

    def test_its_fingerprint_stays_and_is_its_own(self, archs):
        first, second = self.make(archs).fingerprint, self.make(archs).fingerprint
        assert first == second and len(first) == 12 and set(first) <= set(string.hexdigits)
        assert first not in {make_evaluator(name).fingerprint for name in self.others()}

    def others(self):
        return ("capacity", "joint", "predictor", "zero-cost")

    def test_one_evaluation_a_network_in_order(self, archs):
        evaluator = self.make(archs)
        together = evaluator.evaluate(archs)
        assert [(e.failure, e.stopped) for e in together] == [(None, False)] * len(archs)
        assert all(math.isfinite(e.value) and e.seconds >= 0 for e in together)
        assert {e.provenance for e in together} == {self.provenance}
        backwards = evaluator.evaluate(archs[::-1])[::-1]
        alone = [self.make(archs).evaluate([arch])[0] for arch in archs]
        assert [e.value for e in together] == [e.value for e in backwards]
        assert [e.value for e in together] == [e.value for e in alone]
        assert len({e.value for e in together}) == len(archs)

    def test_evaluations_are_kept_as_plain_values(self, archs):
        for evaluation in self.make(archs).evaluate(archs):
            record = evaluation.to_record()
            assert type(evaluation).from_record(record) == evaluation
            assert all(type(v) is float for v in evaluation.to_columns().values())

    def test_nothing_in_nothing_out(self, archs):
        assert self.make(archs).evaluate([]) == []

    def test_a_failing_network_says_why_and_spares_the_others(self, archs, monkeypatch):
        first, broken, last = self.break_it(archs, monkeypatch).evaluate(archs)
        assert broken.value is None
        assert broken.failure and not broken.stopped
        assert None not in (first.value, last.value)


class EntryContract(EvaluatorContract):
    """Of an entry of the registry: made by what a user says."""

    entry = None  # its name
    word = None  # how a user writes it, where that is not its name
    options: ClassVar = {}

    def choice(self):
        return choose_evaluator(self.word or self.entry, self.options)

    def make(self, archs):
        return make_evaluator(self.choice())

    def others(self):
        return set(super().others()) - {self.entry}

    def test_it_is_made_of_what_a_user_says(self, archs):
        choice = self.choice()
        assert choice.entry is EVALUATORS[self.entry]
        assert self.make(archs).name == choice.word == (self.word or self.entry)

    def test_its_choice_travels_to_processes_and_files(self):
        choice = self.choice()
        assert pickle.loads(pickle.dumps(choice)) == choice
        assert hash(choice) == hash(self.choice())
        assert EvaluatorChoice.model_validate(choice.model_dump(mode="json")) == choice
        assert choice.entry.help and choice.entry.default_n > 0


class TestZeroCost(EntryContract):
    entry = "zero-cost"
    provenance = "proxy"

    def break_it(self, archs, monkeypatch):
        from smt_nas.evaluators import zero_cost

        true = zero_cost.measure

        def measure(arch):
            return true(arch) | ({"synflow": math.nan} if arch == archs[1] else {})

        monkeypatch.setattr(zero_cost, "measure", measure)
        return self.make(archs)


class BatchContract(EntryContract):
    """Of evaluators that take gene arrays too."""

    provenance = "predicted"
    module, part = None, None  # what evaluates one network

    def break_it(self, archs, monkeypatch):
        module = importlib.import_module(self.module)
        true = getattr(module, self.part)

        def evaluate(arch):
            return true(arch) if arch not in ([archs[1]], archs[1]) else 1 / 0

        monkeypatch.setattr(module, self.part, evaluate)
        return self.make(archs)

    def test_gene_arrays_are_evaluated_alike(self, archs):
        evaluator, space = self.make(archs), SearchSpace.load("smt_micro")
        assert isinstance(evaluator, BatchEvaluator) and evaluator.is_final
        at_once = evaluator.predict(space, space.encode(archs))
        np.testing.assert_allclose(at_once.mean, [e.value for e in evaluator.evaluate(archs)])
        assert at_once.std.shape == (len(archs),) and (at_once.std > 0).all()

    def test_the_interval_holds_the_value(self, archs):
        for e in self.make(archs).evaluate(archs):
            low, high = e.interval
            assert low < e.value < high


class TestPredictor(BatchContract):
    entry = "predictor"
    module, part = "smt_nas.evaluators.predictors.features", "of_archs"


class TestCapacity(BatchContract):
    entry = "capacity"
    module, part = "smt_nas.evaluators.capacity", "of_arch"


class TestJoint(BatchContract):
    entry = "joint"
    module, part = "smt_nas.evaluators.predictors.features", "of_archs"


CHANGES = ("images=40", "batch_size=20", "validation=0.1")


class TestShortTrain(EntryContract):
    """One epoch is one rung: nothing is stopped, so that figures do not depend on the others."""

    entry = "short-train"
    options: ClassVar = {"data": "digits", "epochs": 1, "changes": CHANGES}
    provenance = "trained"

    def make(self, archs):
        return dataclasses.replace(super().make(archs), workers=1)

    def break_it(self, archs, monkeypatch):
        true = short.train_job

        def trained(job):
            return "diverged" if job.arch == archs[1] else true(job)

        monkeypatch.setattr(short, "train_job", trained)
        return self.make(archs)


class TestSupernet(EntryContract):
    """Of a supernet of a few steps, for networks of its space."""

    entry = "supernet"
    provenance = "inherited"

    @pytest.fixture(autouse=True)
    def trained(self, supernet_folder):
        self.word = f"supernet:{supernet_folder}"

    @pytest.fixture
    def archs(self):
        return draw_archs(make_small_space(), 3)

    def break_it(self, archs, monkeypatch):
        evaluator = self.make(archs)
        true = evaluator.supernet.evaluate

        def evaluate(rated):
            return true(rated) if rated != [archs[1]] else 1 / 0

        monkeypatch.setattr(evaluator.supernet, "evaluate", evaluate)
        return evaluator


class TestNamedFunction(EntryContract):
    """A function of a module in the working directory, by `module:function`."""

    entry = "function"
    word = "function_of_the_contract:rate"
    provenance = "function"

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

    def break_it(self, archs, monkeypatch):
        evaluator = self.make(archs)
        monkeypatch.setattr(sys.modules["function_of_the_contract"], "broken", archs[1])
        return evaluator


def params(arch):
    return float(costs.of(arch).params)


class TestFunction(EvaluatorContract):
    provenance = "function"

    def make(self, archs):
        return FunctionEvaluator(params)

    def break_it(self, archs, monkeypatch):
        return FunctionEvaluator(lambda arch: 1 / 0 if arch == archs[1] else 1.0)


class TestReplay(EvaluatorContract):
    provenance = "function"

    def make(self, archs):
        return ReplayEvaluator({arch.key: params(arch) for arch in archs})

    def break_it(self, archs, monkeypatch):
        return ReplayEvaluator({archs[0].key: 1.0, archs[2].key: {"score": 2.0}})


def test_every_entry_has_a_contract():
    contracts = [*EntryContract.__subclasses__(), *BatchContract.__subclasses__()]
    assert {contract.entry for contract in contracts} - {None} == set(EVALUATORS)
