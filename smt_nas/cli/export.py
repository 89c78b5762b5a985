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
        Path | None, typer.Option(help="File to write. Default: standard output.")
    ] = None,
) -> None:
    """Write a network's config: ours, or that of the published SMT code.

    Example: smt-nas export smt_t --format official --out smt_tiny_224.yaml
    """
    from smt_nas.arch import load_arch
    from smt_nas.export import ExportOptions, exporter
    from smt_nas.files import write_atomic

    entry, network = exporter(format), load_arch(arch)
    with TemporaryDirectory() as folder:
        options = ExportOptions(name=Path(arch).stem)
        manifest = entry.export(network, Path(folder), options)
        text = manifest.files[0].read_text(encoding="utf-8")
    if out is None:
        console.show_text(text)
    else:
        write_atomic(out, text)
        console.say(f"Wrote {out}.")
