"""Hand a network over: EXPORTERS, one table of formats under one contract (`export.exporter`)."""

from __future__ import annotations

from pathlib import Path

from smt_nas.errors import UnknownName
from smt_nas.export.checked_export import write_export, write_text
from smt_nas.export.codes.huggingface import export_hf, load_hf
from smt_nas.export.codes.official_config import read_official_config
from smt_nas.export.codes.official_export import export_official
from smt_nas.export.codes.openmmlab import (
    backbone_exporter,
    load_backbone,
    reference_maps,
    why_not_run,
)
from smt_nas.export.codes.python_file import export_python, load_python
from smt_nas.export.codes.timm_file import export_timm, load_timm
from smt_nas.export.exporter import ExporterEntry, ExportOptions
from smt_nas.export.graphs import GRAPHS
from smt_nas.export.manifest import Check, Manifest
from smt_nas.export.model_config import export_json, export_yaml, read_model_config
from smt_nas.export.source import ExportSource, load_export_source

EXPORTERS: dict[str, ExporterEntry] = {
    "yaml": ExporterEntry(
        export=export_yaml,
        read_back=read_model_config,
        help="the model config of smt-nas",
        suffix=".yaml",
        is_text=True,
        holds_weights=False,
    ),
    "json": ExporterEntry(
        export=export_json,
        read_back=read_model_config,
        help="the same as JSON",
        suffix=".json",
        is_text=True,
        holds_weights=False,
    ),
    "official": ExporterEntry(
        export=export_official,
        read_back=read_official_config,
        help="the config and weights of the published SMT code",
        suffix=".yaml",
        is_text=True,
        holds_weights=False,
    ),
    "python": ExporterEntry(
        export=export_python,
        load_back=load_python,
        help="a Python file in plain torch, without smt-nas, and its weights",
        suffix=".py",
        tolerance=1e-6,
    ),
    "timm": ExporterEntry(
        export=export_timm,
        load_back=load_timm,
        help="a Python file that registers it with timm, and its weights",
        suffix=".py",
        extra="train",
        modules=("timm",),
        tolerance=1e-6,
    ),
    "hf": ExporterEntry(
        export=export_hf,
        load_back=load_hf,
        help="a folder for transformers, with image processor and model card",
        extra="hf",
        modules=("transformers", "timm"),
        tolerance=1e-6,
    ),
    "mmdet": ExporterEntry(
        export=backbone_exporter("mmdet"),
        load_back=load_backbone,
        reference=reference_maps,
        help="a backbone of mmdetection: module, config, weights",
        suffix=".py",
        tolerance=1e-6,
        not_run_here=why_not_run,
    ),
    "mmseg": ExporterEntry(
        export=backbone_exporter("mmseg"),
        load_back=load_backbone,
        reference=reference_maps,
        help="a backbone of mmsegmentation: module, config, weights",
        suffix=".py",
        tolerance=1e-6,
        not_run_here=why_not_run,
    ),
    **GRAPHS,
}

__all__ = [
    "EXPORTERS",
    "Check",
    "ExportOptions",
    "ExportSource",
    "ExporterEntry",
    "Manifest",
    "export",
    "exporter",
    "load_export_source",
    "to_text",
]


def exporter(format_name: str) -> ExporterEntry:
    """A format by its name. Raises UnknownName."""
    if format_name not in EXPORTERS:
        raise UnknownName("export format", format_name, EXPORTERS)
    return EXPORTERS[format_name]


def export(
    source: ExportSource,
    format_name: str,
    out: Path,
    options: ExportOptions | None = None,
    force: bool = False,
) -> Manifest:
    """Write a network in a format, load it back and compare it; then put it where it belongs.

    Args:
        source: the network, of `load_export_source`.
        format_name: of EXPORTERS.
        out: file or folder.
        options: what a format lets one choose; called as the source by default.
        force: replace what is there.

    Raises:
        UnknownName: no such format.
        ConfigError: the format does not take an option.
        ExportError: it cannot express the network, needs an extra that is not installed, or what
            was written differs from the network.
        StoreError: something is there already, the disk is full, or it cannot be written.
    """
    entry = exporter(format_name)
    return write_export(
        entry, format_name, source, out, options or ExportOptions(source.name), force
    )


def to_text(source: ExportSource, format_name: str, options: ExportOptions | None = None) -> str:
    """The text of a format that is one. Raises as `export`."""
    entry = exporter(format_name)
    return write_text(entry, format_name, source, options or ExportOptions(source.name))
