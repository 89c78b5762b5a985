"""Anchors: a wrong sheet is put right by what was measured, and bad files are one line."""

import functools
import json

import pytest

from smt_nas.conditions import Conditions
from smt_nas.devices.device import load_device
from smt_nas.errors import ConfigError, UnknownName
from smt_nas.profilers.anchors import Anchor, correct_with_anchors, read_anchors
from smt_nas.profilers.breakdown import trace_operators
from smt_nas.profilers.network_loader import load_network
from smt_nas.profilers.profile import resolve_target

SPEC = "smt_micro"
HOW = Conditions(batch=64, precision="amp-fp16")
SIZES = (32, 64, 96)  # a network at several sizes is several networks to a device


def at(size, **how):
    return HOW.model_copy(update={"image_size": size, **how})


@functools.cache
def traced(how):
    return trace_operators(load_network(SPEC), how)


def predicted(device, how):
    return device.predict_ops(traced(how), how, is_smt=True)


def test_a_device_that_is_twice_as_slow_is_learnt():
    device = load_device("a100")
    anchors = [Anchor(SPEC, at(n), 2 * float(predicted(device, at(n)).ms[0])) for n in SIZES]
    better = correct_with_anchors(device, anchors)
    before, after = predicted(device, at(128)), predicted(better, at(128))
    assert after.ms[0] == pytest.approx(2 * before.ms[0])
    assert after.basis == "anchored" and before.basis == "sheet"
    assert after.high[0] / after.low[0] < before.high[0] / before.low[0]
    other = at(128, mode="compile")
    assert predicted(better, other).ms[0] == predicted(device, other).ms[0]


def test_anchors_that_disagree_widen_the_interval():
    device = load_device("a100")
    truths = [float(predicted(device, at(n)).ms[0]) for n in SIZES]

    def width(factors):
        rows = zip(SIZES, truths, factors, strict=True)
        anchors = [Anchor(SPEC, at(n), t * f) for n, t, f in rows]
        latency = predicted(correct_with_anchors(device, anchors), at(128))
        return latency.high[0] / latency.low[0]

    assert width((0.7, 1.0, 1.4)) > width((0.99, 1.0, 1.01))


def test_both_forms_are_read(tmp_path):
    path = tmp_path / "mine.json"
    lines = [
        {"network": "smt_micro", "batch": 64, "precision": "amp-fp16", "throughput_ips": 3200},
        {"network": "smt_s", "latency_ms": 9.5},
    ]
    path.write_text(json.dumps(lines))
    first, second = read_anchors(path)
    assert first == Anchor("smt_micro", HOW, 20.0)
    assert second == Anchor("smt_s", Conditions(), 9.5)
    row = {
        "network": "smt_micro",
        "conditions": HOW.model_dump(mode="json"),
        "measurement": {},
        "figures": {"latency_ms": {"value": 20.0}},
    }
    path.write_text(json.dumps({"rows": [row, {"measurement": None}]}))
    assert read_anchors(path) == [Anchor("smt_micro", HOW, 20.0)]
    device, where = resolve_target("a100", path)
    assert where is None and device.basis(HOW) == "anchored"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("3", "must be a list"),
        ("[]", "must hold 1 to"),
        ('{"rows": []}', "must hold 1 to"),
        ("{}", "must be what"),
        ('[{"network": "smt_micro"}]', "needs latency_ms or throughput_ips"),
        ('[{"network": "smt_micro", "latency_ms": -1}]', "latency_ms"),
        ('[{"network": "smt_micro", "latency_ms": 1, "ms": 2}]', "not a known field"),
        ('[{"network": "smt_micro", "latency_ms": 1, "batch": 0}]', "batch"),
    ],
)
def test_bad_files_are_one_line(tmp_path, content, rule):
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        read_anchors(path)
    assert rule in str(caught.value) and "\n" not in str(caught.value)


def test_an_unknown_network_is_told():
    with pytest.raises(UnknownName):
        correct_with_anchors(load_device("a100"), [Anchor("smt_x", HOW, 1.0)])


def test_anchors_need_a_named_device(tmp_path):
    with pytest.raises(ConfigError, match="--gpu"):
        resolve_target("cpu", tmp_path / "mine.json")
