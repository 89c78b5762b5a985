"""What a deployed file says of itself in the manifest beside it (`smt-nas export` writes it)."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from smt_nas.arch import Architecture
from smt_nas.errors import SmtNasError
from smt_nas.yaml import validated

MANIFEST_SUFFIX = ".manifest.json"
_MAX_BYTES = 1_000_000  # a manifest has a few kB


def find_manifest(path: Path) -> Path | None:
    """`net.onnx.manifest.json` beside `net.onnx`; the only one inside a folder; None for none."""
    if path.is_dir():
        inside = sorted(path.glob(f"*{MANIFEST_SUFFIX}"))
        if inside:
            return inside[0] if len(inside) == 1 else None
    beside = path.with_name(f"{path.name}{MANIFEST_SUFFIX}")
    if beside.is_file():
        return beside
    return find_manifest(path.parent) if path.suffix == ".xml" else None


def read_architecture(path: Path) -> Architecture | None:
    """The network that a deployed file was written from; None where nothing says it."""
    manifest = find_manifest(path)
    if manifest is None:
        return None
    with suppress(KeyError, TypeError, SmtNasError):
        values = _read_values(manifest)["network"]["architecture"]
        return validated(Architecture, values, str(manifest))
    return None


def list_exported(folder: Path) -> set[str]:
    """Names of what exports wrote into a folder, by its manifests: they and the files they name."""
    names: set[str] = set()
    for manifest in folder.glob(f"*{MANIFEST_SUFFIX}"):
        with suppress(KeyError, TypeError):
            names |= {manifest.name, *map(str, _read_values(manifest)["files"])}
    return names


def _read_values(manifest: Path) -> Any:
    """What a manifest says; None where it cannot be read."""
    with suppress(OSError, ValueError):
        if manifest.stat().st_size <= _MAX_BYTES:
            return json.loads(manifest.read_text(encoding="utf-8"))
    return None
