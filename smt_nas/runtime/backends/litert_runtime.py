"""LiteRT's models (.tflite), by its interpreter with XNNPACK."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np

from smt_nas.errors import MeasurementError
from smt_nas.runtime.backends.loaded_graph import Images, LoadedGraph, Logits
from smt_nas.runtime.imports import import_optional


def load_litert(path: Path, threads: int | None, precision: str | None) -> LoadedGraph:
    """Load a model of one input, images (B, C, H, W), and one output.

    Args:
        path: the file.
        threads: of the CPU; None for what the interpreter takes by itself, which is one.
        precision: None or `fp32`: a model has its own.

    Raises:
        MeasurementError: ai-edge-litert is not installed, or the model is of another kind.
    """
    library = import_optional(
        "ai_edge_litert.interpreter",
        "pip install 'smt-nas[litert]'.",
        str(path),
        package="ai-edge-litert",
    )
    interpreter = library.Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    inputs, output = interpreter.get_input_details(), interpreter.get_output_details()[0]
    dims = [int(n) for n in inputs[0]["shape"]]
    if len(inputs) != 1 or len(dims) != 4:
        raise MeasurementError(
            f"{path}: must take one input, images (B, C, H, W) (got {dims}). Name a network of "
            "images."
        )
    batch, channels, height, width = dims

    def call(images: Images) -> Logits:
        interpreter.set_tensor(inputs[0]["index"], images)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(output["index"]))

    return LoadedGraph(
        "litert",
        metadata.version("ai-edge-litert"),
        (batch, channels, height, width),
        "as the file says",
        call,
    )
