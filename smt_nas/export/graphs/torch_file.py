"""Torch's own formats: a program of torch.export, and a package that AOTInductor compiled."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.export.exporter import ExportOptions
from smt_nas.export.graphs.traced_program import (
    TraceShape,
    explain_errors,
    trace,
)
from smt_nas.export.manifest import Manifest, read_versions
from smt_nas.runtime.imports import quiet_libraries

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource

_NATIVE = (
    "It is native code for CPUs like the one it was compiled on, and runs without Python by "
    "torch::inductor::AOTIModelPackageLoader; it looks at no shape."
)


def export_pt2(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.pt2`, for `torch.export.load`. Raises ExportError."""
    import torch

    shape = TraceShape.of(source, options)
    program = trace(source, options, shape)
    path, package = folder / f"{options.name}.pt2", io.BytesIO()
    with quiet_libraries():
        torch.export.save(program, package)
    path.write_bytes(package.getbuffer())  # torch's own writer ends the process on a full disk
    return shape.manifest(Manifest("pt2", (path,), versions=read_versions("torch")))


def export_aoti(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.pt2`, for `torch._inductor.aoti_load_package` or C++.

    Raises:
        ExportError: it cannot be compiled, as where there is no C++ compiler.
    """
    from torch._inductor import aoti_compile_and_package

    from smt_nas.runtime.backends.torch_program import SHAPE_KEY

    shape = TraceShape.of(source, options)
    program = trace(source, options, shape)
    path, package = folder / f"{options.name}.pt2", io.BytesIO()
    channels, size = source.arch.in_channels, shape.image_size
    metadata = {SHAPE_KEY: json.dumps([shape.batch, channels, size, size])}
    with explain_errors("--format aoti", "install a C++ compiler"), quiet_libraries():
        aoti_compile_and_package(
            program,
            package_path=package,
            inductor_configs={"aot_inductor.metadata": metadata},
        )
    path.write_bytes(package.getbuffer())
    manifest = Manifest("aoti", (path,), versions=read_versions("torch"), notes=(_NATIVE,))
    return shape.manifest(manifest)
