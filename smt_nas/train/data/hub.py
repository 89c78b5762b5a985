"""Images by Hugging Face's `datasets` (an extra): a name on its hub, or a folder on disk.

Columns are found by what they hold: the first of images, and of class labels the one called
`label`, else the one with the most classes.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from PIL import Image

from smt_nas.errors import TrainingError, list_names, one_line
from smt_nas.fingerprint import fingerprint
from smt_nas.train.data.examples import IntArray, Source
from smt_nas.train.data.folders import make_source
from smt_nas.train.data.split_names import Split, choose_splits


class HubExamples:
    """Images of one split of a `datasets` data set.

    Args:
        rows: a `datasets.Dataset`.
        column: that holds the images.
        labels: (n,).
        title: what the images are called, before `image 17`.
    """

    def __init__(self, rows: Any, column: str, labels: IntArray, title: str) -> None:
        self.rows = rows.select_columns([column])  # the others need not be decoded
        self.column = column
        self.labels = labels
        self.title = title

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, i: int) -> Image.Image:
        """See `Examples`."""
        try:
            image = self.rows[i][self.column]
            if not isinstance(image, Image.Image):
                raise ValueError(f"got {type(image).__name__}, no image")
            image.load()
        except (OSError, ValueError):
            raise
        except Exception as error:  # decoders on anybody's bytes
            raise ValueError(one_line(error)) from error
        return image

    def name(self, i: int) -> str:
        """See `Examples`."""
        return f"{self.title} image {i}"

    def version(self) -> str | None:
        """See `Versioned`; by what `datasets` knows its rows by."""
        known = getattr(self.rows, "_fingerprint", None)
        if known is None:
            return None
        return fingerprint(f"{known} {self.column}".encode() + self.labels.tobytes())


def load_hub(spec: str, place: str) -> Source:
    """Load a data set by `datasets`.

    Args:
        spec: as the user wrote it, `hf:NAME_OR_PATH`.
        place: the name or path.

    Raises:
        TrainingError: `datasets` is not installed or cannot load it, or no image has a label.
    """
    datasets = _import_datasets(spec)
    loaded = _load_dataset(datasets, spec, place)
    splits = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    examples: dict[Split, HubExamples] = {}
    classes: tuple[str, ...] = ()
    used = choose_splits(spec, list(splits))
    for split, name in used.items():
        rows = splits[name]
        image, label, names = _find_columns(datasets, spec, rows.features)
        classes = _check_same_classes(spec, classes, names)
        labels = np.array(rows.select_columns([label])[:][label], np.int64)
        if len(labels) and labels.min() >= 0:  # a hidden test split has -1 everywhere
            examples[split] = HubExamples(rows, image, labels, f"{spec} {name}")
    if not examples:
        raise TrainingError(
            f"{spec}: must have a train, validation or test split with labels (got "
            f"{', '.join(splits) or 'none'}). Name another data set, or save this one with its "
            "splits named so."
        )
    unused = [name for name in splits if name not in used.values()]
    remarks = [f"{spec}: splits that are not used: {list_names(unused)}."] * bool(unused)
    return make_source(spec, classes, examples, remarks)


def _import_datasets(spec: str) -> ModuleType:
    if importlib.util.find_spec("datasets") is None:
        raise TrainingError(
            f"{spec}: needs the package datasets (got none). `pip install 'smt-nas[hf]'`."
        )
    return importlib.import_module("datasets")


def _load_dataset(datasets: ModuleType, spec: str, place: str) -> Any:
    """A `Dataset`, or a mapping of split names to them."""
    path = Path(place).expanduser()
    saved = any((path / name).is_file() for name in ("dataset_dict.json", "state.json"))
    try:
        if saved:
            return datasets.load_from_disk(str(path))
        return datasets.load_dataset(str(path) if path.exists() else place)
    except Exception as error:  # of its readers, its network and its parsers
        raise TrainingError(
            f"{spec}: datasets cannot load it (got: {one_line(error)}). Check the name, or the "
            "network."
        ) from error


def _find_columns(
    datasets: ModuleType, spec: str, features: Mapping[str, Any]
) -> tuple[str, str, tuple[str, ...]]:
    """Column of images, column of labels, names of the classes."""
    images = [name for name, kind in features.items() if isinstance(kind, datasets.Image)]
    labels = [name for name, kind in features.items() if isinstance(kind, datasets.ClassLabel)]
    if not images or not labels:
        raise TrainingError(
            f"{spec}: must have a column of images and one of class labels (got "
            f"{', '.join(features)}). Cast them to datasets.Image and datasets.ClassLabel."
        )
    label = max(labels, key=lambda name: (name == "label", len(features[name].names)))
    return images[0], label, tuple(features[label].names)


def _check_same_classes(
    spec: str, classes: tuple[str, ...], names: tuple[str, ...]
) -> tuple[str, ...]:
    if classes and names != classes:
        raise TrainingError(
            f"{spec}: all splits must have the same classes (got {len(classes)} and {len(names)}, "
            "or others). Name another data set."
        )
    return names
