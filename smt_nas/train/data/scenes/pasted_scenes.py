"""Scenes of small pictures pasted on noise, for tests and first tries: real pixels, exact masks.

A folder holds both layouts, so `coco:DIR` and `masks:DIR` read the same scenes:

    annotations/instances_train.json  instances_val.json
    images/train  images/val          PNG
    masks/train   masks/val           PNG; 0 is background, class k is k
    classes.txt

Scenes to train on show pictures of the training split, the others of the test split.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from smt_nas.errors import TrainingError
from smt_nas.files import write_atomic
from smt_nas.train.data.examples import ByteArray, Examples, Source

_SPLITS = ("train", "val")
_SEEN = 40  # grey value from which a pixel is of the thing
_LEAST_VISIBLE = 16  # pixels of an object that is listed
_NOISE = (0, 90)
_BRIGHT = (120, 256)


@dataclass(frozen=True)
class PastedScenes:
    """What is drawn.

    Attributes:
        size: pixels a side of a scene.
        items: fewest and most things in it.
        sides: smallest and largest thing, in pixels.
        seed: scene i of a split depends on it and on i alone.
    """

    size: int = 128
    items: tuple[int, int] = (1, 4)
    sides: tuple[int, int] = (20, 64)
    seed: int = 0


@dataclass(frozen=True)
class _Scene:
    """One scene: its pixels (H, W, 3), and for each pixel the number of its thing, from 1."""

    pixels: ByteArray
    owners: ByteArray
    labels: list[int]


def write_pasted_scenes(
    source: Source, folder: Path, train: int, validation: int, how: PastedScenes | None = None
) -> None:
    """Draw scenes and write them.

    Args:
        source: of grey pictures on black, e.g. Fashion-MNIST.
        folder: where to; it must not exist, or be empty.
        train: scenes to train on.
        validation: scenes to judge by.
        how: sizes and seed.

    Raises:
        TrainingError: the source has no test split, or the folder is not empty.
    """
    if source.train is None or source.test is None:
        raise TrainingError(
            f"{source.spec}: must have a training and a test split (got one). Things of scenes "
            "to judge by must be others than those trained on."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise TrainingError(f"{folder}: must be a new or empty folder (got another). Name one.")
    how = PastedScenes() if how is None else how
    parts = (source.train, train), (source.test, validation)
    for number, (split, (examples, count)) in enumerate(zip(_SPLITS, parts, strict=True)):
        scenes = (_draw_scene(examples, how, (number, i)) for i in range(count))
        _write_split(folder, split, scenes, source.classes)
    write_atomic(folder / "classes.txt", "\n".join(["background", *source.classes]) + "\n")


def _draw_scene(examples: Examples, how: PastedScenes, number: tuple[int, int]) -> _Scene:
    """Things one over the other, each of one colour, on noise."""
    rng = np.random.default_rng([how.seed, *number])
    pixels = rng.integers(*_NOISE, (how.size, how.size, 3), dtype=np.uint8)
    owners = np.zeros((how.size, how.size), np.uint8)
    labels = []
    for thing in range(1, int(rng.integers(how.items[0], how.items[1] + 1)) + 1):
        picked = int(rng.integers(len(examples)))
        side = int(rng.integers(how.sides[0], min(how.sides[1], how.size) + 1))
        x, y = (int(v) for v in rng.integers(0, how.size - side + 1, 2))
        grey = np.asarray(
            examples.image(picked).convert("L").resize((side, side), Image.Resampling.BILINEAR)
        )
        colour = rng.integers(*_BRIGHT, 3)
        seen = grey >= _SEEN
        painted = (grey[..., None] * colour // 255).astype(np.uint8)
        place = slice(y, y + side), slice(x, x + side)
        pixels[place][seen] = painted[seen]
        owners[place][seen] = thing
        labels.append(int(examples.labels[picked]) + 1)
    return _Scene(pixels, owners, labels)


def _write_split(
    folder: Path, split: str, scenes: Iterator[_Scene], classes: tuple[str, ...]
) -> None:
    for kind in ("images", "masks"):
        (folder / kind / split).mkdir(parents=True, exist_ok=True)
    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, 1):
        name = f"{number:06d}.png"
        Image.fromarray(scene.pixels).save(folder / "images" / split / name)
        numbers = np.array([0, *scene.labels], np.uint8)[scene.owners]
        Image.fromarray(numbers).save(folder / "masks" / split / name)
        height, width = scene.owners.shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for fields in _list_objects(scene):
            objects.append({"id": len(objects) + 1, "image_id": number, **fields})
    categories = [{"id": i, "name": name} for i, name in enumerate(classes, 1)]
    content = {"images": images, "annotations": objects, "categories": categories}
    file = folder / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(exist_ok=True)
    write_atomic(file, json.dumps(content))


def _list_objects(scene: _Scene) -> Iterator[dict[str, Any]]:
    """What of each thing is not covered, where that is enough to be seen."""
    for thing, label in enumerate(scene.labels, 1):
        mask = scene.owners == thing
        area = int(mask.sum())
        if area < _LEAST_VISIBLE:
            continue
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y = int(columns[0]), int(rows[0])
        yield {
            "category_id": label,
            "bbox": [x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y],
            "area": area,
            "iscrowd": 0,
            "segmentation": {"size": list(mask.shape), "counts": list_run_lengths(mask)},
        }


def list_run_lengths(mask: np.ndarray) -> list[int]:
    """COCO's plain run lengths of a mask (H, W): column by column, zeros first."""
    flat = np.concatenate([[0], mask.T.reshape(-1).astype(np.int8)])
    changes = np.flatnonzero(np.diff(flat))
    ends = np.concatenate([[0], changes, [mask.size]])
    lengths: list[int] = np.diff(ends).tolist()
    return lengths
