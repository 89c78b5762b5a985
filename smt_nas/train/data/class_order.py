"""The order of classes: labels are indices of it, and a head's rows stand in it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from smt_nas.errors import TrainingError, list_names, one_line
from smt_nas.train.data.examples import Examples, IntArray, Source, Subset

_NUMBER = re.compile(r"-?[0-9]+")

Matching = Literal["same", "reordered", "by_number", "assumed"]


@dataclass(frozen=True)
class ClassMatch:
    """A data set whose labels are rows of a head.

    Attributes:
        source: the data set; its classes stand in the order of the head.
        how: `same`: they did before; `reordered`: by the names that the weights have; `by_number`:
            likewise, the names being numbers written in another way, as 00 for 0; `assumed`: the
            weights have no names, and the order is the data set's.
    """

    source: Source
    how: Matching


def order_classes(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in their order: by number where all are whole numbers, else as text."""
    names = list(names)
    if are_numbers(names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def are_numbers(names: Collection[str]) -> bool:
    """Whether all names are whole numbers, as 0, 10 or 007."""
    return all(_NUMBER.fullmatch(name) for name in names)


def match_classes(where: str, names: Sequence[str], source: Source) -> ClassMatch:
    """Bring a data set's classes into the order of a head.

    Args:
        where: what has the head, for messages.
        names: of the head's rows, in their order; none where they are not known.
        source: the data set.

    Raises:
        TrainingError: the names differ.
    """
    if not names:
        return ClassMatch(source, "assumed")
    if tuple(names) == source.classes:
        return ClassMatch(source, "same")
    if sorted(names) == sorted(source.classes):
        return ClassMatch(_reorder(source, names), "reordered")
    if are_numbers(names) and are_numbers(source.classes):
        own = {int(name): name for name in source.classes}
        if sorted(map(int, names)) == sorted(own):
            return ClassMatch(_reorder(source, [own[int(name)] for name in names]), "by_number")
    raise TrainingError(f"{where}: {_describe_difference(names, source)}")


def read_class_names(path: Path, classes: int) -> tuple[str, ...]:
    """Read a text file with the name of a class on each line, in the order of a head's rows.

    Args:
        path: of the file; empty lines at its end are left out.
        classes: that there must be.

    Raises:
        TrainingError: it cannot be read, or holds another number of names.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(
            f"--classes {path}: must be a text file (got: {one_line(error)}). Write a class name a "
            "line, in the order of the head's outputs."
        ) from error
    names = tuple(line.strip() for line in text.rstrip().splitlines())
    if len(names) != classes:
        raise TrainingError(
            f"--classes {path}: must name each of the {classes} classes on a line (got "
            f"{len(names)} lines). Add or remove lines."
        )
    return names


def _describe_difference(names: Sequence[str], source: Source) -> str:
    missing = [name for name in source.classes if name not in set(names)]
    extra = [name for name in names if name not in set(source.classes)]
    more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
    got = f"got {missing[0]!r}{more} in the data only" if missing else "got names twice"
    other = (
        f", {list_names([repr(name) for name in extra], 1)} in the weights only" if extra else ""
    )
    return (
        f"must name its classes as {source.spec} does ({got}{other}). Evaluate it on data of the "
        "classes it was trained for, or name its outputs with --classes FILE."
    )


def _reorder(source: Source, classes: Sequence[str]) -> Source:
    """The same images, the classes in another order of the same names."""
    rows = {name: i for i, name in enumerate(classes)}
    new = np.array([rows[name] for name in source.classes], np.int64)  # (C,) by old label
    train, validation, test = (
        None if part is None else _relabel(part, new)
        for part in (source.train, source.validation, source.test)
    )
    return replace(source, classes=tuple(classes), train=train, validation=validation, test=test)


def _relabel(examples: Examples, new: IntArray) -> Subset:
    """Images under other labels, those of folders still class by class.

    What is held out and what an epoch's permutation means depends on that order.
    """
    labels = new[examples.labels]
    grouped = bool((np.diff(examples.labels) >= 0).all())
    order = np.argsort(labels, kind="stable") if grouped else np.arange(len(labels))
    part = Subset(examples, order)
    part.labels = labels[order]
    return part


def remark_case(where: str, names: Collection[str]) -> list[str]:
    """A line on class names that differ by case alone: rarely meant, but as letters are."""
    folded: dict[str, list[str]] = {}
    for name in sorted(names):
        folded.setdefault(name.casefold(), []).append(name)
    alike = [" and ".join(same) for same in folded.values() if len(same) > 1]
    if not alike or all(len(name) == 1 for name in names):
        return []
    return [f"{where}: classes that differ by upper and lower case alone: {list_names(alike, 3)}."]
