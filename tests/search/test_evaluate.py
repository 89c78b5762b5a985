"""Who rates a network: workers, or the evaluator that was given, and never another one."""

import pytest

from smt_nas import PRESETS
from smt_nas.errors import ConfigError
from smt_nas.evaluators import FunctionEvaluator, make_evaluator
from smt_nas.evaluators.function import NamedFunction
from smt_nas.runtime.process_pool import ProcessPool
from smt_nas.search.evaluate import FIRST, Rater, runs_elsewhere

ARCHS = [PRESETS["smt_t"]] * (FIRST + 2)


@pytest.fixture
def never(tmp_path, monkeypatch):
    """A function that always fails, by its name."""
    (tmp_path / "bad.py").write_text("def fn(arch):\n    raise RuntimeError('no')\n")
    monkeypatch.chdir(tmp_path)
    return NamedFunction("bad:fn")


@pytest.mark.parametrize("name", ["capacity", "zero-cost", "joint"])
def test_a_function_of_that_name_is_asked_itself(name):
    own = FunctionEvaluator(lambda arch: 1.0, make_evaluator(name).objective.name, name=name)
    assert not runs_elsewhere(own)
    with ProcessPool(2) as pool:
        assert [e.value for e in Rater(own, pool).rate(ARCHS[:2])] == [1.0, 1.0]


def test_slow_ones_and_functions_run_in_workers_and_quick_ones_here(never):
    assert runs_elsewhere(make_evaluator("zero-cost")) and runs_elsewhere(never)
    for name in ("joint", "predictor", "capacity"):
        assert not runs_elsewhere(make_evaluator(name))


def test_a_function_that_once_succeeded_is_not_given_up(never):
    """As in an unbroken run: the calls before a resume count too."""
    [earlier] = FunctionEvaluator(lambda arch: 1.0).evaluate(ARCHS[:1])
    with ProcessPool(1) as pool:
        found = list(Rater(never, pool, earlier=[earlier]).rate(ARCHS))
        assert [e.reason for e in found] == ["RuntimeError: no"] * len(ARCHS)
        with pytest.raises(ConfigError, match="8 failures in 8 calls"):
            list(Rater(never, pool).rate(ARCHS))
