"""ONNX files, by onnxruntime on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from smt_nas.errors import MeasurementError
from smt_nas.runtime.backends.loaded_graph import Images, LoadedGraph, Logits, Shape
from smt_nas.runtime.imports import import_optional

_ERRORS_ALONE = 3  # of onnxruntime's levels of what it writes to the terminal


def load_onnx(path: Path, threads: int | None, precision: str | None) -> LoadedGraph:
    """Load an ONNX file of one input, images (B, C, H, W) in float32, and one output.

    Args:
        path: the file.
        threads: of the CPU; None for what onnxruntime takes by itself.
        precision: None or `fp32`: an ONNX file has its own.

    Raises:
        MeasurementError: onnxruntime is not installed, or the file is of another kind.
    """
    library = import_optional("onnxruntime", "pip install 'smt-nas[onnx]'.", str(path))
    options = library.SessionOptions()
    options.log_severity_level = _ERRORS_ALONE
    if threads is not None:
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
    session = library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        kinds = ", ".join(f"{i.name} {i.type} {i.shape}" for i in inputs)
        raise MeasurementError(
            f"{path}: must take one input, images (B, C, H, W) in float32 (got {kinds}). Name a "
            "network of images."
        )
    input_name, output_names = inputs[0].name, [outputs[0].name]

    def call(images: Images) -> Logits:
        return np.asarray(session.run(output_names, {input_name: images})[0])

    return LoadedGraph(
        backend="onnxruntime",
        version=library.__version__,
        shape=_to_shape(inputs[0].shape),
        computes="as the file says",
        call=call,
    )


def _to_shape(dims: list[int | str | None]) -> Shape:
    """Numbers as they are; names of dynamic axes as None."""
    batch, channels, height, width = (n if isinstance(n, int) else None for n in dims)
    return batch, channels, height, width
