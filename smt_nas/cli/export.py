"""`export`: hand a network over in a format that others read."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.export import EXPORTERS

_FORMATS = "; ".join(f"{name}: {entry.help}" for name, entry in EXPORTERS.items())


@app.command()
def export(
    arch: Annotated[str, typer.Argument(help="A preset or a YAML, e.g. RUN/front/0.yaml.")],
    format: Annotated[str, typer.Option("--format", help=f"{_FORMATS}.")] = "yaml",
    out: Annotated[
        Path | None,
        typer.Option(
            help="File to write; a folder, of formats that are not text. Default: standard output."
        ),
    ] = None,
) -> None:
    """Write a network's config: ours, or that of the published SMT code.

    Example: smt-nas export smt_t --format official --out smt_tiny_224.yaml
    """
    from smt_nas.arch import load_arch
    from smt_nas.errors import ConfigError
    from smt_nas.export import ExportOptions, exporter
    from smt_nas.export import export as export_to
    from smt_nas.files import make_folder, write_atomic

    network, options = load_arch(arch), ExportOptions(name=Path(arch).stem)
    if not exporter(format).is_text:
        if out is None:
            raise ConfigError(f"--format {format}: must have a folder to write to. Add --out DIR.")
        make_folder(out, "Choose another --out.")
        manifest = export_to(network, format, out, options)
        console.say(f"Wrote {', '.join(map(str, manifest.files))}.")
        return
    with TemporaryDirectory() as folder:
        manifest = export_to(network, format, Path(folder), options)
        text = manifest.files[0].read_text(encoding="utf-8")
    if out is None:
        console.show_text(text)
    else:
        write_atomic(out, text)
        console.say(f"Wrote {out}.")
