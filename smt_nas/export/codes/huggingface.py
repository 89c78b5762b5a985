"""A network as a folder for transformers: `AutoModelForImageClassification.from_pretrained`.

The config's class stands in the file of the model. With a file of its own, transformers 5.24 runs
for a second folder of the same name the model code of the first.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smt_nas import __version__
from smt_nas.errors import ExportError
from smt_nas.export.codes.code_text import describe_stage, write_code, write_module
from smt_nas.export.codes.image_preparation import ImagePreparation, find_image_preparation
from smt_nas.export.codes.model_card import write_model_card
from smt_nas.export.codes.weights_file import write_weights
from smt_nas.export.exporter import ExportOptions
from smt_nas.export.manifest import Manifest, read_versions
from smt_nas.export.verification import difference

if TYPE_CHECKING:
    from torch import Tensor

    from smt_nas.export.source import ExportSource

_CODE, _IMAGES = "modeling_smt", "image_processing_smt"  # names that transformers' own users know
_WEIGHTS = "model.safetensors"
_CHANNELS = (1, 3)  # grey, RGB
_RESAMPLE = {"nearest": 0, "bilinear": 2, "bicubic": 3}  # Pillow's numbers
_EXAMPLE = (97, 61)  # pixels, not square: of the odd margin half a pixel is to be rounded
_TOLERANCE = 1e-6


def export_hf(source: ExportSource, folder: Path, options: ExportOptions) -> Manifest:
    """Write config, weights, code, image processor and model card."""
    texts = {
        "config.json": _to_json(_describe_config(source)),
        f"{_CODE}.py": write_code(
            f"SMT for transformers, written by smt-nas {__version__}.", None, "hf_model"
        ),
        "README.md": write_model_card(source, options.name),
    }
    has_images = source.arch.in_channels in _CHANNELS
    if has_images:
        prepared = find_image_preparation(source)
        texts["preprocessor_config.json"] = _to_json(_describe_images(prepared))
        doc = f"Images of an SMT for transformers, written by smt-nas {__version__}."
        texts[f"{_IMAGES}.py"] = write_module(doc, "hf_images")
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_weights(source, folder / _WEIGHTS)
    files = tuple(folder / name for name in [*texts, _WEIGHTS])
    versions = read_versions("torch", "transformers", "safetensors")
    if not has_images:
        note = f"There is no image processor for {source.arch.in_channels} channels."
        return Manifest("hf", files, versions=versions, notes=(note,))
    figures = {"image_processor_difference": _compare_images(prepared, folder)}
    return Manifest("hf", files, versions=versions, figures=figures)


def load_hf(manifest: Manifest) -> Callable[[Tensor], Tensor]:
    """Load the folder as users do, without the network."""
    folder = manifest.files[0].parent
    with _own_modules() as library:
        model = library.AutoModelForImageClassification.from_pretrained(
            folder, trust_remote_code=True, local_files_only=True
        )
    return lambda images: model(images).logits


def _describe_config(source: ExportSource) -> dict[str, object]:
    arch = source.arch
    labels: dict[str, object] = {"num_labels": arch.num_classes}
    if source.classes:
        labels = {
            "id2label": {str(i): name for i, name in enumerate(source.classes)},
            "label2id": {name: i for i, name in enumerate(source.classes)},
        }
    return {
        "architectures": ["SMTForImageClassification"],
        "model_type": "smt_nas",
        "auto_map": {
            "AutoConfig": f"{_CODE}.SMTConfig",
            "AutoModelForImageClassification": f"{_CODE}.SMTForImageClassification",
        },
        "dtype": "float32",
        "image_size": arch.image_size,
        "num_channels": arch.in_channels,
        "stem_kernel": arch.stem.kernel,
        "stem_stride": arch.stem.stride,
        "layer_scale": arch.layer_scale,
        "drop_path_rate": arch.drop_path,
        "stages": [describe_stage(stage) for stage in arch.stages],
        **labels,
    }


def _describe_images(prepared: ImagePreparation) -> dict[str, object]:
    """For our image processor; for the library's own where remote code is not trusted.

    Its ViTImageProcessor ignores `crop_pct`, so resizing and cropping are told apart.
    """
    square = {"height": prepared.size, "width": prepared.size}
    center = prepared.transform.resize == "center"
    is_rgb = len(prepared.mean) != 1
    fallback = {"image_processor_type": "CLIPImageProcessor"} if is_rgb else {}
    return {
        **fallback,
        "auto_map": {"AutoImageProcessor": f"{_IMAGES}.SMTImageProcessor"},
        "do_convert_rgb": is_rgb,
        "do_resize": True,
        "size": {"shortest_edge": prepared.resized_to} if center else square,
        "resample": _RESAMPLE[prepared.transform.interpolation],
        "do_center_crop": center,
        "crop_size": square,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": prepared.mean,
        "image_std": prepared.std,
    }


def _compare_images(prepared: ImagePreparation, folder: Path) -> float:
    """Run the image processor beside the training's own transform on an image.

    Returns: the largest difference.
    """
    import numpy as np
    import torch
    from PIL import Image

    from smt_nas.train.data.batches.transforms import create_evaluation_transform

    channels = len(prepared.mean)
    width, height = _EXAMPLE
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    own = create_evaluation_transform(
        prepared.transform, prepared.size, channels, prepared.mean, prepared.std
    )
    with _own_modules() as library:
        processor = library.AutoImageProcessor.from_pretrained(
            folder, trust_remote_code=True, local_files_only=True
        )
    theirs = processor(image, return_tensors="pt")["pixel_values"]
    largest = difference([torch.stack([own(image)])], [theirs], "largest")
    if not largest <= _TOLERANCE:
        raise ExportError(
            f"--format hf: its image processor must prepare images as the training did (got a "
            f"difference of {largest:.2g}). Use --format python with transforms of your own."
        )
    return largest


@contextlib.contextmanager
def _own_modules() -> Iterator[Any]:
    """transformers, with a folder of ours for the code it copies, gone afterwards.

    Otherwise the code of every export would stay in the user's cache, under the name of a hidden
    folder.
    """
    from smt_nas.runtime.torchvision_ops import import_torchvision

    import_torchvision()  # which transformers imports too
    import transformers
    from transformers import dynamic_module_utils as modules

    bars = transformers.utils.logging
    shows_bars = bars.is_progress_bar_enabled()
    usual, known = modules.HF_MODULES_CACHE, set(sys.modules)
    with tempfile.TemporaryDirectory() as folder:
        modules.HF_MODULES_CACHE = folder
        bars.disable_progress_bar()
        try:
            yield transformers
        finally:
            modules.HF_MODULES_CACHE = usual
            if shows_bars:
                bars.enable_progress_bar()
            sys.path[:] = [path for path in sys.path if path != folder]
            for name in set(sys.modules) - known:
                if name.startswith("transformers_modules"):
                    del sys.modules[name]


def _to_json(values: object) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
