"""Who evaluates a network: workers, or the evaluator that was given, and never another one."""

import dataclasses

import pytest

from smt_nas import PRESETS
from smt_nas.arch import SMALL_PRESETS
from smt_nas.errors import ConfigError
from smt_nas.evaluators import (
    EVALUATORS,
    Evaluation,
    EvaluatorChoice,
    FunctionEvaluator,
    choose_evaluator,
    make_evaluator,
)
from smt_nas.evaluators.runner import FIRST, EvaluationRunner
from smt_nas.metrics import METRICS
from smt_nas.runtime.engines.process_pool import ProcessPool
from tests.fakes.benches import rows, written

ARCHS = [PRESETS["smt_t"]] * (FIRST + 2)


@pytest.fixture
def never(tmp_path, monkeypatch):
    """A function that always fails, by its name."""
    (tmp_path / "bad.py").write_text("def fn(arch):\n    raise RuntimeError('no')\n")
    monkeypatch.chdir(tmp_path)
    return choose_evaluator("bad:fn")


def run(choice, archs, workers=1, **more):
    """What a runner says of networks."""
    with ProcessPool(workers) as pool:
        runner = EvaluationRunner(make_evaluator(choice), pool, choice, **more)
        return list(runner.evaluate(archs))


@pytest.mark.parametrize("name", ["capacity", "zero-cost", "joint"])
def test_one_that_is_handed_in_is_asked_itself(name):
    own = FunctionEvaluator(lambda arch: 1.0, make_evaluator(name).objective.name, name=name)
    choice = EvaluatorChoice(name=name, handed_in=True)
    with ProcessPool(2) as pool:
        found = EvaluationRunner(own, pool, choice).evaluate(ARCHS[:2])
        assert [e.value for e in found] == [1.0, 1.0]


def test_a_function_that_once_succeeded_is_not_given_up(never):
    """As in an unbroken run: the calls before a resume count too."""
    [earlier] = FunctionEvaluator(lambda arch: 1.0).evaluate(ARCHS[:1])
    found = run(never, ARCHS, earlier=[earlier])
    assert [e.failure for e in found] == ["RuntimeError: no"] * len(ARCHS)
    with pytest.raises(ConfigError, match="8 failures in 8 calls"):
        run(never, ARCHS)


def test_one_with_a_bench_of_ones_own_works_in_workers(tmp_path, monkeypatch):
    table = written(tmp_path / "mine", rows(40))
    choice = choose_evaluator("predictor", {"bench": str(table.parent)})
    archs = [SMALL_PRESETS["smt_micro"], *[row.arch for row in rows(3)]]
    here = run(choice, archs)
    entry = dataclasses.replace(EVALUATORS["predictor"], in_worker=True)
    monkeypatch.setitem(EVALUATORS, "predictor", entry)
    there = run(choice, archs, workers=2)
    assert [e.value for e in there] == pytest.approx([e.value for e in here], rel=1e-9)
    assert here[0].value != make_evaluator("predictor").evaluate(archs[:1])[0].value


class Careless:
    """An evaluator of somebody's own, which hands on what it gets."""

    name = "careless"
    objective = METRICS["score"]
    fingerprint = "0" * 12

    def __init__(self, *evaluations):
        self._evaluations = evaluations

    def evaluate(self, archs):
        return [self._evaluations[0]]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_none_never_enter_a_result(value):
    good = Evaluation(1.0, "function", (0.0, value), {"a": value, "b": 2.0}, value)
    with ProcessPool(1) as pool:
        for evaluation in (Evaluation(value, "function"), good):
            runner = EvaluationRunner(Careless(evaluation), pool)
            (kept,) = runner.evaluate(ARCHS[:1])
            if evaluation is good:
                assert kept == Evaluation(1.0, "function", components={"b": 2.0})
            else:
                assert kept.value is None
                assert kept.failure == f"score must be a finite number (got {value})"
