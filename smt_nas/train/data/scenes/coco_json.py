"""Reading a COCO JSON: images, objects and categories, checked entry by entry.

Format: cocodataset.org/#format-data. A box is x, y, width, height; a segmentation is polygons, or
run lengths, plain or compressed. Objects whose box is less than a pixel wide or high are left out,
as in the published training code.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

from PIL import Image

from smt_nas.errors import TrainingError, one_line
from smt_nas.train.data.scenes.findings import Findings

_LISTS = ("images", "annotations", "categories")
_LEAST_SIDE = 1.0  # px
_LEAST_NUMBERS = 6  # of a polygon: three corners

NOT_ON_DISK = "not on disk, left out with their objects"
NO_IMAGE = "of an image that is not listed, left out"
LEFT_IMAGE = "of an image that is left out"
NO_CATEGORY = "of a category that is not listed, left out"
NO_EXTENT = "with a box of less than a pixel inside the image, left out"
NO_BOX = "without a box of four numbers, left out"
CLIPPED = "with a box beyond the image, clipped"
CROWD = "regions of a crowd, kept for evaluation and not trained on"
NO_MASK = "without a mask"
BAD_MASK = "with a mask that is no polygon and no run lengths of the image, kept without it"
EMPTY = "without objects, kept as background"
TWICE = "of an id that is listed before, left out"
MALFORMED = "that are no entry with an id, left out"


@dataclass(frozen=True)
class CocoImage:
    """One image that is on disk."""

    id: int
    path: Path
    height: int
    width: int


@dataclass(frozen=True)
class CocoObject:
    """One object.

    Attributes:
        id: as numbered in the file.
        box: x1, y1, x2, y2, inside the image.
        label: from 1.
        crowd: a region of many.
        area: pixels, as the file says, else of the box; by it evaluation tells small from large.
        segmentation: polygons or run lengths; None for none.
    """

    id: int
    box: tuple[float, float, float, float]
    label: int
    crowd: bool
    area: float
    segmentation: Any


@dataclass(frozen=True)
class CocoContent:
    """What a file holds, in its order.

    Attributes:
        images: those on disk.
        objects: of each image.
        classes: names by label, from label 1; category ids ascend.
        category_ids: of the same.
        findings: what is not as it should be.
    """

    images: tuple[CocoImage, ...]
    objects: tuple[tuple[CocoObject, ...], ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    findings: Findings


def read_coco(file: Path, folder: Path) -> CocoContent:
    """Read a file of annotations.

    Args:
        file: the JSON.
        folder: its images are in.

    Raises:
        TrainingError: it cannot be read, is not such a file, or leaves no image or category.
    """
    content = _read_json(file)
    findings = Findings()
    names = _read_categories(file, content["categories"], findings)
    labels = {number: label for label, number in enumerate(sorted(names), 1)}
    images, missing = _read_images(file, content["images"], folder, findings)
    objects: dict[int, list[CocoObject]] = {number: [] for number in images}
    for entry, where in _list_entries(content["annotations"], "object", findings):
        owner, category = entry.get("image_id"), entry.get("category_id")
        if owner in missing:
            findings.add("object", LEFT_IMAGE, where)
        elif type(owner) is not int or owner not in images:
            findings.add("object", NO_IMAGE, where)
        elif type(category) is not int or category not in labels:
            findings.add("object", NO_CATEGORY, where)
        else:
            read = _read_object(entry, where, images[owner], labels[category], findings)
            objects[owner] += [] if read is None else [read]
    for number, image in images.items():
        if not objects[number]:
            findings.add("image", EMPTY, image.path.name)
    return CocoContent(
        tuple(images.values()),
        tuple(tuple(each) for each in objects.values()),
        tuple(names[number] for number in labels),
        tuple(labels),
        findings,
    )


def _read_json(file: Path) -> Mapping[str, list[Any]]:
    try:
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise TrainingError(f"{file}: cannot be read ({error.strerror}). Check it.") from error
    except (ValueError, RecursionError) as error:
        raise TrainingError(f"{file}: must be JSON (got: {one_line(error)}). Mend it.") from error
    lacking = [name for name in _LISTS if not _holds_list(content, name)]
    if lacking:
        raise TrainingError(
            f"{file}: must hold the lists {', '.join(_LISTS)} (got none for "
            f"{', '.join(lacking)}). It must be a COCO file of instances."
        )
    lists: Mapping[str, list[Any]] = content
    return lists


def _holds_list(content: Any, name: str) -> bool:
    return isinstance(content, dict) and isinstance(content.get(name), list)


def _list_entries(
    entries: list[Any], noun: str, findings: Findings
) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Entries that have an id of their own, each with a name for users."""
    seen = set()
    for i, entry in enumerate(entries):
        number = entry.get("id") if isinstance(entry, dict) else None
        if type(number) is not int:
            findings.add(noun, MALFORMED, f"entry {i}")
        elif number in seen:
            findings.add(noun, TWICE, f"id {number}")
        else:
            seen.add(number)
            yield entry, f"id {number}"


def _read_categories(file: Path, entries: list[Any], findings: Findings) -> dict[int, str]:
    """Names by id; ids may have gaps and begin anywhere."""
    names = {
        entry["id"]: str(entry.get("name", entry["id"]))
        for entry, _ in _list_entries(entries, "category", findings)
    }
    if not names:
        raise TrainingError(f"{file}: must list a category (got none). Name what the objects are.")
    return names


def _read_images(
    file: Path, entries: list[Any], folder: Path, findings: Findings
) -> tuple[dict[int, CocoImage], set[int]]:
    """Images on disk by id, and the ids of the others."""
    images, missing = {}, set()
    for entry, where in _list_entries(entries, "image", findings):
        name = entry.get("file_name")
        path = folder / name if isinstance(name, str) and name else None
        if path is None or not path.is_file():
            missing.add(entry["id"])
            findings.add("image", NOT_ON_DISK, str(name or where))
            continue
        sides = (entry.get("height", 0), entry.get("width", 0))
        height, width = sides if all(map(_is_side, sides)) else _read_size(path)
        images[entry["id"]] = CocoImage(entry["id"], path, height, width)
    if not images:
        count = findings.count(NOT_ON_DISK)
        raise TrainingError(
            f"{file}: its images must be in {folder} (got none of {count:,}). Put them there."
        )
    return images, missing


def _is_side(value: Any) -> bool:
    return type(value) is int and value > 0


def _read_size(path: Path) -> tuple[int, int]:
    """Height and width, of the file's head. Raises TrainingError."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{path}: must be an image (got: {one_line(error)}). Replace it, or take it off the "
            "list."
        ) from error


def _read_object(
    entry: Mapping[str, Any], where: str, image: CocoImage, label: int, findings: Findings
) -> CocoObject | None:
    """One object with a box inside its image; None where it has none."""
    box = entry.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(map(_is_number, box))):
        findings.add("object", NO_BOX, where)
        return None
    x, y, width, height = map(float, box)
    inside = (max(x, 0.0), max(y, 0.0), min(x + width, image.width), min(y + height, image.height))
    if inside[2] - inside[0] < _LEAST_SIDE or inside[3] - inside[1] < _LEAST_SIDE:
        findings.add("object", NO_EXTENT, where)
        return None
    if inside != (x, y, x + width, y + height):
        findings.add("object", CLIPPED, where)
    crowd = bool(entry.get("iscrowd", 0))
    if crowd:
        findings.add("object", CROWD, where)
    segmentation = _read_segmentation(entry.get("segmentation"), image)
    if segmentation is None:
        kind = BAD_MASK if entry.get("segmentation") else NO_MASK
        findings.add("object", kind, where)
    area = entry.get("area")
    if not (_is_number(area) and area > 0):
        area = (inside[2] - inside[0]) * (inside[3] - inside[1])
    return CocoObject(entry["id"], inside, label, crowd, float(area), segmentation)


def _is_number(value: Any) -> TypeGuard[int | float]:
    return type(value) in (int, float) and math.isfinite(value)


def _read_segmentation(value: Any, image: CocoImage) -> Any:
    """Polygons of three corners or more, or run lengths of the image; None for anything else."""
    if isinstance(value, list):
        return [p for p in value if _is_polygon(p)] or None
    if not isinstance(value, dict) or value.get("size") != [image.height, image.width]:
        return None
    counts = value.get("counts")
    if isinstance(counts, str) and counts.isascii():
        return value
    if not (isinstance(counts, list) and all(type(n) is int and n >= 0 for n in counts)):
        return None
    return value if sum(counts) == image.height * image.width else None


def _is_polygon(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= _LEAST_NUMBERS
        and len(value) % 2 == 0
        and all(map(_is_number, value))
    )
