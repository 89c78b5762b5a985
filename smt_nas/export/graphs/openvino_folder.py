"""OpenVINO's own format: a model (.xml) and its weights (.bin) in a folder, from torch.export."""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.errors import one_line
from smt_nas.export.exporter import ExportOptions
from smt_nas.export.graphs.traced_program import (
    TraceShape,
    example_images,
    explain_errors,
    load_graph_back,
    trace,
)
from smt_nas.export.manifest import Manifest, read_versions
from smt_nas.export.verification import difference
from smt_nas.runtime.imports import quiet_libraries

if TYPE_CHECKING:
    import openvino
    from torch import Tensor

    from smt_nas.export.source import ExportSource


def export_openvino(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.xml` and `NAME.bin`; with `fp16` the weights are stored in half.

    Raises:
        ExportError: an operator has no form there; names it.
    """
    import openvino

    shape = TraceShape.of(source, options)
    program = trace(source, replace(options, precision="fp32"), shape)
    path = folder / f"{options.name}.xml"
    with explain_errors("--format openvino", "use --format onnx"), quiet_libraries():
        model = openvino.convert_model(program)
        side = shape.image_size or -1
        model.reshape({model.inputs[0]: [shape.batch or -1, shape.example[1], side, side]})
        model.inputs[0].get_tensor().set_names({"images"})
        model.outputs[0].get_tensor().set_names({"logits"})
        save_model(model, path, half=options.precision == "fp16")
    manifest = Manifest(
        "openvino",
        (path, path.with_suffix(".bin")),
        versions=read_versions("torch", "openvino"),
    )
    manifest = shape.manifest(manifest)
    return replace(manifest, notes=(_describe_default(source, manifest, shape),))


def load_openvino_back(manifest: Manifest) -> Callable[[Tensor], Tensor]:
    """The model computing in f32, whatever its plugin does by itself."""
    return load_graph_back(manifest, "fp32")


def save_model(model: openvino.Model, path: Path, half: bool) -> None:
    """Write a model. Raises OSError: its writer calls a full disk `iostream error`."""
    import openvino

    try:
        openvino.save_model(model, path, compress_to_fp16=half)
    except RuntimeError as error:
        raise OSError(errno.EIO, one_line(error)) from error


def _describe_default(source: ExportSource, manifest: Manifest, shape: TraceShape) -> str:
    """What the CPU plugin computes in here where it is not told, and by how much it differs."""
    import torch

    from smt_nas.runtime.backends import load_graph

    graph = load_graph(manifest.files[0])
    images = example_images(shape)
    with torch.inference_mode():
        expected = source.model(images)
    assert isinstance(expected, torch.Tensor)
    got = torch.from_numpy(graph.run(images.numpy()))
    return (
        f"Checked in f32. The default on this CPU is {graph.computes}: logits differ by "
        f"{difference([expected], [got], 'rms'):.2g} of their spread; ask for f32 by "
        "INFERENCE_PRECISION_HINT."
    )
