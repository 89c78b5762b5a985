"""ONNX: one file, of fixed or dynamic batch and size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.export.exporter import ExportOptions
from smt_nas.export.graphs.traced_program import (
    TraceShape,
    deployed_module,
    example_images,
    explain_errors,
)
from smt_nas.export.manifest import Manifest, read_versions

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource


def export_onnx(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.onnx`: input `images` (B, C, H, W), output `logits` (B, classes), both fp32.

    Raises:
        ExportError: an operator has no form in ONNX; names it.
    """
    from smt_nas.runtime.backends.onnx_writer import OPSET, write_onnx

    shape = TraceShape.of(source, options)
    path = folder / f"{options.name}.onnx"
    with explain_errors("--format onnx", "leave sizes fixed"):
        module = deployed_module(source, options)
        write_onnx(module, example_images(shape), path, shape.dynamic_axes())
    versions = read_versions("torch", "onnx", "onnxscript", "onnxruntime")
    return shape.manifest(
        Manifest("onnx", (path,), versions=versions, notes=(f"ONNX of opset {OPSET}.",))
    )
