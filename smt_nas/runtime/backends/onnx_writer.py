"""A module as one ONNX file, by torch's dynamo exporter."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smt_nas.runtime.imports import import_optional, quiet_libraries

OPSET = 20
"""The first with GELU as one node; attention is one from 23 on, which not every runtime has."""


def write_onnx(
    module: nn.Module, images: Tensor, path: Path, dynamic_axes: Mapping[int, Any] | None = None
) -> None:
    """Write a module as one file, weights included: input `images`, output `logits`.

    Args:
        module: in eval mode, on the CPU; takes one tensor and returns one.
        images: an example of what it takes.
        path: of the file.
        dynamic_axes: of the input, that may have any size, as `torch.export.Dim`s; all are fixed
            where there are none.

    Raises:
        MeasurementError: onnx or onnxscript is not installed.
        Exception: whatever torch's exporter raises on the module.
    """
    for library in ("onnx", "onnxscript"):
        import_optional(library, "`pip install 'smt-nas[onnx]'` installs it.", "ONNX")
    with quiet_libraries():
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=(dict(dynamic_axes or {}) or None,),
            verbose=False,
        )
    assert program is not None
    program.save(path)
