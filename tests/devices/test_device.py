"""`Device`: what a sheet cannot do, bounds of operators, intervals, devices in order, spaces."""

import numpy as np
import pytest

from smt_nas import PRESETS, SearchSpace
from smt_nas.conditions import Conditions
from smt_nas.devices.device import hardware_of, load_device
from smt_nas.devices.registry import all_sheets
from smt_nas.devices.roofline import load_efficiency
from smt_nas.errors import ConfigError, MeasurementError
from smt_nas.models import build
from smt_nas.models.trace import trace
from smt_nas.space import SpaceConfig

BATCH = 64
OPS = trace(build("smt_t", device="meta").eval(), (3, 224, 224), BATCH)
ONE = trace(build("smt_t", device="meta").eval(), (3, 224, 224), 1)
AMP = Conditions(batch=BATCH, precision="amp-fp16")
SMALL = {  # few parts: tracing takes 10 ms each
    "image_size": 64,
    "stages": [
        {"dim": [16, 32], "depth": 1, "kernels": [[3], [3, 5]]},
        {"dim": 32, "depth": [1, 2], "attention_ratio": 0.5, "heads": 2},
        {"dim": 64, "depth": 2, "attention_ratio": [0, 0.5, 1], "heads": 4},
        {"dim": 64, "depth": 1, "attention_ratio": 1, "mlp_ratio": [1, 2], "heads": 4},
    ],
}
SPACE = SearchSpace(SpaceConfig.model_validate(SMALL), "small")
GENES = SPACE.sample(np.random.default_rng(0), 8)


def ips(name, conditions=AMP):
    return load_device(name).predict_ops(OPS, conditions).throughput_ips[0]


def test_devices_stand_in_their_order():
    assert ips("h100") > ips("a100") > ips("v100") > ips("t4")
    assert ips("rtx5090") > ips("rtx4090") > ips("rtx3090")


@pytest.mark.parametrize("name", ["a100", "rtx4090"])
def test_compiling_and_half_precision_help_a_large_batch(name):
    assert ips(name, AMP.model_copy(update={"mode": "compile"})) > ips(name)
    fp32, fp16 = Conditions(batch=BATCH), Conditions(batch=BATCH, precision="fp16")
    assert ips(name, fp16) > ips(name) > ips(name, fp32)


def test_a_batch_of_one_waits_for_its_launches_but_not_in_a_graph():
    device = load_device("a100")
    eager = device.op_times(ONE, Conditions())
    assert set(eager.bound) == {"host"}
    assert device.predict_ops(ONE, Conditions()).host_bound.all()
    assert not device.predict_ops(OPS, Conditions(batch=BATCH)).host_bound.any()
    graph = Conditions(mode="graph")
    assert device.predict_ops(ONE, graph).ms[0] < 0.5 * eager.ms.sum()


@pytest.mark.parametrize("mode", ["eager", "compile"])
def test_times_of_operators_add_up(mode):
    device, conditions = load_device("a100"), Conditions(batch=BATCH, mode=mode)
    found = device.op_times(OPS, conditions)
    assert found.ms.sum() == pytest.approx(device.predict_ops(OPS, conditions).ms[0])
    assert len(found.ms) == len(found.bound) == len(OPS)
    assert {"compute", "memory"} <= set(found.bound)
    alone = [op.path for op, t in zip(OPS, found.ms, strict=True) if op.kind == "linear" and not t]
    assert alone == []  # products are never merged away


def test_hosts_differ_where_the_host_counts():
    """One launch cost for all hosts gave one latency at batch 1 for all GPUs."""
    fp16 = Conditions(precision="fp16")
    ms = {n: load_device(n).predict_ops(ONE, fp16).ms[0] for n in ("4090", "h100", "t4", "orin")}
    assert ms["4090"] < ms["h100"] < ms["t4"] < ms["orin"]


def test_autocast_costs_the_host_its_casts():
    device = load_device("h100")
    conditions = [Conditions(precision=p) for p in ("fp16", "amp-fp16")]
    half, amp = (device.predict_ops(ONE, c).ms[0] for c in conditions)
    assert amp > 1.3 * half


def test_a_prediction_that_waits_for_the_host_is_as_unsure_as_the_host():
    device = load_device("v100")
    found = device.predict_ops(ONE, Conditions())
    assert np.log(found.high / found.ms) == pytest.approx(device.host.half_width, rel=0.05)
    assert load_device("epyc").predict_ops(ONE, Conditions()).host_bound is None


def test_an_architecture_is_predicted_by_its_trace():
    device = load_device("h100")
    found = device.predict_arch(PRESETS["smt_t"], AMP)
    assert found.ms == pytest.approx(device.predict_ops(OPS, AMP, is_smt=True).ms)
    assert found.low[0] < found.ms[0] < found.high[0]
    assert found.basis == "sheet" and found.conditions == AMP


@pytest.mark.parametrize("name", ["t4", "l4", "orin"])
def test_cards_held_back_by_power_say_so_and_are_less_sure(name):
    found, sure = (load_device(n).predict_ops(OPS, AMP) for n in (name, "a100"))
    assert any("power" in note for note in found.notes)
    assert found.high[0] / found.ms[0] > sure.high[0] / sure.ms[0]


def test_intervals_are_wider_where_less_is_known():
    def reach(name, **changes):
        return load_device(name).interval(AMP.model_copy(update=changes))[1]

    assert reach("rtx4090") < reach("a100")  # its own networks are in the fit
    assert (
        reach("a100") < reach("a100", precision="fp32") < reach("a100", precision="fp32", batch=1)
    )


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("v100", {"precision": "bf16"}, "v100_sxm2: cannot compute in bf16 (it can: fp32, fp16)"),
        ("t4", {"precision": "tf32"}, "cannot compute in tf32"),
        ("epyc", {"precision": "amp-fp16"}, "cannot compute in amp-fp16"),
        ("a100", {"train": True}, "only inference is predicted (got a training step)"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(name, changes, said):
    with pytest.raises(MeasurementError) as error:
        load_device(name).predict_ops(ONE, Conditions(**changes))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_fewer_threads_are_slower():
    one, two = (load_device("epyc").predict_ops(ONE, Conditions(threads=n)).ms[0] for n in (1, 2))
    assert two < one < 2.5 * two


def test_every_sheet_predicts_in_every_precision_it_has():
    for sheet in all_sheets():
        for precision in sheet.peak_tflops:
            found = load_device(sheet.key).predict_ops(ONE, Conditions(precision=precision))
            assert np.isfinite(found.ms).all() and found.ms[0] > 0, (sheet.key, precision)


@pytest.mark.parametrize("text", [None, "{", "{}"])
def test_a_broken_set_of_coefficients_is_one_line(text, tmp_path, monkeypatch):
    if text is not None:
        (tmp_path / "efficiency.json").write_text(text)
    monkeypatch.setattr("smt_nas.devices.roofline.folders", lambda _: [tmp_path])
    with pytest.raises(ConfigError, match=r"efficiency\.json"):
        load_efficiency.__wrapped__("gpu")


@pytest.mark.parametrize(
    ("conditions", "rel"),
    [
        (Conditions(), 1e-9),
        (Conditions(batch=64, precision="amp-fp16"), 1e-9),
        (Conditions(precision="fp16", mode="graph", image_size=96), 1e-9),
        (Conditions(batch=64, precision="amp-fp16", mode="compile"), 0.03),  # merges differ
    ],
    ids=str,
)
def test_parts_of_the_sheet_add_up_to_the_whole_trace(conditions, rel):
    device = load_device("a100")
    found = device.predict(SPACE, GENES, conditions)
    whole = [device.predict_arch(arch, conditions) for arch in SPACE.decode(GENES)]
    for field in ("ms", "low", "high"):
        expected = [getattr(one, field)[0] for one in whole]
        assert getattr(found, field) == pytest.approx(expected, rel=rel)
    assert (found.basis, found.conditions) == ("sheet", conditions)


def test_a_space_is_traced_once(monkeypatch):
    device = load_device("a100")
    first = device.predict(SPACE, GENES, Conditions())
    monkeypatch.setattr("smt_nas.devices.device.find_block_table", None)  # a second call would fail
    assert np.array_equal(device.predict(SPACE, GENES, Conditions()).ms, first.ms)


def test_fp32_products_run_at_what_the_chip_was_measured_to_keep():
    for name, share in (("l4", 0.28), ("v100", 0.97), ("rtx3090", 0.76)):  # the last: not measured
        sheet = load_device(name).sheet
        kept = hardware_of(sheet, Conditions()).product_tflops / sheet.peak_tflops["fp32"]
        assert kept == pytest.approx(share)
    half = hardware_of(load_device("l4").sheet, Conditions(precision="fp16"))
    assert half.product_tflops == load_device("l4").sheet.peak_tflops["fp16"]


def test_where_nobody_timed_the_products_fp32_is_less_sure():
    measured, unmeasured = (
        load_device(name).interval(Conditions(batch=BATCH))[1] for name in ("a100", "h100_pcie")
    )
    assert unmeasured > measured
    half = Conditions(precision="fp16", batch=BATCH)
    assert load_device("a100").interval(half) == load_device("h100_pcie").interval(half)


def test_smt_networks_have_a_factor_of_their_own_beside_the_device_s():
    graph = Conditions(batch=BATCH, precision="amp-fp16", mode="graph")
    device = load_device("a100")
    theirs, ours = (device.predict_ops(OPS, graph, is_smt=smt).ms[0] for smt in (False, True))
    assert ours / theirs == pytest.approx(device.efficiency.ours, rel=0.01)
    assert device.op_times(OPS, graph, is_smt=True).ms.sum() == pytest.approx(ours)
