"""`Manifest`: which files an export wrote, how they were checked, with which versions."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from smt_nas import __version__
from smt_nas.files import write_atomic

_SCHEMA = 1

Measure = Literal["largest", "rms"]
"""How outputs are compared. `largest`: the largest difference of two numbers, as a share of the
largest number where that is above 1. `rms`: the root mean square of the differences, as a share of
the standard deviation of the numbers."""


@dataclass(frozen=True)
class Check:
    """One comparison of what was written with the network it was written from.

    Attributes:
        inputs: shape (B, C, H, W) of the images.
        largest_difference: by `measure`.
        tolerance: what it may be.
        against: what the outputs were compared with, e.g. `eager fp32`.
        measure: of the difference.
    """

    inputs: tuple[int, ...]
    largest_difference: float
    tolerance: float
    against: str = "eager fp32"
    measure: Measure = "largest"


@dataclass(frozen=True)
class Manifest:
    """What an export wrote.

    Attributes:
        format: of EXPORTERS.
        files: the first is the one that a user opens.
        batch: images a call takes; None for any number.
        image_size: pixels of a side; None for any size.
        checks: comparisons that were made; none where the files compute nothing.
        versions: of the libraries that wrote and ran it, by package.
        figures: measured beside the checks, by name with its unit.
        notes: what whoever takes the files must know, a sentence each.
    """

    format: str
    files: tuple[Path, ...]
    batch: int | None = None
    image_size: int | None = None
    checks: tuple[Check, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def in_folder(self, folder: Path) -> Manifest:
        """The same files in another folder."""
        return replace(self, files=tuple(folder / path.name for path in self.files))


def read_versions(*packages: str) -> dict[str, str]:
    """Versions of the packages named that are installed, of Python and of smt-nas."""
    versions = {"python": platform.python_version(), "smt-nas": __version__}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def write_manifest(path: Path, manifest: Manifest, network: Mapping[str, Any]) -> None:
    """Write a manifest as JSON.

    Args:
        path: of the file.
        manifest: what to write.
        network: plain values on what was exported: its name, key, weights.

    Raises:
        StoreError: it cannot be written.
    """
    values = asdict(manifest)
    values["files"] = [file.name for file in manifest.files]
    content = {"schema_version": _SCHEMA, "network": dict(network), **values}
    write_atomic(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
