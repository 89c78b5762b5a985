"""A network that fails is a failed trial with its reason; the search goes on."""

import math

import pytest

from smt_nas.evaluators import FunctionEvaluator
from smt_nas.report.search.front import front_notes
from smt_nas.search import Settings, create_search, resume_search
from tests.fakes.screening import short_screening  # noqa: F401

pytestmark = pytest.mark.usefixtures("short_screening")
N = 10  # more than a round


def settings(**more):
    objectives = ("score", "macs", "params")
    return Settings(
        space="smt_micro", budgets=("10MMACs",), objectives=objectives, n=N, verify=False, **more
    )


def raises(arch):
    raise MemoryError("no room")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (raises, "MemoryError: no room"),
        (lambda arch: math.nan, "score must be a finite number (got nan)"),
        (lambda arch: -math.inf, "score must be a finite number (got -inf)"),
        (lambda arch: {"accuracy": 1.0}, "must return 'score' (got accuracy)"),
        (lambda arch: None, "score must be a finite number (got None)"),
        (lambda arch: "0.7", "score must be a finite number (got '0.7')"),
    ],
)
def test_every_third_network_fails(tmp_path, broken, reason):
    calls = []

    def rate(arch):
        calls.append(arch)
        return broken(arch) if len(calls) % 3 == 0 else float(arch.stages[2].depth)

    outcome = create_search(settings(), tmp_path / "run", evaluator=FunctionEvaluator(rate)).run()
    assert len(outcome.trials) == N
    failed = [t for t in outcome.trials if t.evaluation.failure is not None]
    assert len(failed) == N // 3
    assert all(reason in t.evaluation.failure and t.evaluation.value is None for t in failed)
    assert {t.key for t in failed}.isdisjoint(r.arch.key for r in outcome.front)
    assert outcome.front
    assert any(f"{N // 3} of {N} trials failed" in line for line in front_notes(outcome, False))
    stored = resume_search(tmp_path / "run", read_only=True).outcome()
    assert [t.evaluation for t in stored.trials] == [t.evaluation for t in outcome.trials]


def test_all_networks_fail(tmp_path):
    outcome = create_search(settings(), tmp_path / "run", evaluator=FunctionEvaluator(raises)).run()
    assert len(outcome.trials) == N
    assert outcome.front == []
    assert (tmp_path / "run" / "front.csv").is_file()


def test_a_measure_that_fails(tmp_path, monkeypatch):
    from smt_nas.evaluators import zero_cost

    true, calls = zero_cost.measure, []

    def measure(arch):
        calls.append(arch)
        if len(calls) == 2:
            raise RuntimeError("cannot be built")
        return true(arch)

    monkeypatch.setattr(zero_cost, "measure", measure)
    few = Settings(**settings().model_dump() | {"n": 4, "evaluator": "zero-cost"})
    outcome = create_search(few, tmp_path / "run").run()
    reasons = [t.evaluation.failure for t in outcome.trials]
    assert reasons == [None, "RuntimeError: cannot be built", None, None]
