"""`profile` and `compare`: labelled figures, files, partial results, and one line for bad input."""

import csv
import json
import os
import textwrap
from functools import partial

import numpy as np
import pytest

from smt_nas import SearchSpace
from smt_nas.errors import MeasurementError
from smt_nas.metrics import METRICS
from smt_nas.profilers import profile as profiling
from smt_nas.profilers.latency import sampling
from smt_nas.profilers.reading import Reading
from smt_nas.profilers.throughput import Point, Sweep
from tests.fakes.terminal import invoke, printed
from tests.fakes.weights import TINY as TINY_SMT

TINY = """
import torch
from torch import nn

def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 56 * 56, 2))

def same():
    return small()

def in_a_dict():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 4)
        def forward(self, x):
            return {"maps": (self.conv(x),)}
    return Net()

def breaks():
    raise RuntimeError("no weights")

def no_module():
    return 7

def too_large():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3, 4)
        def forward(self, x):
            if x.shape[0] > 1:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return self.conv(x)
    return Net()
"""
QUICK = ("--seconds", "0.1", "--threads", "1")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working directory with networks of its own, which are not warmed up for long."""
    monkeypatch.setattr(sampling, "Limits", partial(sampling.Limits, warmup_s=0, min_s=0))
    TINY_SMT.save(tmp_path / "tiny.yaml")
    (tmp_path / "tiny_nets.py").write_text(textwrap.dedent(TINY))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def complaint(*words):
    lines = invoke("profile", *words, code=1).stderr.splitlines()
    return next(line for line in lines if line.startswith("error: "))


def test_an_absent_device_is_predicted_and_labelled(here):
    text = invoke("profile", "tiny.yaml", "--gpu", "a100", "--batch", "1,64").stdout
    assert "not measured" in text and "predicted, " in text and "80 % interval" in text
    found = json.loads(invoke("profile", "tiny.yaml", "--gpu", "a100", "--json").stdout)
    assert found["schema"] == 2 and found["device"]["where"] is None
    assert found["device"]["key"] == "a100_80_sxm"
    row, graph = found["rows"]
    assert (row["conditions"]["mode"], graph["conditions"]["mode"]) == ("eager", "graph")
    latency = row["figures"]["latency_ms"]
    assert latency["provenance"] == "predicted" and latency["basis"] in ("sheet", "anchored")
    assert latency["low"] < latency["value"] < latency["high"]
    assert row["measurement"] is None
    assert row["figures"]["energy_mj"]["value"] is None


def test_where_the_host_binds_a_graph_stands_beside_it(here):
    text = " ".join(invoke("profile", "tiny.yaml", "--gpu", "h100").stdout.split())
    assert "Bound by the host" in text and "as a CUDA graph (--form graph)" in text
    words = ("profile", "tiny.yaml", "smt_micro", "--gpu", "h100", "--json")
    found = json.loads(invoke(*words).stdout)["rows"]
    bound = {(r["network"], r["conditions"]["mode"]): r["figures"]["latency_ms"] for r in found}
    assert len(bound) == 4
    for network in {name for name, _ in bound}:
        eager, graph = bound[network, "eager"], bound[network, "graph"]
        assert (eager["bound"], graph["bound"]) == ("host", "device")
        assert graph["high"] < eager["value"]


def test_where_the_device_binds_nothing_stands_beside_it(here):
    words = ("profile", "smt_t", "--gpu", "h100", "--batch", "256", "--json")
    (row,) = json.loads(invoke(*words).stdout)["rows"]
    assert row["figures"]["latency_ms"]["bound"] == "device"


def test_predicted_batches_are_a_curve_with_a_knee(here):
    found = json.loads(
        invoke("profile", "tiny.yaml", "--gpu", "h100", "--batch", "auto", "--json").stdout
    )
    batches = [row["conditions"]["batch"] for row in found["rows"]]
    speeds = [row["figures"]["throughput_ips"]["value"] for row in found["rows"]]
    assert batches == list(profiling.PREDICTED_BATCHES)
    knee = found["sweeps"][0]["knee"]
    assert speeds[batches.index(knee)] >= 0.95 * max(speeds)
    assert all(s < 0.95 * max(speeds) for s in speeds[: batches.index(knee)])


def test_measured_here_with_samples_and_environment(here):
    words = ("profile", "tiny_nets:small", *QUICK, "--batch", "1,2")
    found = json.loads(invoke(*words, "--json", "--csv", "out.csv").stdout)
    assert found["device"]["where"] == "cpu"
    assert {"torch", "date"} <= set(found["environment"])
    for row, batch in zip(found["rows"], (1, 2), strict=True):
        m, latency = row["measurement"], row["figures"]["latency_ms"]
        assert row["conditions"]["batch"] == batch and row["conditions"]["threads"] == 1
        assert latency["provenance"] == "measured"
        assert latency["value"] == m["wall"]["median_ms"] > 0
        assert len(m["wall_ms"]) == m["wall"]["n"]
        assert row["figures"]["throughput_ips"]["value"] == pytest.approx(
            batch * 1e3 / latency["value"]
        )
        for name, figure in row["figures"].items():
            assert name in METRICS and figure["status"]
            assert (figure["value"] is None) <= (figure["reason"] is not None)
    rows = list(csv.DictReader((here / "out.csv").read_text().splitlines()))
    assert [r["batch"] for r in rows] == ["1", "2"]
    assert all(r["latency_ms_from"] == "measured" and float(r["latency_ms"]) > 0 for r in rows)


def test_several_networks_are_compared_interleaved(here):
    words = ("profile", "tiny_nets:small", "tiny_nets:same", "tiny_nets:in_a_dict", *QUICK)
    found = json.loads(invoke(*words, "--json").stdout)
    assert [c["other"] for c in found["comparisons"]] == ["tiny_nets:same", "tiny_nets:in_a_dict"]
    assert {c["word"] for c in found["comparisons"]} <= {"FASTER", "SLOWER", "SAME", "UNCLEAR"}
    starts = {row["measurement"]["started"] for row in found["rows"]}
    assert len(starts) == 1  # one run
    text = invoke(*words[:3], *QUICK).stdout
    assert "verdict" in text and "1.00x" in text


def test_saved_profiles_are_compared_elsewhere(here):
    for name in ("a.json", "b.json"):
        (here / name).write_text(invoke("profile", "tiny_nets:small", *QUICK, "--json").stdout)
    text = invoke("compare", "a.json", "b.json").stdout
    assert "second is" in text and "Two runs" in text
    found = json.loads(invoke("compare", "a.json", "b.json", "--json").stdout)
    assert found["pairs"][0]["word"] in ("FASTER", "SLOWER", "SAME", "UNCLEAR")
    slow = json.loads((here / "b.json").read_text())
    m = slow["rows"][0]["measurement"]
    m |= {"wall_ms": [10.0, 10.2, 10.1] * 10, "status": "ok", "per_round": 1}
    fast = json.loads((here / "a.json").read_text())
    fast["rows"][0]["measurement"] |= m | {"wall_ms": [1.0, 1.02, 1.01] * 10}
    (here / "a.json").write_text(json.dumps(fast))
    (here / "b.json").write_text(json.dumps(slow))
    found = json.loads(invoke("compare", "a.json", "b.json", "--json").stdout)
    assert found["pairs"][0]["word"] == "SLOWER"


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (None, "cannot be read"),
        ("{", "is not JSON"),
        ("[]", "must be what `smt-nas profile --json` writes"),
        ('{"kind": "profile", "schema": 1}', "schema must be 2"),
        ('{"kind": "profile", "schema": 2}', "is damaged"),
        (
            '{"kind": "profile", "schema": 2, "rows": [], "device": {"name": "x"}, '
            '"environment": {}}',
            "holds no measurement",
        ),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path, content, rule):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    result = invoke("compare", path, path, code=1)
    (line,) = result.stderr.splitlines()
    assert rule in line


def test_the_page_is_whole_and_offline(here):
    invoke("profile", "tiny.yaml", "--gpu", "a100", "--batch", "1,8", "--html", "page.html")
    text = (here / "page.html").read_text()
    assert "Roofline of tiny" in text and "Batch curve" in text and "Plotly.react" in text
    assert "<script src=" not in text and "</html>" in text


@pytest.mark.parametrize("by", ["stage", "block", "op"])
def test_the_breakdown_adds_up(here, by):
    words = ("profile", "tiny.yaml", "--gpu", "a100", "--batch", "64", "--by", by, "--json")
    found = json.loads(invoke(*words).stdout)
    (b,) = found["breakdowns"]
    assert sum(p["ms"] for p in b["pieces"]) == pytest.approx(
        found["rows"][0]["figures"]["latency_ms"]["value"], rel=1e-6
    )
    assert sum(p["macs"] for p in b["pieces"]) == 64 * found["networks"][0]["values"]["macs"]
    assert {p["bound"] for p in b["pieces"]} <= {"compute", "memory", "launch", "host"}


def test_operators_measured_here_are_most_of_the_latency(here):
    words = ("profile", "tiny.yaml", *QUICK, "--by", "op", "--json")
    found = json.loads(invoke(*words).stdout)
    (b,) = found["breakdowns"]
    assert b["provenance"] == "measured"
    spent = {p["name"]: p["ms"] for p in b["pieces"]}
    assert {"linear", "depthwise", "attention", "norm"} <= set(spent)
    assert all(ms > 0 for ms in spent.values())


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        (("tiny.yaml", "--gpu", "a1000"), "Did you mean a100_80_sxm, "),
        (("tiny.yaml", "--batch", "0"), "--batch"),
        (("tiny.yaml", "--batch", "x"), "--batch"),
        (("tiny.yaml", "--image-size", "7"), "pixels"),
        (("smt_x",), "No preset named 'smt_x'"),
        (("tiny.yaml", "tiny.yaml"), "must be named once"),
        (("tiny.yaml", "--precision", "fp23"), "precision"),
        (("tiny.yaml", "--form", "fast"), "mode"),
        (("tiny.yaml", "--threads", "0"), "--threads"),
        (("tiny.yaml", "--threads", "99999"), "--threads"),
        (("tiny.yaml", "--seconds", "0"), "--seconds"),
        (("tiny.yaml", "--seconds", "nan"), "--seconds"),
        (("tiny.yaml", "--html", "/nowhere/page.html"), "--html"),
        (("tiny.yaml", "--csv", "."), "--csv"),
        (("tiny.yaml", "--precision", "tf32"), "TF32"),
        (("tiny.yaml", "--form", "graph"), "graph"),
        (("tiny.yaml", "--gpu", "v100", "--precision", "bf16"), "bf16"),
        (("tiny.yaml", "--gpu", "a100", "--train"), "training"),
        (("tiny_nets:breaks",), "no weights"),
        (("tiny_nets:no_module",), "nn.Module"),
        (("tiny_nets:absent",), "tiny_nets:absent"),
        (("timm:convnext_tinny",), "Did you mean"),
    ],
)
def test_bad_input_is_one_line(here, words, rule):
    line = complaint(*words)
    assert rule in line and "Traceback" not in line


@pytest.mark.skipif(os.path.exists("/proc/driver/nvidia"), reason="this machine has a driver")
def test_a_gpu_that_is_not_here_is_one_line():
    assert "cuda:0" in complaint("smt_micro", "--gpu", "cuda:0")


def test_what_was_measured_before_a_failure_is_kept(here):
    words = ("profile", "tiny_nets:too_large", *QUICK, "--batch", "1,2", "--json")
    result = invoke(*words, code=1)
    first, second = json.loads(result.stdout)["rows"]
    assert first["figures"]["latency_ms"]["value"] > 0 and first["failure"] is None
    assert second["failure"] and "memory" in second["failure"]
    assert second["failure"] in result.stderr


def test_one_failing_network_leaves_the_others(here):
    words = ("profile", "tiny_nets:small", "tiny_nets:too_large", *QUICK, "--batch", "2", "--json")
    rows = {r["network"]: r for r in json.loads(invoke(*words, code=1).stdout)["rows"]}
    assert rows["tiny_nets:small"]["figures"]["latency_ms"]["value"] > 0
    assert rows["tiny_nets:too_large"]["failure"]


def test_ctrl_c_shows_what_is_there(here, monkeypatch):
    measure, calls = profiling.interleave, []

    def interrupted(ready, limits):
        calls.append(ready)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return measure(ready, limits)

    monkeypatch.setattr(profiling, "interleave", interrupted)
    words = ("profile", "tiny_nets:small", *QUICK, "--batch", "1,2", "--json")
    found = json.loads(invoke(*words, code=130).stdout)
    assert found["interrupted"] and len(found["rows"]) == 1


def test_a_gpu_lost_midway_is_a_row_with_its_reason(here, monkeypatch):
    def lost(ready, limits):
        raise MeasurementError("cuda:0: fell off the bus.")

    monkeypatch.setattr(profiling, "interleave", lost)
    result = invoke("profile", "tiny_nets:small", *QUICK, code=1)
    assert "fell off the bus" in result.stderr


def test_figures_fit_80_columns(here, monkeypatch):
    from smt_nas.profilers.latency.sampling import Limits
    from smt_nas.profilers.network_loader import load_network
    from smt_nas.report.profile.readings import reading_table

    device, where = profiling.resolve_target("cpu")
    cases = tuple(profiling.Conditions(batch=b, threads=t) for b, t in ((1, 1), (1, None), (8, 1)))
    request = profiling.Request(cases, Limits(seconds=0.1, warmup_s=0, min_s=0))
    found = profiling.profile([load_network("tiny_nets:small")], device, where, request)
    lines = printed(reading_table(found)).splitlines()
    assert len(lines) == 3 + len(cases)


def swept(batches, failure=None, largest=4):
    """A sweep that tells its points as a real one does."""

    def sweep(network, conditions, asked, device, *, auto, on_point):
        points = [
            Point(b, Reading(None if b > 4 else 10.0 * b, "measured", reason="no room"))
            for b in batches
        ]
        for point in points:
            on_point(point)
        return Sweep(network.name, device, conditions, tuple(points), largest, "why", failure)

    return sweep


def test_where_memory_ends_the_curve_ends_and_nothing_failed(here, monkeypatch):
    monkeypatch.setattr(profiling, "sweep", swept((1, 2, 4, 8)))
    words = ("profile", "tiny_nets:small", "--threads", "1", "--batch", "auto", "--json")
    found = json.loads(invoke(*words).stdout)
    assert [r["conditions"]["batch"] for r in found["rows"]] == [1, 2, 4]
    assert found["sweeps"][0]["knee"] == 4 and found["sweeps"][0]["largest"] == 4


def test_a_gpu_lost_in_a_sweep_is_told_and_its_points_stay(here, monkeypatch):
    monkeypatch.setattr(profiling, "sweep", swept((1, 2), failure="fell off the bus"))
    words = ("profile", "tiny_nets:small", "--threads", "1", "--batch", "auto", "--json")
    result = invoke(*words, code=1)
    rows = json.loads(result.stdout)["rows"]
    assert [r["figures"]["throughput_ips"]["value"] for r in rows[:2]] == [10.0, 20.0]
    assert "fell off the bus" in result.stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt, MeasurementError("not even batch 1")])
def test_a_sweep_that_ends_early_keeps_what_came_before(here, monkeypatch, error):
    def sweep(network, conditions, asked, device, *, auto, on_point):
        on_point(Point(1, Reading(10.0, "measured")))
        raise error

    monkeypatch.setattr(profiling, "sweep", sweep)
    words = ("profile", "tiny_nets:small", *QUICK, "--batch", "2,auto", "--json")
    result = invoke(*words, code=130 if error is KeyboardInterrupt else 1)
    values = [r["figures"] for r in json.loads(result.stdout)["rows"]]
    assert values[0]["latency_ms"]["value"] > 0
    assert values[1]["throughput_ips"]["value"] == 10.0


def test_a_damaged_table_costs_the_prediction_and_not_the_measurement(here):
    from smt_nas.devices.registry import local_sheet

    key = local_sheet("cpu").key
    (here / "profiles").mkdir()
    for end in ("csv", "json"):
        (here / f"profiles/{key}.smt_micro.{end}").write_text("nonsense")
    small = next(iter(SearchSpace.load("smt_micro").decode(np.zeros((1, 33), dtype=int))))
    small.save(here / "small.yaml")
    found = json.loads(invoke("profile", "small.yaml", *QUICK, "--json").stdout)
    (row,) = found["rows"]
    assert row["figures"]["latency_ms"]["value"] > 0
    assert row["predicted"]["value"] is None and "smt_micro" in row["predicted"]["reason"]


def test_what_a_sheet_warns_of_is_told_once(here):
    text = " ".join(invoke("profile", "tiny.yaml", "--gpu", "orin-nano").stdout.split())
    assert text.count("never checked against a measurement") == 1
    assert "NVIDIA Jetson Orin Nano 8 GB: never checked" in text


def test_where_no_figure_can_be_told_there_is_no_empty_table(here):
    result = invoke("profile", "tiny.yaml", "--gpu", "v100", "--precision", "bf16", code=1)
    text = " ".join(result.output.split())
    assert "cannot compute in bf16 (it can: fp32, fp16)" in text
    assert "Predicted for" not in text and "80 % interval" not in text
