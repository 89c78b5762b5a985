"""`export`: hand a network over in a format that others read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from smt_nas.cli import console
from smt_nas.cli.app import app
from smt_nas.cli.talk import say_first, talk
from smt_nas.export import EXPORTERS

if TYPE_CHECKING:
    from smt_nas.export import ExportOptions, ExportSource, Manifest

_FORMATS = "; ".join(f"{name}: {entry.help}" for name, entry in EXPORTERS.items())


Network = Annotated[
    str,
    typer.Argument(help="A preset, a YAML (RUN/front/0.yaml), a search's RUN, or trained weights."),
]
Format = Annotated[str, typer.Option("--format", help=f"{_FORMATS}.")]
Out = Annotated[
    Path | None,
    typer.Option(help="File to write, or a folder. Default of texts: standard output."),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="Weights for ARCH, as --init takes them; inherited: those of the supernet that rated "
        "it. Default: fresh ones."
    ),
]
Supernet = Annotated[
    str | None,
    typer.Option(
        metavar="RUN", help="The supernet of --weights inherited. Default: that of the search."
    ),
]
ImageSize = Annotated[
    str | None, typer.Option(help="Pixels of a side, or dynamic. Default: the network's.")
]
Batch = Annotated[
    str | None, typer.Option(help="Images of a call, or dynamic. Default: dynamic where it can be.")
]
Precision = Annotated[
    Literal["fp32", "fp16", "bf16"], typer.Option(help="Of weights and computing.")
]
Calibrate = Annotated[
    Path | None,
    typer.Option(help="Folder of images that int8 ranges are fitted to. Default: none."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]


@app.command()
def export(
    context: typer.Context,
    arch: Network,
    format: Format = "yaml",
    out: Out = None,
    weights: Weights = None,
    supernet: Supernet = None,
    image_size: ImageSize = None,
    batch: Batch = None,
    precision: Precision = "fp32",
    calibrate: Calibrate = None,
    force: Force = False,
) -> None:
    """Hand a network over: configs, code, and graphs to deploy, each loaded back and compared.

    Example: smt-nas export RUN/front/0.yaml --format onnx --out net.onnx
    """
    from smt_nas.export import ExportOptions, exporter, load_export_source
    from smt_nas.export import export as export_to

    entry = exporter(format)
    if out is not None and not entry.is_text:
        what = f"Exporting {arch} to {out} as {format}"
        say_first(context, f"{what}: it is written, loaded back and compared.")
    source = load_export_source(arch, weights, supernet)
    options = ExportOptions(
        name=source.name,
        image_size=_parse_axis("--image-size", image_size),
        batch=_parse_axis("--batch", batch),
        precision=precision,
        calibration=calibrate,
    )
    if out is None:
        _show_text(source, format, options)
        return
    with talk() as listener:
        if not entry.is_text:
            listener.step("export", 0, None)
        manifest = export_to(source, format, out, options, force)
    _say_written(manifest)


def _show_text(source: ExportSource, format: str, options: ExportOptions) -> None:
    """On standard output. Raises ConfigError: it is no text, and has no place to be written to."""
    from smt_nas.errors import ConfigError
    from smt_nas.export import exporter, to_text

    entry = exporter(format)
    if not entry.is_text:
        place = f"{source.name}{entry.suffix}" if entry.suffix else "DIR"
        raise ConfigError(
            f"--format {format}: must have a place to write to (got none). Add --out {place}."
        )
    console.show_text(to_text(source, format, options))


def _parse_axis(flag: str, text: str | None) -> int | Literal["dynamic"] | None:
    from smt_nas.errors import ConfigError

    if text is None or text == "dynamic":
        return text  # type: ignore[return-value]
    if not text.isdecimal() or len(text) > 9:
        raise ConfigError(f"{flag}: must be a whole number or dynamic (got {text}). Give one.")
    return int(text)


def _say_written(manifest: Manifest) -> None:
    console.say(f"Wrote {', '.join(map(str, manifest.files))}.")
    for note in manifest.notes:
        console.say(note)
    if manifest.checks:
        measure = manifest.checks[0].measure
        of = "the spread of logits" if measure == "rms" else "the largest logit, or of 1"
        worst = max(manifest.checks, key=lambda check: check.largest_difference / check.tolerance)
        shapes = ", ".join("x".join(map(str, check.inputs)) for check in manifest.checks)
        console.say(
            f"Loaded back and run on {shapes}: off {worst.against} by at most "
            f"{worst.largest_difference:.2g} of {of} (allowed: {worst.tolerance:g})."
        )
