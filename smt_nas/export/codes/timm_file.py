"""A network as a file that registers it with timm, its weights beside it."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas import __version__
from smt_nas.export.codes.image_preparation import find_image_preparation
from smt_nas.export.codes.literals import to_identifier, wrap_doc, write_literal, write_text
from smt_nas.export.codes.weights_file import write_weights
from smt_nas.export.exporter import ExportOptions
from smt_nas.export.manifest import Manifest, read_versions

if TYPE_CHECKING:
    from torch import Tensor

    from smt_nas.export.source import ExportSource


def export_timm(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write `NAME.py`, which needs smt-nas, and `NAME.safetensors`."""
    path, weights = (folder / f"{options.name}{suffix}" for suffix in (".py", ".safetensors"))
    path.write_text(_write_module(source, _free_name(options.name)), encoding="utf-8")
    write_weights(source, weights)
    return Manifest("timm", (path, weights), versions=read_versions("torch", "timm", "safetensors"))


def load_timm(manifest: Manifest) -> Callable[[Tensor], Tensor]:
    """Run the file, and create the model by its name."""
    from smt_nas.timm import timm

    path = next(p for p in manifest.files if p.suffix == ".py")
    name = runpy.run_path(str(path))["NAME"]
    model: Callable[[Tensor], Tensor] = timm.create_model(name, pretrained=True).eval()
    return model


def _free_name(name: str) -> str:
    """A name that no other network in the registry has."""
    from smt_nas.timm import is_free

    word = to_identifier(name)
    while not is_free(word):
        word = f"{word}_net" if word.startswith("smt") else f"smt_{word}"
    return word


def _write_module(source: ExportSource, name: str) -> str:
    prepared = find_image_preparation(source)
    fields: dict[str, object] = {
        "mean": prepared.mean,
        "std": prepared.std,
        "interpolation": prepared.transform.interpolation,
    }
    if prepared.transform.resize == "direct":
        fields |= {"crop_mode": "squash", "crop_pct": 1.0}
    else:
        fields |= {"crop_mode": "center", "crop_pct": prepared.transform.crop_pct}
    if source.classes:
        fields["label_names"] = source.classes
    doc = [
        f"SMT network {source.arch.key} for timm, written by smt-nas {__version__}.",
        "",
        f"Import this, then `timm.create_model({name!r}, pretrained=True)`; smt-nas must be "
        "installed. The weights are those of the file beside this one.",
        f"Weights: {source.weights.describe()}.",
        prepared.describe(),
    ]
    arguments = "".join(f"    {n}={write_literal(v, 4)},\n" for n, v in fields.items())
    return (
        f'"""{wrap_doc(doc)}\n"""\n\n'
        "from pathlib import Path\n\n"
        "import smt_nas.timm\n"
        "from smt_nas.arch import Architecture\n\n"
        f"NAME = {write_text(name)}\n"
        f"CONFIG = {write_literal(source.arch.to_values())}\n\n"
        "smt_nas.timm.register(\n"
        "    Architecture.model_validate(CONFIG),\n"
        "    NAME,\n"
        '    weights=Path(__file__).with_suffix(".safetensors"),\n'
        f"{arguments})\n"
    )
