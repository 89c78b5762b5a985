"""OpenVINO's models, by its CPU plugin.

On a CPU with bf16 units the plugin computes in bf16 unless told otherwise, so that logits differ
by half a percent (https://docs.openvino.ai/2025/openvino-workflow/running-inference/
optimize-inference/precision-control.html). Here it is told, and says which.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from smt_nas.errors import MeasurementError
from smt_nas.runtime.backends.loaded_graph import Images, LoadedGraph, Logits, Shape
from smt_nas.runtime.imports import import_optional

_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


def load_openvino(path: Path, threads: int | None, precision: str | None) -> LoadedGraph:
    """Load a model of OpenVINO (`.xml` with its `.bin`, or their folder), or an ONNX file.

    Args:
        path: of it.
        threads: of the CPU; None for what OpenVINO takes by itself.
        precision: `fp32`, `bf16`, `fp16`; None for the plugin's own choice.

    Raises:
        MeasurementError: openvino is not installed, or the model is of another kind.
    """
    library = import_optional("openvino", "pip install 'smt-nas[openvino]'.", str(path))
    core = open_core(library)
    options: dict[str, object] = {"PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    if precision is not None:
        options["INFERENCE_PRECISION_HINT"] = _HINTS[precision]
    model = core.read_model(find_xml(path))
    if len(model.inputs) != 1 or len(model.inputs[0].partial_shape) != 4:
        raise MeasurementError(
            f"{path}: must take one input, images (B, C, H, W) (got {len(model.inputs)} inputs). "
            "Name a network of images."
        )
    compiled = core.compile_model(model, "CPU", options)
    request = compiled.create_infer_request()

    def call(images: Images) -> Logits:
        return np.array(next(iter(request.infer([images], share_inputs=True).values())))

    return LoadedGraph(
        backend="openvino",
        version=library.__version__.partition("-")[0],
        shape=_to_shape(model.inputs[0].partial_shape),
        computes=str(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()),
        call=call,
    )


@cache
def open_core(library: ModuleType) -> Any:
    """The one core of this process, which stays until its end.

    Every core changes the stack that signals are handled on, and with several in a process a Ctrl-C
    was seen to end it without a word (openvino 2026.4.1).
    """
    return library.Core()


def find_xml(path: Path) -> Path:
    """The model of a folder, or the file itself.

    Raises:
        MeasurementError: there is none, or several.
    """
    if not path.is_dir():
        return path
    models = sorted(path.glob("*.xml"))
    if len(models) != 1:
        raise MeasurementError(
            f"{path}: must hold one model of OpenVINO (got {len(models)} .xml files). Name one."
        )
    return models[0]


def _to_shape(partial: object) -> Shape:
    dims = [None if d.is_dynamic else d.get_length() for d in partial]  # type: ignore[attr-defined]
    batch, channels, height, width = dims
    return batch, channels, height, width
