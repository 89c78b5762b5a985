"""`coco:DIR`: COCO's own folders, or any folder with a COCO JSON.

    DIR/annotations/instances_train2017.json  instances_val2017.json  DIR/train2017  DIR/val2017
    DIR/annotations.json                      DIR/images

The images of a split lie in DIR/SPLIT, DIR/images/SPLIT or DIR/images. Labels are 1 to n in the
order of the category ids, which may have gaps; `category_ids` leads back.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smt_nas.errors import TrainingError, list_names
from smt_nas.runtime.imports import import_optional
from smt_nas.train.data.examples import ByteArray, decode_image
from smt_nas.train.data.scenes.coco_json import CocoContent, CocoObject, read_coco
from smt_nas.train.data.scenes.scene import SceneObjects, SceneSource

_PREFIX, _PLAIN = "instances_", "annotations.json"
_PURPOSES = {"train": "train", "val": "validation", "test": "test"}
_WAY_OUT = "pip install 'smt-nas[detect]'."


class CocoScenes:
    """One split of a COCO file.

    Args:
        content: of the file.
        file: where it is, for evaluation.

    Attributes:
        classes: names by label, from label 1.
        category_ids: of the same.
        image_ids: of the images, in their order.
    """

    def __init__(self, content: CocoContent, file: Path) -> None:
        self.file = file
        self.classes = content.classes
        self.category_ids = content.category_ids
        self.image_ids = tuple(image.id for image in content.images)
        self._images = content.images
        self._objects = content.objects

    def __len__(self) -> int:
        return len(self._images)

    def image(self, i: int) -> Image.Image:
        """See `Scenes`."""
        known = self._images[i]
        image = decode_image(known.path)
        if (image.height, image.width) != (known.height, known.width):
            raise ValueError(
                f"it is {image.height}x{image.width} and {known.height}x{known.width} in "
                f"{self.file.name}"
            )
        return image

    def objects(self, i: int) -> SceneObjects:
        """See `Scenes`."""
        objects = self._objects[i]
        return SceneObjects(
            boxes=np.array([o.box for o in objects], np.float64).reshape(-1, 4),
            labels=np.array([o.label for o in objects], np.int64),
            crowd=np.array([o.crowd for o in objects], np.bool_),
            has_mask=np.array([o.segmentation is not None for o in objects], np.bool_),
            ids=np.array([o.id for o in objects], np.int64),
        )

    def masks(self, i: int) -> ByteArray:
        """See `Scenes`. Raises MeasurementError: pycocotools is not installed."""
        image, objects = self._images[i], self._objects[i]
        masks = np.zeros((len(objects), image.height, image.width), np.uint8)
        for mask, each in zip(masks, objects, strict=True):
            if each.segmentation is not None:
                mask[:] = decode_mask(each, image.height, image.width)
        return masks

    def name(self, i: int) -> str:
        """See `Scenes`."""
        return str(self._images[i].path)

    def size(self, i: int) -> tuple[int, int]:
        """Height and width of an image."""
        return self._images[i].height, self._images[i].width

    def entries(self, i: int) -> tuple[CocoObject, ...]:
        """Its objects as they were read."""
        return self._objects[i]


def encode_segmentation(value: Any, height: int, width: int) -> dict[str, Any]:
    """Polygons or run lengths as COCO's compressed run lengths.

    Raises:
        MeasurementError: pycocotools is not installed.
    """
    coco = import_coco("mask")
    if isinstance(value, list):
        encoded: dict[str, Any] = coco.merge(coco.frPyObjects(value, height, width))
    elif isinstance(value["counts"], list):
        encoded = coco.frPyObjects(value, height, width)
    else:
        encoded = {"size": value["size"], "counts": value["counts"].encode("ascii")}
    return encoded


def import_coco(module: str) -> Any:
    """A module of pycocotools. Raises MeasurementError: it is not installed."""
    return import_optional(f"pycocotools.{module}", _WAY_OUT, "coco")


def decode_mask(each: CocoObject, height: int, width: int) -> ByteArray:
    """The mask of an object that has one, (H, W) of 0 and 1, as COCO's own code draws it.

    Raises:
        MeasurementError: pycocotools is not installed.
        ValueError: run lengths that are damaged.
    """
    coco = import_coco("mask")
    encoded = encode_segmentation(each.segmentation, height, width)
    with warnings.catch_warnings():  # pycocotools 2.0.11 beside numpy 2, at every call
        warnings.simplefilter("ignore", DeprecationWarning)
        mask: ByteArray = coco.decode(encoded)
    return mask


def load_coco(spec: str, place: str) -> SceneSource:
    """Read the splits of a folder.

    Args:
        spec: as the user wrote it, for errors.
        place: the folder.

    Raises:
        TrainingError: it holds no such files, or its splits differ in their categories.
    """
    root = Path(place).expanduser()
    splits: dict[str, Any] = {}
    remarks: list[str] = []
    for name, file in _find_files(spec, root):
        purpose = _PURPOSES[_find_purpose(name)]
        if purpose in splits:
            taken = splits[purpose].file.name
            remarks.append(f"{spec}: {file.name} is not used; {taken} is of the same split.")
            continue
        content = read_coco(file, _find_images(root, name))
        splits[purpose] = CocoScenes(content, file)
        remarks += content.findings.lines(f"{spec} {file.name}")
    _check_categories(spec, list(splits.values()))
    classes = next(iter(splits.values())).classes
    return SceneSource(spec, classes, splits, tuple(remarks))


def _find_files(spec: str, root: Path) -> list[tuple[str, Path]]:
    """Files of annotations, each with the name of its split."""
    plain = root / _PLAIN
    if plain.is_file():
        return [("train", plain)]
    files = sorted((root / "annotations").glob(f"{_PREFIX}*.json"))
    named = [(file.stem.removeprefix(_PREFIX), file) for file in files]
    named = [(name, file) for name, file in named if _find_purpose(name)]
    if not named:
        raise TrainingError(
            f"{spec}: must hold annotations/{_PREFIX}train*.json, or {_PLAIN} beside images (got "
            f"neither in {root}). Check the folder."
        )
    return named


def _find_purpose(name: str) -> str:
    """`train` of `train2017`; empty for any other word."""
    return next((word for word in _PURPOSES if name.startswith(word)), "")


def _find_images(root: Path, name: str) -> Path:
    folders = (root / name, root / "images" / name, root / "images")
    return next((folder for folder in folders if folder.is_dir()), root)


def _check_categories(spec: str, splits: list[CocoScenes]) -> None:
    """Refuse splits whose labels would not mean the same."""
    first = splits[0]
    for other in splits[1:]:
        if (other.classes, other.category_ids) != (first.classes, first.category_ids):
            different = sorted(set(first.classes) ^ set(other.classes)) or ["their ids"]
            raise TrainingError(
                f"{spec}: {first.file.name} and {other.file.name} must list the same categories "
                f"(got different {list_names(different)}). Give both the same list."
            )
