"""Images that ranges of numbers are fitted to: of the user, prepared as the network was trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from smt_nas.errors import ConfigError, one_line

if TYPE_CHECKING:
    from smt_nas.export.source import ExportSource
    from smt_nas.train.data.batches.transforms import Transform

_MOST = 256  # images: more change ranges no longer


def read_calibration_images(folder: Path, source: ExportSource) -> NDArray[np.float32]:
    """Read images of a folder and those below it, evenly over their sorted names.

    Args:
        folder: of the user.
        source: says how they are prepared; as for ImageNet where the weights do not say.

    Returns: (N, C, H, W), at most 256.

    Raises:
        ConfigError: there are none, or one cannot be read.
        MeasurementError: timm or torchvision is not installed.
    """
    from smt_nas.train.data.batches.transforms import create_evaluation_transform
    from smt_nas.train.data.examples import IMAGENET_MEAN, IMAGENET_STD
    from smt_nas.train.recipe import EvalTransform

    files = list(_choose_files(folder))
    arch = source.arch
    transform = create_evaluation_transform(
        source.transform or EvalTransform(),
        arch.image_size,
        arch.in_channels,
        source.mean or IMAGENET_MEAN,
        source.std or IMAGENET_STD,
    )
    return np.stack([_read_image(file, transform) for file in files])


def _choose_files(folder: Path) -> Iterator[Path]:
    from smt_nas.train.data.file_tree import image_extensions

    known = image_extensions()
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in known and p.is_file())
    if not files:
        raise ConfigError(
            f"--calibrate {folder}: must hold images (got none in it or below). Name a folder of "
            "them."
        )
    step = max(1, len(files) // _MOST)
    yield from files[::step][:_MOST]


def _read_image(file: Path, transform: Transform) -> NDArray[np.float32]:
    from smt_nas.train.data.examples import decode_image

    try:
        return transform(decode_image(file)).numpy()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--calibrate: images must be whole (got {file}: {one_line(error)}). Remove it."
        ) from error
