"""Latency in a search: budgets and objectives on devices that are here, absent or unknown."""

import csv

import numpy as np
import pytest
import yaml
from rich.console import Console

from smt_nas import costs
from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError, MeasurementError, StoreError, UnknownName
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.profilers import count_check
from smt_nas.report.search.front import as_document, front_notes, front_table
from smt_nas.search import Problem, Settings, create_search, resume_search
from smt_nas.search.loop import verify
from smt_nas.search.storage.study_notes import Timing
from smt_nas.space import SearchSpace, baselines
from tests.fakes import devices as fakes
from tests.fakes.screening import short_screening  # noqa: F401

pytestmark = pytest.mark.usefixtures("short_screening")


SPACE = SearchSpace.load("smt_micro")
GENES = SPACE.sample(np.random.default_rng(1), 300)


@pytest.fixture
def devices(monkeypatch):
    return fakes.install(monkeypatch)


@pytest.fixture
def stopwatch(monkeypatch):
    """Timing without timing: what the fake CPU predicts, 10 % more; every fourth 40 % more."""
    seen = []

    def measure_group(group, reference, target):
        fake = fakes.FakeDevice(fakes.sheet("x", "cpu"))
        found = []
        for r in group:
            seen.append((r.name, str(target), target.conditions))
            off = 1.4 if int(r.arch.key, 16) % 4 == 0 else 1.1
            ms = float(fake.predict_arch(r.arch, target.conditions).ms[0]) * off
            found.append(Timing(latency_ms=ms, spread_ms=0.01, samples=8, status="ok"))
        return found

    monkeypatch.setattr(verify, "measure_group", measure_group)
    counted = count_check.CountCheck({"torch": 1}, None)  # tests/profilers counts
    monkeypatch.setattr(count_check, "check_counts", lambda arch: counted)
    return seen


def rate(arch):
    return float(np.log(costs.of(arch).params) - 0.3 * sum(len(s.kernels) for s in arch.stages))


def begin(path, n=24, **more):
    asked = {"space": "smt_micro", "n": n, "verify": False} | more
    return create_search(Settings(**asked), path, evaluator=FunctionEvaluator(rate))


def again(path, **more):
    return resume_search(path, evaluator=FunctionEvaluator(rate), **more)


def problem(*budgets, objectives=("macs",), device=None):
    return Problem.of(SPACE, budgets, objectives, device)


@pytest.mark.parametrize(
    ("text", "device", "name", "label", "conditions"),
    [
        ("5ms", None, "latency_ms", "cpu", "b1 fp32 eager 1 thread"),
        ("5ms", "a100:b8:fp16", "latency_ms", "a100", "b8 fp16 eager"),
        ("5ms@a100", "a100", "latency_ms", "a100", "b1 fp32 eager"),
        ("5ms@b4", None, "latency_ms@cpu:b4:fp32", "cpu", "b4 fp32 eager 1 thread"),
        ("5ms@a100:b1:fp16", None, "latency_ms", "a100", "b1 fp16 eager"),
        ("5ms@a100:fp16:graph", None, "latency_ms", "a100", "b1 fp16 graph"),
        ("5ms@A100:FP16", "cpu", "latency_ms@a100:b1:fp16", "a100", "b1 fp16 eager"),
        ("1500img/s@a100", None, "throughput_ips", "a100", "b64 fp32 eager"),
        ("1500img/s", None, "throughput_ips", "cpu", "b1 fp32 eager 1 thread"),
        ("2GB@a100:b64:fp16", None, "peak_memory_mb@a100:b64:fp16", "a100", "b64 fp16 eager"),
        ("0.8*smt_t.latency@a100", None, "latency_ms", "a100", "b1 fp32 eager"),
    ],
)
def test_what_a_budget_is_of(devices, text, device, name, label, conditions):
    (limit,) = problem(text, device=device).constraints
    assert limit.target_metric.name == name
    assert limit.target_metric.target.place.label == label
    assert str(limit.target_metric.target.conditions) == conditions


@pytest.mark.parametrize(
    ("budgets", "device", "target"),
    [
        (("5ms@a100:b8:fp16",), None, "a100:b8:fp16"),
        (("9img/s@a100:b64", "5ms@a100:b8", "1GB@a100:b2"), None, "a100:b8:fp32"),
        (("5ms@a100:b8:fp16:graph", "10MMACs"), None, "a100:b8:fp16:graph"),
        (("5ms@a100:b8", "5ms@cpu"), None, "cpu:b1:fp32"),  # two devices: this machine's
        (("5ms@a100:b8", "5ms"), None, "cpu:b1:fp32"),  # the second is of this machine
        (("5ms@a100:b8",), "cpu", "cpu:b1:fp32"),
        (("1GB@a100:b8",), None, "cpu:b1:fp32"),
    ],
)
def test_the_device_of_a_budget_is_that_of_the_objective(devices, budgets, device, target):
    found = problem(*budgets, objectives=("macs", "latency_ms"), device=device)
    assert str(found.target) == str(found.objectives[1].target) == target
    again = problem(*budgets, objectives=("macs", "latency_ms"), device=str(found.default))
    assert again.target == found.target  # as a resumed search reads it


def test_a_cpu_has_no_graphs(devices):
    with pytest.raises(ConfigError, match="cpu: has no CUDA graphs"):
        problem("5ms@cpu:graph")


def test_values_are_the_device_s(devices):
    found = problem(
        "5ms", "5ms@a100:b2:fp16", "10img/s@a100:b2:fp16", "2GB@a100:b64:fp16", "1GB@a100"
    )
    values, c = found.values(GENES), costs.estimate(SPACE, GENES)
    ms = values["latency_ms@a100:b2:fp16"]
    assert ms == pytest.approx(0.1 + c.macs / 2e8 + c.activations / 9e6)
    assert values["throughput_ips@a100:b2:fp16"] == pytest.approx(2000 / ms)
    assert values["latency_ms"] == pytest.approx(0.05 + c.macs / 50e6 + c.activations / 5e6)
    bytes_fp16 = 2 * c.params + 64 * 2 * (c.peak_activation_mb * 1e6 / 4)
    assert values["peak_memory_mb@a100:b64:fp16"] == pytest.approx(bytes_fp16 / 1e6)
    assert values["peak_memory_mb@a100:b1:fp32"] == pytest.approx(c.peak_memory_mb)
    for name, (value, low, high) in found.predict(GENES).items():
        assert (low < value).all() and (value < high).all(), name


def test_a_share_of_a_preset_s_latency(devices):
    (limit,) = problem("0.8*smt_t.latency@a100").constraints
    smt_t = baselines.baselines(SPACE)["smt_t"]
    whole = float(devices["a100"].predict_arch(smt_t, Conditions()).ms[0])
    assert limit.high == pytest.approx(0.8 * whole)


def test_limits_are_judged_together(devices):
    found = problem("10MMACs", "0.3ms", "6500img/s@a100:b1:fp32")
    values = found.values(GENES)
    by_hand = (values["macs"] <= 10e6) & (values["latency_ms"] <= 0.3)
    by_hand &= values["throughput_ips@a100:b1:fp32"] >= 6500
    assert (found.feasible(GENES) == by_hand).all()
    assert ((found.total_violation(values) == 0) == by_hand).all()


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"budgets": ("5ms@a1000",)}, ConfigError, r"budget '5ms@a1000': .*\(got 'a1000'\)"),
        ({"budgets": ("5ms@a1000",)}, ConfigError, "Did you mean .*a100"),
        ({"device": "a1000"}, UnknownName, r"must be one that is known.*\(got 'a1000'\)"),
        ({"device": "gpu"}, MeasurementError, "no NVIDIA driver"),
        ({"device": "a100:b0"}, ConfigError, "--device a100:b0: the batch must be"),
        ({"device": "a100:bf16"}, ConfigError, "cannot compute in bf16. It can: fp32, fp16"),
        ({"budgets": ("5ms@a100:tf32",)}, ConfigError, "It can: fp32, fp16, amp-fp16"),
        (
            {"budgets": ("1e9img/s@a100:b1",)},
            ConfigError,
            r"can be met: at least [78]\d\d\d img",
        ),
        ({"objectives": ("latency", "latency_ms")}, ConfigError, "each one once"),
    ],
)
def test_refusals(devices, tmp_path, asked, error, told):
    with pytest.raises(error, match=told) as caught:
        begin(tmp_path / "r", **asked)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "r").exists()


def test_the_nearest_that_can_be_met_can_be_met(devices, tmp_path):
    with pytest.raises(ConfigError) as caught:
        begin(tmp_path / "r", budgets=("0.001ms@a100",))
    nearest = str(caught.value).split("can be met: ")[1].split()[0]
    assert len(begin(tmp_path / "r", budgets=(f"{nearest}ms@a100",), n=1).run().trials) == 1


def test_a_search_by_latency_meets_its_budget(devices, tmp_path):
    outcome = begin(tmp_path / "r", n=40, budgets=("10MMACs", "0.3ms", "0.08ms@a100:fp16")).run()
    assert [q.name for q in outcome.problem.objectives] == ["score", "latency_ms", "macs", "params"]
    assert outcome.finished and len(outcome.front) > 3
    for r in outcome.front:
        assert r.values["latency_ms"] <= 0.3
        assert r.values["latency_ms@a100:b1:fp16"] <= 0.08
        assert r.provenance["latency_ms"] == "predicted" and r.measured == {}
        low, high = r.intervals["latency_ms"]
        assert (low, high) == pytest.approx(
            (0.8 * r.values["latency_ms"], 1.2 * r.values["latency_ms"])
        )
    points = [
        (-r.values["score"], *(r.values[n] for n in ("latency_ms", "macs", "params")))
        for r in outcome.front
    ]
    for p in points:
        assert not any(all(a <= b for a, b in zip(q, p, strict=True)) and q != p for q in points)


def test_the_front_is_measured_where_its_device_is(devices, stopwatch, tmp_path):
    outcome = begin(tmp_path / "r", verify=True, budgets=("0.3ms",)).run()
    assert outcome.finished
    timed = [name for name, *_ in stopwatch]
    assert sorted(timed) == sorted([r.name for r in (*outcome.front, *outcome.baselines)])
    assert {(t, str(c)) for _, t, c in stopwatch} == {("cpu:b1:fp32", "b1 fp32 eager 1 thread")}
    broken = [r for r in outcome.front if r.measured["latency_ms"].value > 0.3]
    assert broken and [r for r in outcome.front if r.violations] == broken
    assert broken[0].violations == ("latency_ms <= 0.3",)
    error = outcome.prediction_errors["latency_ms"]
    off = [abs(r.values["latency_ms"] / r.measured["latency_ms"].value - 1) for r in outcome.front]
    assert error.mape == pytest.approx(np.mean(off))
    assert error.within_10 == np.mean([x <= 0.1 for x in off])
    assert error.covered == np.mean([x < 1 - 1 / 1.25 for x in off])
    assert error.n == len(outcome.front) and 0 < error.kendall <= error.spearman <= 1
    notes = "\n".join(front_notes(outcome, False))
    assert f"! Not met by measurement, {len(broken)} of {len(outcome.front)} networks: " in notes
    assert f"MAPE {error.mape:.1%}" in notes
    assert "Spearman" in "\n".join(front_notes(outcome, False, evidence=True))
    first = next(r for r in outcome.front if not r.violations)
    assert notes.partition("\n")[0].endswith(f"front/{first.name}.yaml")
    assert sum(line.count("!") for line in table(outcome)) == len(broken) + sum(
        bool(b.violations) for b in outcome.baselines
    )


def table(outcome):
    console = Console(width=80)
    with console.capture() as captured:
        console.print(front_table(outcome, True))
    lines = captured.get().splitlines()
    assert "…" not in captured.get() and max(map(len, lines)) <= 80
    return lines


def test_predicted_and_measured_stand_side_by_side(devices, stopwatch, tmp_path):
    budgets = ("0.08ms@a100:b1:fp16",)
    outcome = begin(tmp_path / "r", verify=True, budgets=budgets, device="cpu").run()
    heads = [
        [cell.strip() for cell in line.split("┃")] for line in table(outcome)[1:5] if "┃" in line
    ]
    columns = list(zip(*heads, strict=True))
    at = [i for i, words in enumerate(columns) if words[0] == "latency_ms"]
    assert [columns[i] for i in at] == [
        ("latency_ms", "cpu", "predicted"),
        ("latency_ms", "cpu", "measured"),
        ("latency_ms", "a100", "predicted"),
    ]
    notes = "\n".join(front_notes(outcome, False, evidence=True))
    assert "no a100 is here, so it is not measured" in notes
    high = [r.intervals["latency_ms@a100:b1:fp16"][1] for r in outcome.front]
    unsure = sum(x > 0.08 for x in high)
    assert unsure > 0
    assert (
        f"by prediction only, at most 0.08 ms on a100 (b1 fp16): {unsure} of {len(high)} networks"
        in ("\n".join(front_notes(outcome, False)).lower())
    )
    document = as_document(outcome)
    assert document["schema"] == 2
    member = document["front"][0]
    assert set(member["measured"]) == {"latency_ms"}
    assert member["intervals"]["latency_ms@a100:b1:fp16"]["high"] == high[0]
    assert document["targets"]["latency_ms"]["target"]["place"]["here"] == "cpu"
    assert document["targets"]["latency_ms@a100:b1:fp16"]["target"]["place"]["here"] is None
    assert set(document["prediction_error"]) == {"latency_ms"}
    with (tmp_path / "r" / "front.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert row["latency_ms_from"] == "predicted"
    assert float(row["latency_ms_low"]) < float(row["latency_ms"]) < float(row["latency_ms_high"])
    assert float(row["latency_ms_measured"]) > float(row["latency_ms"])
    assert row["latency_ms_status"] == "ok"
    assert "latency_ms@a100:b1:fp16_high" in row
    assert "latency_ms@a100:b1:fp16_measured" not in row


def test_an_absent_device_is_never_measured(devices, stopwatch, tmp_path):
    asked = {"objectives": ("score", "latency"), "device": "a100"}
    outcome = begin(tmp_path / "r", verify=True, n=8, **asked).run()
    assert outcome.finished and stopwatch == []
    assert all(r.op_counts and r.measured == {} for r in outcome.front)
    assert outcome.prediction_errors == {}
    assert "measured" not in "\n".join(table(outcome))


def test_a_device_of_this_machine_by_its_name(devices, stopwatch, tmp_path, monkeypatch):
    monkeypatch.setitem(fakes.PRESENT, "a100", "cuda:0")
    outcome = begin(tmp_path / "r", verify=True, n=4, device="a100:b8:fp16").run()
    assert {t for _, t, _ in stopwatch} == {"a100:b8:fp16"}
    assert outcome.problem.target.place.here == "cuda:0"
    assert all(set(r.measured) == {"latency_ms"} for r in outcome.front)


def test_the_local_gpu_comes_before_the_cpu(monkeypatch):
    fakes.install(monkeypatch, gpu=True)
    found = problem("5ms", "5ms@cpu", "100img/s")
    assert [x.target_metric.name for x in found.constraints] == [
        "latency_ms",
        "latency_ms@cpu:b1:fp32",
        "throughput_ips",
    ]
    assert [(str(t), t.place.here) for t in found.local_targets] == [
        ("gpu:b1:fp32", "cuda:0"),
        ("cpu:b1:fp32", "cpu"),
        ("gpu:b64:fp32", "cuda:0"),
    ]


def test_what_cannot_be_timed_is_said_and_spares_the_others(
    devices, stopwatch, tmp_path, monkeypatch
):
    true = verify.measure_group

    def measure_group(group, reference, target):
        if any(r.name == "0" for r in group):
            raise MeasurementError("0: needs more memory than there is.")
        return true(group, reference, target)

    monkeypatch.setattr(verify, "measure_group", measure_group)
    outcome = begin(tmp_path / "r", verify=True).run()
    assert outcome.finished
    assert [r.name for r in outcome.front if not r.measured] == ["0"]
    assert "Not timed: 1 network, e.g. 0: needs more" in "\n".join(front_notes(outcome, False))


def test_stopped_and_resumed_gives_the_same(devices, tmp_path):
    budgets = ("10MMACs", "0.12ms@a100:b1:fp16")
    begin(tmp_path / "whole", n=36, budgets=budgets).run()
    begin(tmp_path / "cut", n=33, budgets=budgets).run()
    assert again(tmp_path / "cut", n=36).run().finished
    texts = [(tmp_path / name / "front.csv").read_text() for name in ("whole", "cut")]
    assert texts[0] == texts[1]
    kept = yaml.safe_load((tmp_path / "cut" / "run.yaml").read_text())["targets"]
    assert [r["target"]["place"]["device"] for r in kept] == ["fake_a100"]
    assert kept[0]["target"]["conditions"]["precision"] == "fp16"


def test_another_table_is_another_search(devices, tmp_path):
    begin(tmp_path / "r", n=4).run()
    shown = resume_search(tmp_path / "r", read_only=True).outcome()
    devices["cpu"].macs_per_ms *= 1.01
    with pytest.raises(StoreError, match=r"predicted for cpu \(b1 fp32\) has changed since"):
        again(tmp_path / "r", n=8)
    calls = devices["cpu"].calls
    still = resume_search(tmp_path / "r", read_only=True).outcome()  # reading asks no device
    assert devices["cpu"].calls == calls
    assert [r.values for r in still.front] == [r.values for r in shown.front]


def test_another_machine_is_told(devices, tmp_path):
    begin(tmp_path / "r", n=4).run()
    devices["cpu"].sheet = fakes.sheet("other", "cpu")
    with pytest.raises(StoreError, match="is of Fake CPU fake_cpu \\(got Fake CPU other\\)"):
        again(tmp_path / "r", n=8)
    begin(tmp_path / "t", n=4, objectives=("score", "macs")).run()
    devices["cpu"].sheet = fakes.sheet("third", "cpu")
    assert again(tmp_path / "t", n=8).run().finished  # nothing in it is of a device


def test_a_run_from_before_devices_opens_and_goes_on(devices, stopwatch, tmp_path):
    """As 0.1.0 left it: no device, no targets, latencies kept under the network's key alone."""
    path = tmp_path / "r"
    search = begin(path, n=8, objectives=("score", "macs", "params"), verify=True)
    old = yaml.safe_load((path / "run.yaml").read_text())
    del old["targets"], old["settings"]["device"]
    (path / "run.yaml").write_text(yaml.safe_dump(old))
    outcome = again(path).run()
    assert outcome.finished and all("latency_ms" in r.measured for r in outcome.front)
    stored = again(path).study.optuna.user_attrs
    assert f"latency:{outcome.front[0].arch.key}" in stored
    assert resume_search(path, read_only=True).outcome().front == outcome.front
    assert search.problem.target_records != again(path).problem.target_records


def test_presets_that_no_table_knows_are_told_apart(devices, tmp_path):
    devices["cpu"].basis = "table"
    outcome = begin(tmp_path / "r", n=2).run()
    notes = "\n".join(front_notes(outcome, False, evidence=True))
    assert "predicted from blocks measured on it (Fake CPU fake_cpu)" in notes
    apart = "smt_t, smt_s, smt_b, smt_l: outside the space, so predicted from its data sheet."
    assert apart in notes
    devices["cpu"].basis = "sheet"
    with pytest.raises(StoreError, match=r"of a table, now .* of a sheet"):
        again(tmp_path / "r", n=3)


def test_formulas_alone_ask_no_device_for_predictions(devices, tmp_path):
    begin(tmp_path / "r", n=4, objectives=("macs", "params"), budgets=("2GB@a100:b8",)).run()
    assert [d.calls for d in devices.values()] == [0, 0, 0]
