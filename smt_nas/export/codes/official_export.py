"""A network for the published SMT code: its config, and its weights under the names used there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.arch import Architecture
from smt_nas.errors import ExportError
from smt_nas.export.codes.official_config import official_yaml, read_official_config
from smt_nas.export.codes.weights_file import write_weights
from smt_nas.export.exporter import ExportOptions
from smt_nas.export.manifest import Check, Manifest
from smt_nas.export.verification import difference
from smt_nas.files import write_atomic

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource

_TOLERANCE = 1e-6  # only names and groupings differ
_HOW_TO_LOAD = (
    "The published code reads a .pth: load the weights with safetensors.torch.load_file and hand "
    "them to load_state_dict."
)


def export_official(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.yaml` for the published code, and its `NAME.safetensors` where there are weights.

    Raises:
        ExportError: it cannot be expressed there; says why.
        StoreError: the folder cannot be written.
    """
    path = folder / f"{options.name}.yaml"
    write_atomic(path, official_yaml(source.arch, options.name))
    config = Manifest("official", (path,))
    if source.state is None:
        return config
    weights = folder / f"{options.name}.safetensors"
    _write_weights(source, weights)
    check = _check_weights(source, read_official_config(config), weights)
    return replace(config, files=(path, weights), checks=(check,), notes=(_HOW_TO_LOAD,))


def _write_weights(source: ExportSource, path: Path) -> None:
    from smt_nas.models import to_official

    write_weights(source, path, to_official(source.model))


def _check_weights(source: ExportSource, arch: Architecture, weights: Path) -> Check:
    """Load the weights, strictly and by the published names, into the network of the config."""
    import torch

    from smt_nas.models import build, load_official
    from smt_nas.train.weights.tensors import read_tensors

    model = build(arch, device="meta").to_empty(device="cpu").eval()
    load_official(model, read_tensors(weights)[0])
    size = source.arch.image_size
    images = torch.randn(
        2, arch.in_channels, size, size, generator=torch.Generator().manual_seed(0)
    )
    with torch.inference_mode():
        largest = difference([source.model(images)], [model(images)], "largest")
    if largest > _TOLERANCE:
        raise ExportError(
            f"--format official: must agree with the network within {_TOLERANCE:g} (got a "
            f"difference of {largest:.2g}). It is a fault of the exporter; nothing was written."
        )
    return Check(tuple(images.shape), largest, _TOLERANCE)
