"""A network as a backbone of mmdet or mmseg: a module, a piece of config, weights.

Of the libraries the forks of VBTI are kept (PyPI: onedl-mmengine, onedl-mmdetection,
onedl-mmsegmentation); their modules have the old names. Only mmengine is needed to run a backbone.
"""

from __future__ import annotations

import functools
import importlib.util
import runpy
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from smt_nas import __version__
from smt_nas.export.codes.code_text import write_code
from smt_nas.export.codes.image_preparation import find_image_preparation
from smt_nas.export.codes.literals import to_identifier, wrap_doc, write_literal, write_text
from smt_nas.export.codes.weights_file import write_weights
from smt_nas.export.exporter import Exporter, ExportOptions
from smt_nas.export.manifest import Manifest, read_versions

if TYPE_CHECKING:
    from torch import Tensor

    from smt_nas.export.source import ExportSource

_CONFIG = "_config.py"  # after the name
_BYTES = 255  # these libraries norm bytes, not values in 0..1
_HEADS = {
    "mmdet": "The neck takes the four maps; put this over a config with an FPN, e.g. Mask R-CNN's.",
    "mmseg": "The heads take the four maps, and the third; put this over a config of UPerNet.",
}


def backbone_exporter(format_name: str) -> Exporter:
    """The exporter for one of the libraries: they differ in who takes the maps."""
    return functools.partial(_export_backbone, format_name)


def load_backbone(manifest: Manifest) -> Callable[[Tensor], Sequence[Tensor]]:
    """Build it from its config by mmengine's registry, with its weights."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of functions of torch that mmengine still uses
        return _build_backbone(manifest.files[0])


def _build_backbone(module: Path) -> Callable[[Tensor], Sequence[Tensor]]:
    from mmengine.config import Config
    from mmengine.registry import MODELS

    runpy.run_path(str(module))  # registers
    path = module.with_name(f"{module.stem}{_CONFIG}")
    config = Config.fromfile(str(path), import_custom_modules=False)
    fields = {k: v for k, v in config.model.backbone.items() if k != "_delete_"}
    backbone = MODELS.build(fields)
    backbone.init_weights()
    maps: Callable[[Tensor], Sequence[Tensor]] = backbone.eval()
    return maps


def reference_maps(source: ExportSource) -> Callable[[Tensor], Sequence[Tensor]]:
    """What a backbone is compared with: the maps of the network's stages."""

    def compute_maps(images: Tensor) -> Sequence[Tensor]:
        x, maps = images, []
        for stage in source.model.stages:
            x = stage(x)
            maps.append(x.permute(0, 3, 1, 2))
        return tuple(maps)

    return compute_maps


def why_not_run() -> str:
    """Why a backbone cannot be run here; empty where it can."""
    if importlib.util.find_spec("mmengine") is None:
        return "mmengine is not installed (`pip install onedl-mmengine`)."
    return ""


def _export_backbone(
    format_name: str, source: ExportSource, folder: Path, options: ExportOptions
) -> Manifest:
    """Write `NAME.py`, `NAME_config.py` and `NAME.safetensors`."""
    name = options.name
    path, config, weights = (folder / f"{name}{end}" for end in (".py", _CONFIG, ".safetensors"))
    registered = to_identifier(name)
    doc = wrap_doc(
        [
            f"SMT network {source.arch.key} as a backbone, written by smt-nas {__version__}.",
            "",
            f"`{name}{_CONFIG}` has the config.",
            f"Weights: {source.weights.describe()}.",
        ]
    )
    text = write_code(doc, source.arch, "mm_backbone", NAME=write_text(registered))
    path.write_text(text, encoding="utf-8")
    config.write_text(_write_config(format_name, source, name, registered), encoding="utf-8")
    write_weights(source, weights)
    versions = read_versions("torch", "safetensors", "mmengine", "onedl-mmengine")
    return Manifest(format_name, (path, config, weights), versions=versions)


def _write_config(format_name: str, source: ExportSource, name: str, registered: str) -> str:
    dims = [stage.dim for stage in source.arch.stages]
    prepared = find_image_preparation(source)
    backbone = {
        "_delete_": True,
        "type": registered,
        "out_indices": (0, 1, 2, 3),
        "drop_path_rate": source.arch.drop_path,
        "init_cfg": {
            "type": "Pretrained",
            "checkpoint": f"{{{{ fileDirname }}}}/{name}.safetensors",
        },
    }
    images = {
        "mean": [round(_BYTES * value, 3) for value in prepared.mean],
        "std": [round(_BYTES * value, 3) for value in prepared.std],
        "bgr_to_rgb": source.arch.in_channels == 3,
    }
    takers: dict[str, object] = {"neck": {"in_channels": dims}}
    if format_name == "mmseg":
        takers = {
            "decode_head": {"in_channels": dims},
            "auxiliary_head": {"in_channels": dims[2]},
        }
    doc = [
        f"Config of the backbone in {name}.py, for {format_name}.",
        "",
        _HEADS[format_name],
        f"The folder of {name}.py must be on PYTHONPATH.",
    ]
    model = {"data_preprocessor": images, "backbone": backbone, **takers}
    imports = {"imports": [name], "allow_failed_imports": False}
    return (
        f'"""{wrap_doc(doc)}\n"""\n\n'
        f"custom_imports = {write_literal(imports)}\n\n"
        f"model = {write_literal(model)}\n"
    )
