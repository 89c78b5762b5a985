"""Images in Parquet files, in the layout of Hugging Face's `datasets`, read by pyarrow (an extra).

PATH/train-00000-of-00002.parquet  PATH/validation-*.parquet  PATH/test-*.parquet
PATH/data/train-*.parquet          as on the hub
PATH.parquet                       one file, the split that its name says, else for training

A column holds images, as the bytes of JPEG or PNG files, and one holds class labels. Which ones,
and the names of the classes, stand in the schema's metadata under `huggingface`
(https://huggingface.co/docs/datasets/about_dataset_features); without it, the columns are found by
their names, and the names of the classes are their numbers. An image is decoded when asked for.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import psutil
from PIL import Image

from smt_nas.errors import TrainingError, list_names, one_line
from smt_nas.fingerprint import fingerprint
from smt_nas.train.data.examples import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    ByteArray,
    IntArray,
    Source,
    compute_statistics,
    decode_image,
)
from smt_nas.train.data.folders import make_source
from smt_nas.train.data.split_names import Split, choose_splits

SUFFIX = ".parquet"

_SHARD = re.compile(r"-(?P<number>\d+)-of-(?P<count>\d+)$")
_IMAGE_NAMES, _LABEL_NAMES = ("image", "img"), ("label", "labels", "fine_label")
_MEASURED = 1000  # images of which the mean and deviation are taken
_SMALL = 96  # pixels a side; of larger images ImageNet's mean and deviation are taken
_MEMORY_SHARE = 0.25  # of what is free, that the images of a split may take, as they are copied


@dataclass(frozen=True)
class _Columns:
    """Where a file holds what.

    Attributes:
        image: path of the column of bytes, e.g. `image.bytes`.
        label: the column of labels.
        classes: their names; () where the file does not say.
    """

    image: str
    label: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class _Shard:
    """A file of a split, as it was when it was looked at."""

    path: str
    size: int
    changed_ns: int


class ParquetExamples:
    """Images of one split.

    Args:
        shards: its files, in their order.
        column: that holds the images.
        labels: (n,).
        title: what the images are called, before `image 17`.
    """

    def __init__(
        self, shards: tuple[_Shard, ...], column: str, labels: IntArray, title: str
    ) -> None:
        self.shards = shards
        self.column = column
        self.labels = labels
        self.title = title

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, i: int) -> Image.Image:
        """See `Examples`.

        Raises:
            TrainingError: the files can no longer be read.
        """
        content, bounds = _read_files(self.shards, self.column)
        if len(bounds) != len(self) + 1:
            raise TrainingError(
                f"{self.title}: must have the rows that it began with (got {len(bounds) - 1}, then "
                f"{len(self)}). Put the files back."
            )
        start, end = bounds[i : i + 2].tolist()
        if start == end:
            raise ValueError("its row holds no bytes")
        return decode_image(io.BytesIO(content[start:end].tobytes()))

    def name(self, i: int) -> str:
        """See `Examples`."""
        return f"{self.title} image {i}"

    def version(self) -> str:
        """See `Versioned`."""
        return fingerprint(f"{self.shards} {self.column}".encode() + self.labels.tobytes())


def holds_parquet(path: Path) -> bool:
    """Whether a path given without a kind is a Parquet file, or a folder of them."""
    return path.suffix == SUFFIX if path.is_file() else any(path.glob(f"*{SUFFIX}"))


def load_parquet(spec: str, place: str) -> Source:
    """Find the splits of Parquet files and read their labels.

    Args:
        spec: as the user wrote it, `parquet:PATH`.
        place: the path.

    Raises:
        TrainingError: pyarrow is not installed; a file or a column is missing, damaged or of
            another layout than the others; labels are no indices of classes.
    """
    parquet = _import_parquet(spec)
    path = Path(place).expanduser()
    files, unused = _find_splits(path)
    columns = _read_columns(parquet, [file for split in files.values() for file in split])
    labels = {
        split: np.concatenate([_read_labels(parquet, file, columns) for file in own])
        for split, own in files.items()
    }
    remarks = [f"{path}: splits that are not used: {list_names(unused)}."] * bool(unused)
    for split in [split for split in labels if split != "train" and (labels[split] < 0).all()]:
        del labels[split]
        remarks.append(f"{path}: the {split} split is not used, as its labels are hidden (-1).")
    classes = _check_labels(path, labels, columns.classes)
    examples = {
        split: ParquetExamples(
            tuple(map(_stamp, files[split])), columns.image, own, f"{path} {split}"
        )
        for split, own in labels.items()
    }
    source = make_source(spec, classes, examples, remarks)
    if "train" not in examples:
        return source
    mean, std = _measure(examples["train"])
    return replace(source, mean=mean, std=std)


def _import_parquet(spec: str) -> ModuleType:
    if importlib.util.find_spec("pyarrow") is None:
        raise TrainingError(
            f"{spec}: needs the package pyarrow (got none). `pip install 'smt-nas[parquet]'`."
        )
    return importlib.import_module("pyarrow.parquet")


def _find_splits(path: Path) -> tuple[dict[Split, list[Path]], list[str]]:
    """Files of each split in the order of their names, and words for what is not used."""
    if not path.exists():
        raise TrainingError(
            f"{path}: must be a Parquet file or a folder of them (got no such file)."
        )
    files = [path] if path.is_file() else _list_files(path)
    if not files or files[0].suffix != SUFFIX:
        raise TrainingError(
            f"{path}: must be a {SUFFIX} file or a folder of them (got none). Name the folder of "
            f"train-*{SUFFIX}."
        )
    by_name: dict[str, list[Path]] = {}
    for file in files:
        by_name.setdefault(_SHARD.sub("", file.stem), []).append(file)
    chosen = choose_splits(str(path), list(by_name))
    if not chosen:
        return {"train": files}, []
    if path.is_dir():  # a file that is named alone is wanted alone
        for name in chosen.values():
            _check_shards(path, name, by_name[name])
    unused = [name for name in by_name if name not in chosen.values()]
    return {split: by_name[name] for split, name in chosen.items()}, unused


def _list_files(folder: Path) -> list[Path]:
    for place in (folder, folder / "data"):
        files = sorted(p for p in place.glob(f"*{SUFFIX}") if not p.name.startswith("."))
        if files:
            return files
    return []


def _check_shards(path: Path, name: str, files: Sequence[Path]) -> None:
    """Refuse a split of which a file is missing, as its name says how many there are."""
    counts = {int(m["count"]) for file in files if (m := _SHARD.search(file.stem))}
    if counts and (len(counts) > 1 or counts != {len(files)}):
        raise TrainingError(
            f"{path}: must hold every file of {name} (got {len(files)}, by their names there are "
            f"{max(counts)}). Fetch the others, or remove those of another version."
        )


def _stamp(file: Path) -> _Shard:
    try:
        stat = file.stat()
    except OSError as error:
        raise _explain_unreadable(file, error) from error
    return _Shard(str(file), stat.st_size, stat.st_mtime_ns)


def _explain_unreadable(file: Path | str, error: Exception) -> TrainingError:
    reason = one_line(error).rstrip(".")
    return TrainingError(
        f"{file}: must be a whole Parquet file (got: {reason}). Fetch or write it anew."
    )


def _read_columns(parquet: ModuleType, files: Iterable[Path]) -> _Columns:
    """The columns, which must be the same in all files."""
    columns = {file: _find_columns(parquet, file) for file in files}
    first, own = next(iter(columns.items()))
    for file, other in columns.items():
        if other != own:
            ours, theirs = (f"{c.image}, {c.label}, {len(c.classes)} classes" for c in (own, other))
            same = " by other names" if ours == theirs else ""
            raise TrainingError(
                f"{file}: must have the columns and classes of {first.name} (got {theirs}{same}; "
                f"there {ours}). Keep files of one data set together."
            )
    return own


def _find_columns(parquet: ModuleType, file: Path) -> _Columns:
    try:
        schema = parquet.read_schema(file)
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise _explain_unreadable(file, error) from error
    features = _read_features(schema.metadata or {})
    images = [name for name in _of_type(features, "Image", _IMAGE_NAMES) if name in schema.names]
    labels = [
        name for name in _of_type(features, "ClassLabel", _LABEL_NAMES) if name in schema.names
    ]
    paths = [path for name in images if (path := _find_bytes(schema, name)) is not None]
    if not paths or not labels:
        lacking = [] if paths else ["image.bytes"]
        lacking += [] if labels else ["label"]
        raise TrainingError(
            f"{file}: must have a column of images, image.bytes, and one of labels, label (got no "
            f"{' and no '.join(lacking)}; its columns: {list_names(schema.names, 8) or 'none'}). "
            "Write it by Hugging Face's datasets with features Image and ClassLabel."
        )
    label = max(labels, key=lambda name: (name == "label", len(_class_names(features, name))))
    kind = schema.field(label).type
    if not str(kind).startswith(("int", "uint")):
        raise TrainingError(
            f"{file}: column {label} must hold whole numbers, indices of classes (got {kind}). "
            "Write it with a feature ClassLabel."
        )
    return _Columns(paths[0], label, _class_names(features, label))


def _read_features(metadata: Mapping[bytes, bytes]) -> Mapping[str, Any]:
    """What the metadata say of the columns; nothing where they do not."""
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _of_type(features: Mapping[str, Any], kind: str, usual: Sequence[str]) -> Sequence[str]:
    """Columns of a type; where the metadata name none, those of usual names."""
    named = [name for name, f in features.items() if isinstance(f, dict) and f.get("_type") == kind]
    return named or usual


def _class_names(features: Mapping[str, Any], label: str) -> tuple[str, ...]:
    feature = features.get(label)
    names = feature.get("names") if isinstance(feature, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _find_bytes(schema: Any, name: str) -> str | None:
    """Path of the column of bytes; None where the column holds none."""
    kind = schema.field(name).type
    inner = {kind.field(i).name: kind.field(i).type for i in range(kind.num_fields)}
    if str(kind) in ("binary", "large_binary"):
        return name
    return f"{name}.bytes" if str(inner.get("bytes")) in ("binary", "large_binary") else None


def _read_labels(parquet: ModuleType, file: Path, columns: _Columns) -> IntArray:
    try:
        column = parquet.ParquetFile(file).read([columns.label], use_threads=False).column(0)
    except (OSError, ValueError) as error:
        raise _explain_unreadable(file, error) from error
    if not len(column):
        raise TrainingError(f"{file}: must hold images (got no row). Remove it, or write it anew.")
    if column.null_count:
        raise TrainingError(
            f"{file}: every row must have a label (got {column.null_count} without). Remove them."
        )
    labels: IntArray = column.to_numpy().astype(np.int64)
    return labels


def _check_labels(
    path: Path, labels: Mapping[Split, IntArray], names: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of the classes, where all labels are indices of them."""
    if not labels:
        raise TrainingError(
            f"{path}: must have a split with labels (got hidden ones, -1, only). Name another."
        )
    first = labels.get("train", next(iter(labels.values())))
    classes = names or tuple(str(i) for i in range(max(int(first.max()) + 1, 1)))
    for split, own in labels.items():
        wrong = own[(own < 0) | (own >= len(classes))]
        if len(wrong):
            hidden = " -1 stands for a hidden one." if (wrong == -1).all() else ""
            raise TrainingError(
                f"{path}: labels of the {split} split must be from 0 to {len(classes) - 1} (got "
                f"{wrong[0]}, in {len(wrong)} of {len(own)} rows). Remove these rows.{hidden}"
            )
    return classes


@functools.lru_cache(maxsize=2)  # a training and a test split; every training opens its data anew
def _read_files(shards: tuple[_Shard, ...], column: str) -> tuple[ByteArray, IntArray]:
    """The bytes of all images one after the other, and where each begins, (n + 1,).

    Raises:
        TrainingError: they do not fit memory, or cannot be read.
    """
    parquet = importlib.import_module("pyarrow.parquet")
    contents, lengths = list[ByteArray](), list[IntArray]()
    _check_memory(parquet, shards, column)
    for shard in shards:
        try:
            file = parquet.ParquetFile(shard.path)
            read = file.read([column], use_threads=False).column(0)  # no thread outlives a fork
        except (OSError, ValueError) as error:
            raise _explain_unreadable(shard.path, error) from error
        for chunk in read.chunks:
            content, sizes = _to_arrays(chunk)
            contents.append(content)
            lengths.append(sizes)
    return np.concatenate(contents), np.cumsum(np.concatenate([[0], *lengths]), dtype=np.int64)


def _to_arrays(chunk: Any) -> tuple[ByteArray, IntArray]:
    """Bytes of a chunk of images, and the number of each; 0 where a row holds none."""
    values = chunk.field("bytes") if chunk.type.num_fields else chunk
    rows = [b"" if row is None else row for row in values.to_pylist()]
    joined = np.frombuffer(b"".join(rows), np.uint8)
    return joined, np.array([len(row) for row in rows], np.int64)


def _check_memory(parquet: ModuleType, shards: Sequence[_Shard], column: str) -> None:
    """Refuse a split that is too large, before anything of it is read."""
    size = sum(_count_bytes(parquet, shard, column) for shard in shards)
    free = psutil.virtual_memory().available
    if size > _MEMORY_SHARE * free:
        raise TrainingError(
            f"{shards[0].path}: images of its split must fit a quarter of the free memory (got "
            f"{size / 1e9:.1f} GB, {free / 1e9:.1f} GB are free). Unpack them into folders of "
            "classes."
        )


def _count_bytes(parquet: ModuleType, shard: _Shard, column: str) -> int:
    try:
        metadata = parquet.read_metadata(shard.path)
    except (OSError, ValueError) as error:
        raise _explain_unreadable(shard.path, error) from error
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    parts = (group.column(i) for group in groups for i in range(group.num_columns))
    return sum(int(p.total_uncompressed_size) for p in parts if p.path_in_schema == column)


def _measure(examples: ParquetExamples) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of small images, from up to 1,000 of them; else those of ImageNet."""
    n = len(examples)
    pixels, grey = list[ByteArray](), True
    for i in np.unique(np.linspace(0, n - 1, min(n, _MEASURED)).astype(int)).tolist():
        try:
            image = examples.image(i)
        except (OSError, ValueError):  # counted where it is trained on
            continue
        if max(image.size) > _SMALL:
            return IMAGENET_MEAN, IMAGENET_STD
        grey = grey and image.mode in ("1", "L")
        pixels.append(np.asarray(image.convert("RGB")).reshape(-1, 3))
    if not pixels:
        return IMAGENET_MEAN, IMAGENET_STD
    flat = np.concatenate(pixels)[None, None]
    return compute_statistics(flat[..., 0] if grey else flat)
