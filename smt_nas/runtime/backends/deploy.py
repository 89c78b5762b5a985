"""From a module to what a runtime runs, with no file that stays: for timing, form by form."""

from __future__ import annotations

import tempfile
from pathlib import Path

from torch import Tensor, nn

from smt_nas.conditions import Conditions, Mode
from smt_nas.runtime.backends.loaded_graph import LoadedGraph
from smt_nas.runtime.backends.onnx_runtime import load_onnx
from smt_nas.runtime.backends.onnx_writer import write_onnx
from smt_nas.runtime.backends.openvino_runtime import load_openvino
from smt_nas.runtime.host import available_cores

LOADERS = {"onnx": load_onnx, "openvino": load_openvino}
"""By mode: both read ONNX files."""


def deploy(module: nn.Module, images: Tensor, conditions: Conditions) -> LoadedGraph:
    """Let a runtime run a module, for tensors of exactly this shape.

    Args:
        module: in eval mode, on the CPU, in fp32; takes one tensor and returns one.
        images: what it takes, (B, C, H, W); of a part of a network (B, H, W, C).
        conditions: the mode names the runtime; with threads and precision.

    Raises:
        MeasurementError: the runtime, onnx or onnxscript is not installed, or cannot load it.
        Exception: whatever torch's exporter raises on the module.
    """
    mode: Mode = conditions.mode
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_onnx(module, images, path)
        threads = conditions.threads or available_cores()  # as torch and files have them
        return LOADERS[mode](path, threads, conditions.precision)
