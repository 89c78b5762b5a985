"""Deployed files by their runtimes: shapes, refusals in a line, what is not installed."""

import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from smt_nas.errors import MeasurementError
from smt_nas.runtime.backends import find_backend, load_graph

ROOT = Path(__file__).parents[3]


class Mean(nn.Module):
    def forward(self, x):
        return x.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("pt2") / "mean.pt2"
    batch = {0: torch.export.Dim("batch", min=1, max=64)}
    images = torch.zeros(2, 3, 8, 8)
    torch.export.save(torch.export.export(Mean(), (images,), dynamic_shapes=(batch,)), path)
    return path


def write_onnx(path, inputs, batch="n"):
    onnx = pytest.importorskip("onnx", reason="pip install 'smt-nas[onnx]'")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    given = [helper.make_tensor_value_info(n, kind, [batch, 3, 8, 8]) for n in inputs]
    out = helper.make_tensor_value_info("logits", kind, [batch, 3, 1, 1])
    node = helper.make_node("GlobalAveragePool", [inputs[0]], ["logits"])
    graph = helper.make_graph([node], "mean", given, [out])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


def images(batch):
    return np.random.default_rng(0).standard_normal((batch, 3, 8, 8), np.float32)


def test_a_program_of_torch(program):
    graph = load_graph(program)
    assert graph.shape == (None, 3, 8, 8) and graph.describe().startswith("torch.export")
    for batch in (1, 3):
        given = images(batch)
        np.testing.assert_allclose(graph.run(given), given.mean((2, 3)), atol=1e-6)
    with pytest.raises(MeasurementError, match="anyx3x8x8"):
        graph.run(np.zeros((1, 3, 9, 8), np.float32))


def test_a_program_with_pickled_constants_is_refused(program, tmp_path):
    path = tmp_path / "more.pt2"
    shutil.copy(program, path)
    with zipfile.ZipFile(path, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/data/constants/opaque_obj_0", pickle.dumps({"a": 1}))
    with pytest.raises(
        MeasurementError, match=r"tensors alone .got \S+opaque_obj_0, which is pick"
    ):
        load_graph(path)


def test_torch_is_told_to_load_tensors_alone_while_a_program_is_loaded(program, monkeypatch):
    switch, seen, load = "TORCH_FORCE_WEIGHTS_ONLY_LOAD", [], torch.export.load
    monkeypatch.delenv(switch, raising=False)

    def watch(path):
        seen.append(os.environ.get(switch))
        return load(path)

    monkeypatch.setattr(torch.export, "load", watch)
    load_graph(program)
    assert seen == ["1"] and switch not in os.environ


def test_an_onnx_file(tmp_path):
    pytest.importorskip("onnxruntime", reason="pip install 'smt-nas[onnx]'")
    graph = load_graph(write_onnx(tmp_path / "mean.onnx", ["images"]), threads=1)
    assert graph.shape == (None, 3, 8, 8) and graph.backend == "onnxruntime"
    given = images(3)
    np.testing.assert_allclose(graph.run(given)[:, :, 0, 0], given.mean((2, 3)), atol=1e-6)
    fixed = load_graph(write_onnx(tmp_path / "fixed.onnx", ["images"], batch=2))
    with pytest.raises(MeasurementError, match="2x3x8x8"):
        fixed.run(images(1))
    with pytest.raises(MeasurementError, match="one input"):
        load_graph(write_onnx(tmp_path / "two.onnx", ["images", "mask"]))


def test_openvino_says_what_it_computes_in(tmp_path):
    openvino = pytest.importorskip("openvino", reason="pip install 'smt-nas[openvino]'")
    model = openvino.convert_model(write_onnx(tmp_path / "mean.onnx", ["images"]))
    openvino.save_model(model, tmp_path / "ov" / "mean.xml", compress_to_fp16=False)
    graph = load_graph(tmp_path / "ov", threads=1, precision="fp32")
    assert (graph.backend, graph.computes, graph.shape) == ("openvino", "f32", (None, 3, 8, 8))
    given = images(2)
    np.testing.assert_allclose(graph.run(given)[:, :, 0, 0], given.mean((2, 3)), atol=1e-6)


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_damaged_and_absent_files_are_one_line(tmp_path, suffix):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime", reason="pip install 'smt-nas[onnx]'")
    path = tmp_path / f"x{suffix}"
    with pytest.raises(MeasurementError, match="no such file"):
        load_graph(path)
    path.write_bytes(b"neither")
    with pytest.raises(MeasurementError) as caught:
        load_graph(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_precision_that_a_file_cannot_be_told(program):
    with pytest.raises(MeasurementError, match="--precision must be fp32"):
        load_graph(program, precision="bf16")


@pytest.mark.parametrize(
    ("suffix", "extra"), [(".onnx", "onnx"), (".pte", "executorch"), (".tflite", "litert")]
)
def test_a_runtime_that_is_not_installed_is_named(tmp_path, monkeypatch, suffix, extra):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", absent)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(b"x")
    with pytest.raises(MeasurementError, match=rf"pip install 'smt-nas\[{extra}\]'"):
        load_graph(path)


def test_other_paths_have_no_backend(tmp_path):
    assert find_backend(tmp_path) is None and find_backend(tmp_path / "net.yaml") is None
    with pytest.raises(MeasurementError, match=r"\.onnx"):
        load_graph(tmp_path / "net.yaml")


_CTRL_C = """
import signal, sys
from pathlib import Path
from smt_nas.runtime.backends import load_graph

signal.signal(signal.SIGINT, signal.default_int_handler)
first, second = (load_graph(Path(path)) for path in sys.argv[1:])
del first, second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("heard")
"""


def test_ctrl_c_is_heard_after_models_of_openvino_are_gone(tmp_path):
    """In a process of its own, which it could end."""
    openvino = pytest.importorskip("openvino", reason="pip install 'smt-nas[openvino]'")
    paths = [tmp_path / "a.xml", tmp_path / "b.xml"]
    for path in paths:
        x = openvino.opset13.parameter([1, 3, 8, 8], np.float32)
        openvino.save_model(openvino.Model([openvino.opset13.relu(x)], [x]), path)
    words = [sys.executable, "-c", _CTRL_C, *map(str, paths)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
