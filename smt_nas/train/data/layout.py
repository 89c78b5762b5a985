"""Which folders of a data set are its splits, and which its classes; on disk and in archives alike.

A name alone does not decide: `train` is a class among `bus` and `car`. Folders are splits where
they are named for some (`parse_split`) and hold folders of images in turn, one for each class.
What is named for a split, or holds the classes of one, and cannot be used as one, is an error.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from smt_nas.errors import TrainingError, format_count, list_names
from smt_nas.train.data.file_tree import FileTree, join_path
from smt_nas.train.data.split_names import (
    SPLITS,
    USUAL,
    Split,
    SplitName,
    assign_splits,
    is_filler,
    parse_split,
)

_WAY_OUT = f"{', '.join(list(USUAL.values())[:-1])} or {USUAL['test']}"
_FOLD = re.compile(r"(?:k[\W_]*)?folds?[\W_]*\d+", re.IGNORECASE)
_CLASSES = "If these are classes, put all class folders into one folder named train."


@dataclass(frozen=True)
class SplitFolder:
    """Where a split lies.

    Attributes:
        path: from the data set's folder or archive; `""` for that itself.
        tree: what is there.
    """

    path: str
    tree: FileTree


@dataclass(frozen=True)
class Layout:
    """The splits of a data set, and lines that a user should read about them."""

    splits: Mapping[Split, SplitFolder]
    remarks: tuple[str, ...] = ()


def read_layout(where: str, tree: FileTree) -> Layout:
    """Find the splits; all of it is for training where there is none.

    Args:
        where: the data set's folder or archive, for messages.
        tree: what is in it.

    Raises:
        TrainingError: two folders for one split, folders that look like splits and cannot be used,
            folds, or splits inside classes.
    """
    top, tree = _enter_wrapper(tree)
    where = f"{where}/{top}" if top else where
    names = _choose_splits(where, tree)
    if not names:
        _refuse_inner_splits(where, tree)
        remarks = _remark_alike(where, tree)
        return Layout({"train": SplitFolder(top, tree)}, remarks)
    splits = {split: _enter_inner(top, name, split, tree) for split, name in names.items()}
    for split, place in splits.items():
        _refuse_splits_in_split(f"{where}/{names[split]}", place.tree)
        _refuse_inner_splits(f"{where}/{names[split]}", place.tree)
    return Layout(splits, _remark_unused(where, tree, set(names.values())))


def _enter_wrapper(tree: FileTree) -> tuple[str, FileTree]:
    """The folder that splits lie in, where it is the only one with images, as in images/train."""
    path, inside = "", tree
    while not inside.images and len(inside.class_folders) == 1:
        (name,) = inside.class_folders
        beside = [c for n, c in inside.folders.items() if n != name]
        if any(not c.left_out and not c.folders for c in beside):  # an empty class, maybe
            break
        path, inside = join_path(path, name), inside.folders[name]
        named = _name_splits(inside)
        one = parse_split(name) is None and any(_holds_classes(inside.folders[n]) for n in named)
        if one or _find_families(named):
            return path, inside
    return "", tree


def _enter_inner(top: str, name: str, split: Split, tree: FileTree) -> SplitFolder:
    """A split's folder, or the only one in it that repeats its name: seg_train/seg_train/CLASS."""
    path, inside = join_path(top, name), tree.folders[name]
    while len(inside.folders) == 1 and not inside.images:
        (inner, child), *_ = inside.folders.items()
        named = parse_split(inner)
        if not child.class_folders or not (
            is_filler(inner) or (named is not None and named.split == split)
        ):
            break
        path, inside = join_path(path, inner), child
    return SplitFolder(path, inside)


def _choose_splits(where: str, tree: FileTree) -> dict[Split, str]:
    """Names of the folders that are splits; none where all folders are classes."""
    named = _name_splits(tree)
    full = {name for name in named if _holds_classes(tree.folders[name])}
    others = {n for n in tree.class_folders if n not in named}
    if not full:
        _refuse_unsorted(where, tree, named)
        return {}
    if not _are_splits(tree, named, full, others):
        return {}
    rests = {named[name].rest for name in full}
    members = {n: s for n, s in named.items() if n in full or (s.rest in rests and not s.short)}
    splits = assign_splits(where, members)
    _refuse_unnamed(where, tree, next(iter(splits.values())), others, len(splits) == 1)
    return splits


def _are_splits(
    tree: FileTree, named: Mapping[str, SplitName], full: set[str], others: set[str]
) -> bool:
    """Whether folders that are named for splits and hold class folders are splits.

    Args:
        tree: that they lie in.
        named: all that are named for splits.
        full: those of them that hold folders of images.
        others: the other folders with images.
    """
    if not others:
        return True
    if len({named[name].split for name in full}) > 1:
        alike = len({named[name].rest for name in full}) < len(full)
        pairs = itertools.combinations(full, 2)
        return alike or any(_share_classes(tree.folders[a], tree.folders[b]) for a, b in pairs)
    if any(tree.folders[name].images for name in full):
        return False  # as a class has them
    return any(not named[name].rest for name in full)


def _refuse_unsorted(where: str, tree: FileTree, named: Mapping[str, SplitName]) -> None:
    """Refuse folders that are named as splits of one set are, but hold no class folders."""
    families = _find_families({n: s for n, s in named.items() if not s.short})
    if families:
        names = families[0]
        first = min(names, key=lambda name: SPLITS.index(named[name].split))
        raise TrainingError(
            f"{where}: splits must hold a folder of images for each class (got "
            f"{list_names(names)} with images in none). Sort the images, as in "
            f"{_suggest_path(first, named[first])}/*.jpg. {_CLASSES}"
        )


def _refuse_unnamed(where: str, tree: FileTree, first: str, others: set[str], alone: bool) -> None:
    """Refuse folders beside splits that look like splits too, or like classes beside one."""
    for name in sorted(others):
        shared = tree.folders[name].class_folders & tree.folders[first].class_folders
        if shared:
            raise TrainingError(
                f"{where}/{name}: looks like a split, as it holds class folders of {first} "
                f"({list_names(sorted(shared), 3)}), but its name does not say which. Rename it to "
                f"{_WAY_OUT}, or move it away. {_CLASSES}"
            )
    if alone and (len(others) > 1 or any(tree.folders[name].class_folders for name in others)):
        raise TrainingError(
            f"{where}: {first} must be a split or a class (got images in "
            f"{list_names(sorted(others))} too). If it is a split, move the others away. {_CLASSES}"
        )


def _refuse_splits_in_split(where: str, tree: FileTree) -> None:
    """Refuse splits below a split; folders of images may have any name there, as classes."""
    named = {n: s for n, s in _name_splits(tree).items() if tree.folders[n].class_folders}
    families = _find_families(named)
    if families:
        raise TrainingError(
            f"{where}: a split must hold class folders (got the splits "
            f"{list_names(families[0])}). Move them up beside it."
        )


def _refuse_inner_splits(where: str, tree: FileTree) -> None:
    """Refuse classes that hold splits: their test images would be trained on."""
    for name, child in tree.folders.items():
        for path, inside in child.walk(name):
            families = _find_families(
                {n: s for n, s in _name_splits(inside).items() if not s.short}
            )
            if families:
                a, b = (join_path(path, n) for n in families[0][:2])
                last = path.rpartition("/")[2]
                way_out = (
                    f"Give {where}/{path} alone, if its splits are meant."
                    if all(inside.folders[n].class_folders for n in families[0])
                    else f"Move the images, as to train/{last} and test/{last}."
                )
                raise TrainingError(
                    f"{where}: splits must stand above classes (got {a} and {b}). {way_out}"
                )
        for inner, named in _name_splits(child).items():
            if len(child.folders) == 1 and len(child.folders[inner].class_folders) > 1:
                raise TrainingError(
                    f"{where}: a {named.split} split must stand above classes (got {name}/{inner} "
                    f"with classes below). Give {where}/{name} alone, if it is meant."
                )


def _name_splits(tree: FileTree) -> dict[str, SplitName]:
    """Folders that are named for splits; short names only where they hold class folders."""
    named = {name: parse_split(name) for name in tree.folders}
    return {
        name: split
        for name, split in named.items()
        if split is not None and (not split.short or _holds_classes(tree.folders[name]))
    }


def _find_families(named: Mapping[str, SplitName]) -> list[list[str]]:
    """Names of two or more splits that have their other words in common, sorted."""
    by_rest: dict[str, list[str]] = {}
    for name in sorted(named):
        by_rest.setdefault(named[name].rest, []).append(name)
    return [names for names in by_rest.values() if len({named[n].split for n in names}) > 1]


def _holds_classes(tree: FileTree) -> bool:
    """Whether there are folders of images in a folder, or empty ones that may be meant to be."""
    return bool(tree.class_folders or (tree.folders and not tree.count))


def _share_classes(a: FileTree, b: FileTree) -> bool:
    fewer = min(len(a.class_folders), len(b.class_folders))
    return fewer > 0 and 2 * len(a.class_folders & b.class_folders) >= fewer


def _suggest_path(name: str, split: SplitName) -> str:
    """train/cat for train_cat."""
    return f"{USUAL[split.split]}/{split.rest.replace(' ', '_')}" if split.rest else f"{name}/CLASS"


def _remark_unused(where: str, tree: FileTree, used: set[str]) -> tuple[str, ...]:
    """What lies beside the splits and holds images."""
    unused = [n for n in tree.folders if n in tree.class_folders and n not in used]
    return tuple(_word_unused(where, tree, unused))


def _word_unused(where: str, tree: FileTree, unused: list[str]) -> Iterator[str]:
    if unused or tree.images:
        counts = [f"{format_count(tree.folders[n].count, 'image')} in {n}" for n in unused]
        counts += [f"{format_count(len(tree.images), 'image')} in no folder"] * bool(tree.images)
        yield f"{where}: not used, as they are in no split: {list_names(counts, 3)}."


def _remark_alike(where: str, tree: FileTree) -> tuple[str, ...]:
    """Folders that hold the same folders may be splits under names of their own; folds are."""
    insides = {child.class_folders for child in tree.folders.values()}
    if len(tree.folders) < 2 or len(insides) > 1 or len(next(iter(insides))) < 2:
        return ()
    inside, names = sorted(next(iter(insides))), list(tree.folders)
    each = f"{list_names(names, 3)}, each with the folders {list_names(inside, 3)}"
    if all(map(_FOLD.fullmatch, names)):
        raise TrainingError(
            f"{where}: folds must be made splits (got {each}). Put the class folders of those to "
            "train on into train, and the others into val."
        )
    return (
        f"{where}: no folder is named for a split, so all is for training: {each}. If they are "
        f"splits, rename them to {_WAY_OUT}.",
    )
