"""Our own model config: the YAML of an `Architecture`, which every command takes."""

from __future__ import annotations

from pathlib import Path

from smt_nas.arch import Architecture, load_arch
from smt_nas.export.exporter import ExportOptions, Manifest


def export_model_config(arch: Architecture, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.yaml`. Raises StoreError."""
    path = folder / f"{options.name}.yaml"
    arch.save(path)
    return Manifest("yaml", (path,))


def read_model_config(manifest: Manifest) -> Architecture:
    """The network of `NAME.yaml`. Raises ConfigError."""
    return load_arch(manifest.files[0])
