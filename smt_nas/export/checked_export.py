"""From a network to checked files: what all formats have in common."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas.errors import ConfigError, ExportError, StoreError, list_names
from smt_nas.export.exporter import ExporterEntry, ExportOptions
from smt_nas.export.manifest import Manifest, read_versions, write_manifest
from smt_nas.export.verification import verify
from smt_nas.export.writing import Target, check_target, publish, staged_folder
from smt_nas.files import make_folder
from smt_nas.runtime.imports import missing_library

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource

_RANGES = {"batch": (1, 65536), "image_size": (32, 8192)}  # the latter as `Architecture` has it
_UNTRAINED = "The weights are fresh, untrained: good for timing alone."


def write_export(
    entry: ExporterEntry,
    format_name: str,
    source: ExportSource,
    out: Path,
    options: ExportOptions,
    force: bool = False,
) -> Manifest:
    """Write a network in a format, load it back and compare it; then put it where it belongs.

    A manifest stands beside files that compute something. Where anything fails, `out` is as it was.

    Args:
        entry: the row of EXPORTERS.
        format_name: its name.
        source: the network.
        out: the file or folder, see `resolve_target`.
        options: what was asked for; its name is that of the files in a folder.
        force: replace what is there.

    Raises:
        ConfigError: the format does not take an option.
        ExportError: it cannot express the network, needs an extra that is not installed, or what
            was written differs from the network.
        StoreError: weights hold NaN or infinity, something is there already, the disk is full, or
            it cannot be written.
    """
    source = _check(entry, format_name, source, options)
    if entry.holds_weights:
        _check_numbers(source)
    target = resolve_target(entry, format_name, out, options.name)
    check_target(target, force)
    options = replace(options, name=target.name)
    with _made_folder(target), staged_folder(target.path) as staging:
        manifest = _write_checked(entry, source, staging, options)
        files = manifest.files
        if manifest.checks or entry.load_back is not None:
            path = staging / target.manifest.name
            write_manifest(path, manifest, _describe_network(source))
            files = (*files, path)
        return replace(manifest, files=publish(files, target, force))


def write_text(
    entry: ExporterEntry, format_name: str, source: ExportSource, options: ExportOptions
) -> str:
    """The text of a format that is one. Raises as `write_export`."""
    source = _check(entry, format_name, source, options)
    with tempfile.TemporaryDirectory() as folder:
        manifest = _write_checked(entry, source, Path(folder), options)
        return manifest.files[0].read_text(encoding="utf-8")


def resolve_target(entry: ExporterEntry, format_name: str, out: Path, name: str) -> Target:
    """Where an export goes.

    Args:
        entry: the row of EXPORTERS.
        format_name: its name.
        out: a file; or a folder, in which the file is called by the network.
        name: of the network.

    Raises:
        ConfigError: the suffix is of another format.
    """
    if not entry.suffix:
        folder = out if out.name else out.resolve()
        return Target(folder, name, is_folder=True, makes_parent=True)
    if entry.is_text or out.suffix == entry.suffix:
        return Target(out, out.stem)
    if out.suffix and not out.is_dir():
        raise ConfigError(
            f"--out {out}: must end in {entry.suffix} for --format {format_name} (got "
            f"{out.suffix}). Name {out.stem}{entry.suffix}, or a folder."
        )
    return Target(out / f"{name}{entry.suffix}", name, makes_parent=True)


def _write_checked(
    entry: ExporterEntry, source: ExportSource, folder: Path, options: ExportOptions
) -> Manifest:
    manifest = verify(entry, source, entry.export(source, folder, options), options)
    untrained = entry.holds_weights and source.state is None
    return replace(
        manifest,
        versions={**read_versions("torch", "numpy"), **manifest.versions},
        notes=(*source.weights.notes, *([_UNTRAINED] if untrained else []), *manifest.notes),
    )


def _describe_network(source: ExportSource) -> dict[str, object]:
    return {
        "name": source.name,
        "key": source.arch.key,
        "architecture": source.arch.to_values(),
        "weights": source.weights.describe(),
    }


def _check(
    entry: ExporterEntry, format_name: str, source: ExportSource, options: ExportOptions
) -> ExportSource:
    """Refuse options that a format does not take; the source at the size that is asked for."""
    for axis in _RANGES:
        _check_axis(entry, format_name, axis, getattr(options, axis))
    if options.precision not in entry.precisions:
        raise ConfigError(
            f"--precision: --format {format_name} is written in {' or '.join(entry.precisions)} "
            f"(got {options.precision}). Choose another format or precision."
        )
    _check_calibration(entry, format_name, options.calibration)
    for module in entry.modules:
        if importlib.util.find_spec(module) is None:
            way_out = f"`pip install 'smt-nas[{entry.extra}]'` installs it."
            raise missing_library(module, way_out, f"--format {format_name}", ExportError)
    size = options.image_size
    return source.resized(size) if isinstance(size, int) else source


def _check_numbers(source: ExportSource) -> None:
    """Refuse weights of a training that diverged: they would be told as a fault of the format."""
    bad = [n for n, t in (source.state or {}).items() if not bool(t.isfinite().all())]
    if bad:
        raise StoreError(
            f"{source.weights.describe()}: must hold finite numbers (got NaN or infinity in "
            f"{list_names(bad)}). Name weights from before the training diverged."
        )


def _check_axis(entry: ExporterEntry, format_name: str, axis: str, value: object) -> None:
    flag = f"--{axis.replace('_', '-')}"
    if axis == "batch" and value is not None and entry.dynamic is None:
        raise ConfigError(
            f"{flag}: is not of --format {format_name}, which takes any (got {value}). Leave it "
            "out."
        )
    if value == "dynamic" and axis not in (entry.dynamic or ()):
        raise ConfigError(
            f"{flag}: must be a number for --format {format_name} (got dynamic). Give one, or "
            "leave it out."
        )
    least, most = _RANGES[axis]
    if isinstance(value, int) and not least <= value <= most:
        raise ConfigError(
            f"{flag}: must be from {least} to {most} (got {value}). Give such a number."
        )


def _check_calibration(entry: ExporterEntry, format_name: str, folder: Path | None) -> None:
    if folder is None:
        return
    if not entry.calibrates:
        raise ConfigError(
            f"--calibrate {folder}: is not of --format {format_name} (got a folder of images). "
            "Leave it out."
        )
    if not folder.is_dir():
        raise ConfigError(
            f"--calibrate {folder}: must be a folder of images (got none). Check the path."
        )


@contextlib.contextmanager
def _made_folder(target: Target) -> Iterator[None]:
    """The folder that a file goes into where a folder was named; gone again on an error."""
    parent = target.path.parent
    if parent.exists() or not target.makes_parent:
        yield
        return
    make_folder(parent, "Choose another --out.")
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            os.rmdir(parent)
        raise
