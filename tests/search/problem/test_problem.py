"""Constraints and objectives over gene arrays."""

import numpy as np
import pytest

from smt_nas.errors import ConfigError
from smt_nas.search.problem.problem import COST_OBJECTIVES, Problem
from tests.fakes import devices as fakes
from tests.fakes.searches import SPACE, make_problem, sample

GENES = sample(200)


@pytest.fixture
def devices(monkeypatch):
    return fakes.install(monkeypatch)


def test_violations_are_shares_of_the_limit_and_sum_up(devices):
    problem = make_problem("9..11MMACs", "0.5Mparams")
    values = problem.evaluate_formulas(GENES)
    violations = problem.violations(values)
    assert list(violations) == ["macs <= 1.1e+07", "macs >= 9e+06", "params <= 500000"]
    assert violations["macs <= 1.1e+07"] == pytest.approx(values["macs"] / 11e6 - 1)
    assert violations["macs >= 9e+06"] == pytest.approx(1 - values["macs"] / 9e6)
    total = sum(np.maximum(v, 0) for v in violations.values())
    assert problem.total_violation(values) == pytest.approx(total)
    assert (problem.feasible(GENES) == (total == 0)).all()


def test_without_constraints_all_is_feasible(devices):
    problem = make_problem()
    assert problem.feasible(GENES).all()
    assert not problem.total_violation(problem.values(GENES)).any()


def test_the_objective_matrix_is_to_be_minimised(devices):
    problem = make_problem(objectives=("score", "macs"))
    values = problem.values(GENES) | {"score": np.arange(len(GENES), dtype=float)}
    matrix = problem.objective_matrix(values)
    assert matrix[:, 0].tolist() == [-float(i) for i in range(len(GENES))]
    assert (matrix[:, 1] == values["macs"]).all()


def test_the_device_is_asked_only_for_what_formulas_leave(devices):
    problem = make_problem("1kMACs", "5ms")  # no network has so few MACs
    assert not problem.feasible(GENES).any()
    assert devices["cpu"].calls == 0


def test_metrics_by_where_they_come_from(devices):
    budgets = ("5ms@a100", "1GB@a100:b8")
    problem = make_problem(*budgets, objectives=("score", "latency"), device="cpu")
    assert problem.evaluated_metric.name == "score"
    assert [q.name for q in problem.predicted_metrics] == ["latency_ms", "latency_ms@a100:b1:fp32"]
    assert [q.name for q in problem.metrics][-1] == "peak_memory_mb@a100:b8:fp32"
    assert [str(t) for t in problem.local_targets] == ["cpu:b1:fp32"]  # no a100 is here
    values = problem.values(GENES)
    assert set(values) >= {q.name for q in problem.metrics} - {"score"}


def test_verification_times_the_latency_where_nothing_is_predicted(devices):
    problem = make_problem(objectives=("macs",))
    assert [q.name for q in problem.timed_metrics] == ["latency_ms"]
    assert problem.evaluated_metric is None and problem.predicted_metrics == ()


def test_a_search_that_is_read_asks_no_device(devices):
    budgets, objectives = ("0.3ms", "5ms@a100"), COST_OBJECTIVES
    records = Problem.of(SPACE, budgets, objectives).target_records
    for device in devices.values():
        device.calls = 0
    read = Problem.of(SPACE, budgets, objectives, "cpu", records)
    assert read.target_records == records and not read.devices
    assert read.predict_preset("smt_t")["latency_ms"] == records[0].forecast.presets["smt_t"]
    assert [d.calls for d in devices.values()] == [0, 0, 0]


def test_an_objective_is_named_once(devices):
    with pytest.raises(ConfigError, match="each one once"):
        make_problem(objectives=("macs", "macs"))
