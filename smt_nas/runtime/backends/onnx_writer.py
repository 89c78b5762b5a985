"""A module as one ONNX file, by torch's exporter."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from smt_nas.runtime.imports import import_optional

OPSET = 20  # the first with GELU as one node; attention as one is of 23, which fewer runtimes read
INPUT, OUTPUT = "images", "logits"


def write_onnx(
    module: nn.Module, images: Tensor, path: Path, dynamic: Mapping[int, Any] | None = None
) -> None:
    """Write a module as one file, weights included.

    Args:
        module: in eval mode, on the CPU; takes one tensor and returns one.
        images: an example of what it takes.
        path: of the file.
        dynamic: axes of the input that may have any size, as `torch.export.Dim`s; all are fixed
            where None.

    Raises:
        MeasurementError: onnx or onnxscript is not installed.
        Exception: whatever torch's exporter raises on the module.
    """
    for library in ("onnx", "onnxscript"):
        import_optional(library, "pip install 'smt-nas[onnx]'.", "form onnx")
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=None if dynamic is None else (dict(dynamic),),
            verbose=False,
        )
    assert program is not None
    program.save(str(path))
