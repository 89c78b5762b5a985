"""Hand a network over: EXPORTERS, one table of formats under one contract (`export.contract`)."""

from __future__ import annotations

from pathlib import Path

from smt_nas.arch import Architecture
from smt_nas.errors import UnknownName
from smt_nas.export.exporter import ExporterEntry, ExportOptions, Manifest
from smt_nas.export.model_config import export_model_config, read_model_config
from smt_nas.export.official_config import export_official_config, read_official_config

EXPORTERS: dict[str, ExporterEntry] = {
    "yaml": ExporterEntry(
        export=export_model_config,
        read_back=read_model_config,
        help="the model config of smt-nas",
        is_text=True,
    ),
    "official": ExporterEntry(
        export=export_official_config,
        read_back=read_official_config,
        help="the config of the published SMT code",
        is_text=True,
    ),
}

__all__ = ["EXPORTERS", "ExportOptions", "ExporterEntry", "Manifest", "export", "exporter"]


def exporter(format_name: str) -> ExporterEntry:
    """A format by its name. Raises UnknownName."""
    if format_name not in EXPORTERS:
        raise UnknownName("export format", format_name, EXPORTERS)
    return EXPORTERS[format_name]


def export(arch: Architecture, format_name: str, folder: Path, options: ExportOptions) -> Manifest:
    """Write a network into a folder in a format.

    Args:
        arch: the network.
        format_name: of EXPORTERS.
        folder: it is there.
        options: the network's name, and what a format lets one choose.

    Raises:
        UnknownName: no such format.
        ExportError: the format cannot express the network; says why.
        StoreError: the folder cannot be written.
    """
    return exporter(format_name).export(arch, folder, options)
