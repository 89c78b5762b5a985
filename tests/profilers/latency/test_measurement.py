"""A measurement as JSON and back."""

import json
from dataclasses import fields

import pytest

from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError
from smt_nas.profilers.latency.measurement import Measurement


def measurement(**values):
    given = {
        "name": "smt_t",
        "device": "cuda:0",
        "conditions": Conditions(batch=8, precision="amp-fp16"),
        "wall_ms": (2.0, 2.5, 2.25),
        "device_ms": (1.5, 1.75, 2.0),
        "first_call_ms": 900.0,
        "compile_ms": None,
        "warmup_s": 0.5,
        "steady": True,
        "stopped_by": "ci",
        "flagged": (1,),
        "status": "loaded",
        "reasons": ("others",),
        "watched": {"sm_mhz": 1410.0, "reasons": {"sw-thermal": 0.5}, "power_w": None},
        "per_round": 3,
        "started": "2026-01-01T00:00:00.000000+00:00",
    }
    return Measurement(**given | values)


@pytest.mark.parametrize("found", [measurement(), measurement(device="cpu", device_ms=None)])
def test_it_survives_json(found):
    text = json.dumps(found.to_dict(), allow_nan=False)
    assert Measurement.from_dict(json.loads(text)) == found


def test_every_field_and_what_is_concluded_is_written():
    found = measurement().to_dict()
    assert set(found) >= {f.name for f in fields(Measurement)} - {"cpu_ms"}
    assert found["wall_ms"] == [2.0, 2.5, 2.25]
    assert found["wall"]["median_ms"] == 2.25
    assert found["wall"]["p99_ms"] is None
    assert found["on_device"]["median_ms"] == 1.75
    assert found["launch_bound"] is True
    assert found["conditions"]["precision"] == "amp-fp16"
    cpu = measurement(device_ms=None).to_dict()
    assert (cpu["on_device"], cpu["launch_bound"], cpu["device_ms"]) == (None, None, None)


def test_a_gpu_that_is_never_waited_for_is_not_launch_bound():
    assert measurement(wall_ms=(1.6, 1.8, 2.1)).launch_bound is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"wall_ms": []},
        {"wall_ms": ["fast"]},
        {"wall_ms": 3.0},
        {"wall_ms": [-1.0]},
        {"wall_ms": [1.0, float("nan")]},
        {"conditions": {"batch": 0}},
        {"conditions": None},
        {"name": None},
        {"per_round": 0},
        {"status": "splendid"},
    ],
)
def test_what_is_no_measurement_is_told_in_one_line(wrong):
    values = measurement().to_dict() | wrong
    with pytest.raises(ConfigError, match=r"^measurement: must have the fields") as raised:
        Measurement.from_dict(values)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("missing", ["wall_ms", "conditions", "name"])
def test_a_missing_field_is_told(missing):
    values = measurement().to_dict()
    del values[missing]
    with pytest.raises(ConfigError, match=missing):
        Measurement.from_dict(values)
