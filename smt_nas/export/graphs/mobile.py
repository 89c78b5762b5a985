"""What phones run: ExecuTorch (XNNPACK), LiteRT, Core ML. Shapes are fixed."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.export.exporter import ExportOptions
from smt_nas.export.graphs.traced_program import (
    TraceShape,
    deployed_module,
    example_images,
    explain_errors,
    trace,
)
from smt_nas.export.manifest import Manifest, read_versions
from smt_nas.runtime.imports import quiet_libraries

if TYPE_CHECKING:
    from torch import Tensor

    from smt_nas.export.source import ExportSource


def export_executorch(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.pte`, lowered to XNNPACK. Raises ExportError."""
    with quiet_libraries():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

    shape = TraceShape.of(source, options, dynamic_batch=False)
    program = trace(source, options, shape)
    path = folder / f"{options.name}.pte"
    with explain_errors("--format executorch", "use --format onnx"), quiet_libraries():
        lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)
    versions = read_versions("torch", "executorch")
    return shape.manifest(Manifest("executorch", (path,), versions=versions))


def export_litert(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.tflite`; images stay (B, C, H, W). Raises ExportError."""
    with quiet_libraries():
        import litert_torch

    shape = TraceShape.of(source, options, dynamic_batch=False)
    path = folder / f"{options.name}.tflite"
    with explain_errors("--format litert", "use --format onnx"), quiet_libraries():
        module = deployed_module(source, options)
        litert_torch.convert(module, (example_images(shape),)).export(str(path))
    versions = read_versions("torch", "litert-torch", "ai-edge-litert")
    return shape.manifest(Manifest("litert", (path,), versions=versions))


def export_coreml(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.mlpackage`, an ML program of iOS 17 and macOS 14. Raises ExportError.

    By the road of torch.export: that of torch.jit.trace fails with NumPy 2.4.
    """
    with quiet_libraries():
        import coremltools

    shape = TraceShape.of(source, options, dynamic_batch=False)
    path = folder / f"{options.name}.mlpackage"
    precision = {"fp32": "FLOAT32", "fp16": "FLOAT16"}[options.precision]
    with explain_errors("--format coreml", "use --format onnx"), quiet_libraries():
        program = trace(source, ExportOptions(), shape).run_decompositions({})
        model = coremltools.convert(
            program,
            minimum_deployment_target=coremltools.target.iOS17,
            compute_precision=getattr(coremltools.precision, precision),
        )
        model.save(str(path))
    versions = read_versions("torch", "coremltools")
    return shape.manifest(Manifest("coreml", (path,), versions=versions))


def why_coreml_does_not_run() -> str:
    """Core ML runs on Apple's systems alone; empty there."""
    system = platform.system()
    return "" if system == "Darwin" else f"Core ML runs on macOS and iOS (here is {system})."


def load_coreml_back(manifest: Manifest) -> Callable[[Tensor], Tensor]:
    """The package, on a Mac."""
    import coremltools
    import torch

    model = coremltools.models.MLModel(str(manifest.files[0]))
    (given,) = model.get_spec().description.input

    def run(images: Tensor) -> Tensor:
        outputs = model.predict({given.name: images.numpy()})
        return torch.from_numpy(next(iter(outputs.values())))

    return run
