"""`ade20k:DIR` and `masks:DIR`: images in one folder, a mask of the same name in another.

    ade20k:DIR   DIR/images/training  DIR/annotations/training  and validation; 150 classes from
                 number 1, of which 0 is none
    masks:DIR    DIR/images and DIR/masks (annotations, labels), also with train, val and test in
                 each; numbers from 0, 255 is ignored; names in DIR/classes.txt, one a line

Without `classes.txt` there are as many classes as the masks show. Masks of small data sets are all
read first; those of larger ones as they are needed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

from smt_nas.errors import TrainingError
from smt_nas.train.data.examples import ByteArray, decode_image
from smt_nas.train.data.scenes.findings import Findings
from smt_nas.train.data.scenes.pixel_masks import (
    MOST_CLASSES,
    LabelRule,
    read_numbers,
    survey_masks,
)
from smt_nas.train.data.scenes.scene import SceneSource

_ADE_CLASSES = 150
_MASK_FOLDERS = ("masks", "annotations", "labels")
_SPLITS = {
    **dict.fromkeys(("training", "train"), "train"),
    **dict.fromkeys(("validation", "val"), "validation"),
    "test": "test",
}
_IMAGES = frozenset((".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"))
_SURVEYED = 2000  # masks that are all read first

NO_MASK = "without a mask, left out"
NO_IMAGE = "without an image, left out"

Pairs = list[tuple[Path, Path]]


class PixelScenes:
    """One split of images with a class for every pixel.

    Args:
        pairs: image and mask.
        rule: how the numbers of masks are read.
    """

    def __init__(self, pairs: Pairs, rule: LabelRule) -> None:
        self._pairs = pairs
        self.rule = rule

    def __len__(self) -> int:
        return len(self._pairs)

    def image(self, i: int) -> Image.Image:
        """The whole image. Raises OSError, ValueError: it is damaged."""
        return decode_image(self._pairs[i][0])

    def labels(self, i: int) -> ByteArray:
        """Classes from 0, (H, W), and `IGNORED`.

        Raises:
            OSError: the mask cannot be opened.
            ValueError: it is damaged, has several channels, or is of another size.
        """
        image, mask = self._pairs[i]
        numbers = read_numbers(mask)
        with Image.open(image) as opened:
            size = opened.height, opened.width
        if numbers.shape != size:
            raise ValueError(f"its mask is {_show(numbers.shape)}, the image {_show(size)}")
        return self.rule.apply(numbers)[0]

    def name(self, i: int) -> str:
        """A name to find it by."""
        return str(self._pairs[i][0])


def load_ade20k(spec: str, place: str) -> SceneSource:
    """Read ADE20K's folders.

    Raises:
        TrainingError: they are not there.
    """
    root = Path(place).expanduser()
    names = tuple(f"class {i + 1}" for i in range(_ADE_CLASSES))
    folders = (root / "images", root / "annotations")
    return _load_splits(spec, folders, LabelRule(1, _ADE_CLASSES), names)


def load_masks(spec: str, place: str) -> SceneSource:
    """Read any folder of images with masks.

    Raises:
        TrainingError: it holds no such folders, or more classes than a mask can name.
    """
    root = Path(place).expanduser()
    named = [root / name for name in _MASK_FOLDERS if (root / name).is_dir()]
    masks = named[0] if named else root / _MASK_FOLDERS[0]
    names = _read_names(spec, root / "classes.txt")
    rule = LabelRule(0, len(names) if names else None)
    return _load_splits(spec, (root / "images", masks), rule, names)


def _read_names(spec: str, file: Path) -> tuple[str, ...]:
    """Names of classes, one a line; none where there is no such file."""
    if not file.is_file():
        return ()
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{spec}: {file.name} must be text (got: {error}). Mend it.") from error
    names = tuple(line.strip() for line in lines if line.strip())
    if not 0 < len(names) <= MOST_CLASSES:
        raise TrainingError(
            f"{spec}: {file.name} must name 1 to {MOST_CLASSES} classes, one a line (got "
            f"{len(names)}). Mend it, or leave it out."
        )
    return names


def _load_splits(
    spec: str, folders: tuple[Path, Path], rule: LabelRule, names: tuple[str, ...]
) -> SceneSource:
    images, masks = folders
    if not (images.is_dir() and masks.is_dir()):
        lacking = next(folder for folder in folders if not folder.is_dir())
        raise TrainingError(
            f"{spec}: must hold the folders {images.name} and {masks.name} (got no {lacking}). "
            "Check the folder."
        )
    names_on_disk = [name for name in _SPLITS if (images / name).is_dir()]
    places = {_SPLITS[name]: (images / name, masks / name) for name in reversed(names_on_disk)}
    remarks: list[str] = []
    kept: dict[str, Pairs] = {}
    classes = len(names)
    for split, (image_folder, mask_folder) in (places or {"train": folders}).items():
        pairs, findings = _pair_files(image_folder, mask_folder)
        remarks += findings.lines(f"{spec} {split}")
        if not names or len(pairs) <= _SURVEYED:
            pairs, highest, findings = survey_masks(pairs, rule)
            remarks += findings.lines(f"{spec} {split}")
            classes = max(classes, highest)
        if not pairs:
            raise TrainingError(
                f"{spec}: {split} must hold images with masks (got none in {image_folder} and "
                f"{mask_folder}). A mask is a PNG of the image's name."
            )
        kept[split] = pairs
    counted = LabelRule(rule.first, classes)
    splits: dict[str, Any] = {split: PixelScenes(pairs, counted) for split, pairs in kept.items()}
    shown = names or tuple(f"class {i}" for i in range(classes))
    return SceneSource(spec, shown, splits, tuple(remarks))


def _pair_files(images: Path, masks: Path) -> tuple[Pairs, Findings]:
    """Images and masks of the same name, and those that are alone."""
    findings = Findings()
    by_stem = {path.stem: path for path in _list_files(masks, frozenset((".png",)))}
    pairs = []
    for image in _list_files(images, _IMAGES):
        mask = by_stem.pop(image.stem, None)
        if mask is None:
            findings.add("image", NO_MASK, image.name)
        else:
            pairs.append((image, mask))
    for mask in by_stem.values():
        findings.add("mask", NO_IMAGE, mask.name)
    return pairs, findings


def _list_files(folder: Path, endings: frozenset[str]) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.suffix.lower() in endings)
    return sorted(path for path in files if not path.name.startswith(".") and path.is_file())


def _show(size: tuple[int, ...]) -> str:
    return "x".join(map(str, size))
