"""Our own model config: an `Architecture` as YAML or JSON, which every command takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from smt_nas.arch import Architecture, load_arch
from smt_nas.export.exporter import ExportOptions
from smt_nas.export.manifest import Manifest
from smt_nas.export.source import ExportSource
from smt_nas.files import write_atomic
from smt_nas.yaml import to_yaml


def export_yaml(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.yaml`. Raises StoreError."""
    path = folder / f"{options.name}.yaml"
    write_atomic(path, to_yaml(_describe(source)))
    return Manifest("yaml", (path,))


def export_json(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.json`: what the YAML says. Raises StoreError."""
    path = folder / f"{options.name}.json"
    write_atomic(path, json.dumps(_describe(source), indent=2) + "\n")
    return Manifest("json", (path,))


def read_model_config(manifest: Manifest) -> Architecture:
    """The network of `NAME.yaml` or `NAME.json`, which is YAML too. Raises ConfigError."""
    return load_arch(manifest.files[0])


def _describe(source: ExportSource) -> dict[str, Any]:
    return {"schema": source.arch.schema_version, **source.arch.to_values()}
