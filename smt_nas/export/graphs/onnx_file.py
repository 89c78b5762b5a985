"""ONNX, by torch's dynamo exporter: opset 20, one file.

GELU and LayerNorm are one node each in opset 20; attention is one from opset 23 on, which not every
runtime has.
"""

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
from smt_nas.runtime.imports import quiet_libraries

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource

OPSET = 20


def export_onnx(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.onnx`: input `images` (B, C, H, W), output `logits` (B, classes), both fp32.

    Raises:
        ExportError: an operator has no form in ONNX; names it.
    """
    import torch

    shape = TraceShape.of(source, options)
    path = folder / f"{options.name}.onnx"
    with explain_errors("--format onnx", "leave sizes fixed"), quiet_libraries():
        program = torch.onnx.export(
            deployed_module(source, options),
            (example_images(shape),),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=(shape.dynamic_axes() or None,),
            verbose=False,
        )
        assert program is not None
        program.save(path)
    versions = read_versions("torch", "onnx", "onnxscript", "onnxruntime")
    return shape.manifest(
        Manifest("onnx", (path,), versions=versions, notes=(f"ONNX of opset {OPSET}.",))
    )
