"""A network as one Python file in plain torch, its weights beside it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas import __version__
from smt_nas.export.codes.code_text import write_code
from smt_nas.export.codes.image_preparation import find_image_preparation
from smt_nas.export.codes.literals import wrap_doc
from smt_nas.export.codes.weights_file import write_weights
from smt_nas.export.exporter import ExportOptions
from smt_nas.export.manifest import Manifest, read_versions

if TYPE_CHECKING:
    from torch import Tensor

    from smt_nas.export.source import ExportSource

_TEMPLATE = "plain_classifier"


def export_python(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.py` and `NAME.safetensors`."""
    path, weights = (folder / f"{options.name}{suffix}" for suffix in (".py", ".safetensors"))
    path.write_text(write_code(_describe(source), source.arch, _TEMPLATE), encoding="utf-8")
    write_weights(source, weights)
    return Manifest("python", (path, weights), versions=read_versions("torch", "safetensors"))


def load_python(manifest: Manifest) -> Callable[[Tensor], Tensor]:
    """Run the file, and load its weights with its own function."""
    path = next(p for p in manifest.files if p.suffix == ".py")
    model: Callable[[Tensor], Tensor] = runpy.run_path(str(path))["load"]()
    return model


def _describe(source: ExportSource) -> str:
    """Of the docstring: which network, whose weights, which images."""
    arch = source.arch
    prepared = find_image_preparation(source)
    lines = [
        f"SMT network {arch.key} in plain torch, written by smt-nas {__version__}.",
        "",
        "`load()` has the weights of the file beside this one, `build()` fresh ones.",
        f"Weights: {source.weights.describe()}.",
        prepared.describe(),
        "",
        "Lin et al., Scale-Aware Modulation Meet Transformer, ICCV 2023 (arXiv 2307.08579).",
    ]
    return wrap_doc(lines)
