"""Metrics with their targets, and the constraints that budgets set."""

import numpy as np
import pytest

from smt_nas.devices.block_table import Latency
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS
from smt_nas.search.problem.objectives import (
    DefaultTarget,
    Devices,
    TargetMetric,
    make_constraint,
    make_target,
    read_budget,
    read_objective,
)
from tests.fakes import devices as fakes


@pytest.fixture
def find(monkeypatch):
    fakes.install(monkeypatch)
    return Devices()


@pytest.fixture
def default(find):
    return DefaultTarget.read("a100:b4:fp16", find)


def test_a_default_target_fills_in_what_was_left_open(find, default):
    assert str(default.target("latency_ms")) == "a100:b4:fp16"
    own = DefaultTarget.read(None, find).target("latency_ms")
    assert str(own) == "cpu:b1:fp32" and own.conditions.threads == 1
    assert own.label == "cpu (b1 fp32)"
    assert str(DefaultTarget.read("a100", find).target("throughput_ips")) == "a100:b64:fp32"


def test_a_device_is_loaded_once_by_its_label(find):
    assert find("a100") == find("a100")
    assert list(find.loaded) == ["a100"]


def test_a_device_refuses_a_precision_that_it_lacks(find):
    with pytest.raises(ConfigError, match=r"cpu: cannot compute in fp16\. It can: fp32"):
        make_target(find("cpu"), "latency_ms", 1, "fp16")
    with pytest.raises(ConfigError, match="--device a100:fp99: "):
        DefaultTarget.read("a100:fp99", find)


def test_an_objective_has_a_target_only_where_it_depends_on_one(default):
    assert str(read_objective("latency", default).target) == "a100:b4:fp16"
    assert read_objective("macs", default).target is None
    score = read_objective("score", default)
    assert score.is_evaluated and not score.is_predicted and score.direction == "max"
    assert not read_objective("macs", default).is_evaluated


def test_a_metric_of_the_search_s_own_target_bears_its_plain_name(find, default):
    _, own = read_budget("5ms", default, find)
    _, other = read_budget("5ms@cpu", default, find)
    assert (own.name, other.name) == ("latency_ms", "latency_ms@cpu:b1:fp32")
    with pytest.raises(ConfigError, match="budget '5ms@nowhere'"):
        read_budget("5ms@nowhere", default, find)


def test_a_device_whose_name_reads_as_a_batch_is_the_device():
    """`5ms@b200` is of a B200, not of a batch of 200 on the default device."""
    find = Devices()
    default = DefaultTarget.read("a100:b4:fp16", find)
    _, alone = read_budget("5ms@b200", default, find)
    _, with_batch = read_budget("5ms@b200:b8:fp16", default, find)
    assert (str(alone.target), str(with_batch.target)) == ("b200:b1:fp32", "b200:b8:fp16")
    _, batch = read_budget("5ms@b16", default, find)
    assert str(batch.target) == "a100:b16:fp16"


def test_throughput_is_the_batch_per_second_and_its_interval_is_turned_round(default, find):
    _, metric = read_budget("10img/s@a100:b8:fp16", default, find)
    ms = np.array([4.0, 8.0])
    conditions = metric.target.conditions
    value, low, high = metric.of_latency(Latency(ms, ms / 2, ms * 2, conditions, "sheet", ()))
    assert value.tolist() == [2000.0, 1000.0]
    assert low.tolist() == [1000.0, 500.0] and high.tolist() == [4000.0, 2000.0]


def test_memory_is_scaled_to_the_target_s_batch_and_precision(default, find):
    _, metric = read_budget("2GB@a100:b8:fp16", default, find)
    params, fp32_mb = 1e6, 4.0 + 6.0  # weights and activations of one fp32 image
    assert metric.of_costs(params, fp32_mb) == pytest.approx(2.0 + 8 * 3.0)


def test_a_constraint_says_its_limit_in_the_unit_of_tables(default, find):
    def preset_value(name, metric):
        assert (name, metric.name) == ("smt_t", "latency_ms")
        return 10.0

    constraint = make_constraint(*read_budget("0.5*smt_t.latency", default, find), preset_value)
    assert (constraint.low, constraint.high) == (None, 5.0)
    assert str(constraint) == "at most 5 ms on a100 (b4 fp16)"
    both = make_constraint(*read_budget("2..3Mparams", default, find), preset_value)
    assert (both.low, both.high) == (2e6, 3e6)
    assert both.target_metric == TargetMetric(METRICS["params"], "params")
