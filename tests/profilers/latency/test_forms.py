"""Forms of a network that a user deploys: run, timed and calibrated as any other condition."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import nn

from smt_nas.arch import preset
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import decompose
from smt_nas.errors import ConfigError, MeasurementError
from smt_nas.models import SMT, build
from smt_nas.models.fused import FusedSMT
from smt_nas.profilers.calibration.calibrate import run
from smt_nas.profilers.calibration.schedule import Plan
from smt_nas.profilers.calibration.timer import TorchPartTimer
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.network_loader import Network, network_of
from smt_nas.runtime.backends.deploy import LOADERS, deploy
from smt_nas.runtime.host import available_cores
from smt_nas.search.problem.objectives import Devices
from smt_nas.search.problem.problem import Problem
from smt_nas.space import SearchSpace
from tests.fakes.part_timer import SHEET, SMALL, FakePartTimer

MICRO = SearchSpace.load("smt_micro")
ARCH = MICRO.decode(MICRO.sample(np.random.default_rng(0), 1))[0]
_WRITER = ("onnx", "onnxscript")
RUNTIMES = {"onnx": (*_WRITER, "onnxruntime"), "openvino": (*_WRITER, "openvino")}


def needs(mode):
    absent = [name for name in RUNTIMES.get(mode, ()) if importlib.util.find_spec(name) is None]
    return pytest.param(mode, marks=pytest.mark.skipif(bool(absent), reason=f"needs {absent}"))


FORMS = [needs(mode) for mode in ("fused", "onnx", "openvino")]


def conditions(mode, **changes):
    return Conditions(mode=mode, threads=1, **changes)


def plain_network(module, size=32):
    return Network("mine", "", None, size, 3, lambda: module)


@pytest.mark.parametrize("mode", FORMS)
def test_a_form_computes_what_the_network_computes(mode):
    network = network_of(ARCH, "micro")
    runnable = prepare(network, conditions(mode, batch=2), sets=1)
    (image,) = runnable._images
    with torch.inference_mode():
        expected = network.build()(image)
        logits = torch.as_tensor(runnable._step(image))
    runnable.close()
    assert torch.allclose(logits, expected, atol=1e-4 * float(expected.std() + 1))


@pytest.mark.parametrize("mode", FORMS)
def test_a_chain_of_parts_is_timed_in_the_form(mode):
    parts = tuple(decompose(ARCH))
    times = TorchPartTimer("cpu").chain(parts, conditions(mode))
    assert times.ms.shape == (len(parts),) and (times.ms > 0).all()


def test_an_smt_is_fused_and_another_network_is_not():
    fused = FusedSMT(ARCH, SMT(ARCH).eval().stages, nn.Identity())
    prepare(plain_network(fused), conditions("fused"), sets=1).close()
    with pytest.raises(MeasurementError, match="only an SMT has a fused form"):
        prepare(plain_network(nn.Flatten()), conditions("fused"), sets=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "onnx", "precision": "bf16"}, "onnx computes in fp32 here"),
        ({"mode": "openvino", "precision": "fp16"}, "openvino computes in fp32 or bf16 here"),
        ({"mode": "openvino", "train": True}, "a form for inference"),
        ({"mode": "fused", "train": True}, "a form for inference"),
    ],
)
def test_what_a_form_cannot_do_is_told(changes, said):
    with pytest.raises(MeasurementError, match=said):
        prepare(network_of(ARCH, "micro"), Conditions(**changes))


@pytest.mark.parametrize("mode", ["onnx", "openvino"])
def test_a_runtime_that_is_not_installed_is_told_with_the_way_out(monkeypatch, mode):
    real = importlib.import_module
    gone = RUNTIMES[mode][0]

    def import_module(name, *more):
        if name.partition(".")[0] == gone:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", import_module)
    with pytest.raises(MeasurementError, match=rf"{gone} must be installed .*smt-nas\[onnx\]"):
        prepare(network_of(ARCH, "micro"), conditions(mode), sets=1)


@pytest.mark.parametrize("threads", [None, 1])
def test_a_runtime_gets_as_many_threads_as_torch(monkeypatch, threads):
    monkeypatch.setattr("smt_nas.runtime.backends.deploy.write_onnx", lambda *_: None)
    monkeypatch.setitem(LOADERS, "onnx", lambda path, threads, precision: threads)
    image = torch.zeros(1, 3, 32, 32)
    given = deploy(nn.Flatten(), image, Conditions(mode="onnx", threads=threads))
    assert given == (threads or available_cores())


def test_a_budget_in_a_form_needs_a_measured_table():
    problem = Problem.of(MICRO, ["5ms@cpu:onnx"], ["score", "latency"])
    with pytest.raises(
        MeasurementError, match=r"not predicted .* calibrate --space SPACE --form onnx"
    ):
        problem.predict(MICRO.sample(np.random.default_rng(0), 1))
    with pytest.raises(ConfigError, match="onnx is run on CPUs here"):
        Problem.of(MICRO, ["5ms@a100:onnx"], ["score", "latency"])


def test_a_calibrated_form_is_predicted_and_presets_outside_are_not(tmp_path, monkeypatch):
    plan = Plan.of(SMALL, (conditions("onnx"), conditions("eager")), visits=2, seed=0)
    run(plan, SHEET, FakePartTimer(), 100.0, tmp_path / "profiles")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("smt_nas.devices.resolve.local_sheet", lambda device: SHEET)
    devices = Devices()
    ref = devices("cpu")
    assert ref.sheet == SHEET
    problem = Problem.of(SMALL, ["50ms@cpu:onnx"], ["score", "latency"])
    (metric,) = problem.predicted_metrics
    assert metric.name == "latency_ms" and metric.target.conditions.mode == "onnx"
    genes = SMALL.sample(np.random.default_rng(0), 5)
    assert (problem.predict(genes)["latency_ms"][0] > 0).all()
    assert problem.predict_preset("smt_t") == {}
    with pytest.raises(ConfigError, match="relative to smt_t: is not predicted there"):
        Problem.of(SMALL, ["0.9*smt_t.latency@cpu:onnx"], ["score", "latency"])


def test_presets_have_the_forms_too():
    with torch.inference_mode():
        assert isinstance(build(preset("smt_t"), device="meta").fused(), FusedSMT)
