"""How a target's latency is predicted, kept so that a later run can compare."""

import pytest

from smt_nas.search.problem.forecast import TargetRecord, predict_latency
from smt_nas.search.problem.objectives import Devices, make_target
from smt_nas.space.baselines import baselines
from tests.fakes import devices as fakes
from tests.fakes.searches import SPACE


@pytest.fixture
def device(monkeypatch):
    return fakes.install(monkeypatch)["cpu"]


@pytest.fixture
def target(device):
    return make_target(Devices()("cpu"), "latency_ms", None, None)


def test_it_holds_the_presets_with_their_intervals(device, target):
    prediction = predict_latency(device, target, SPACE)
    assert prediction.basis == "sheet" and prediction.apart == {}
    for name, arch in baselines(SPACE).items():
        latency = device.predict_arch(arch, target.conditions)
        assert prediction.presets[name] == (latency.ms[0], latency.low[0], latency.high[0])


def test_the_digest_is_of_what_is_predicted_and_of_nothing_else(device, target):
    before = predict_latency(device, target, SPACE)
    device.sheet = device.sheet.model_copy(update={"name": "another name"})
    assert predict_latency(device, target, SPACE).digest == before.digest
    device.macs_per_ms *= 1.001
    changed = predict_latency(device, target, SPACE)
    assert changed.digest != before.digest and len(changed.digest) == 12


def test_presets_predicted_on_another_basis_are_named(device, target):
    device.basis = "table"
    prediction = predict_latency(device, target, SPACE)
    assert prediction.basis == "table"
    assert set(prediction.apart) == set(baselines(SPACE))  # none lies in smt_micro
    assert set(prediction.apart.values()) == {"sheet"}


def test_a_record_survives_yaml_s_plain_values(device, target):
    record = TargetRecord(target=target, forecast=predict_latency(device, target, SPACE))
    plain = record.model_dump(mode="json")
    assert set(plain) == {"target", "forecast"}
    assert TargetRecord.model_validate(plain).model_dump(mode="json") == plain
