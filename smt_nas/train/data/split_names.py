"""Which split of a data set a name means: `Training`, `seg_test`, `val2017`, `TestSet`, `dev`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from smt_nas.errors import TrainingError

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")

USUAL: Mapping[Split, str] = {"train": "train", "validation": "val", "test": "test"}
"""What a folder of a split is best called."""

_SPELT_AS_USUAL = frozenset((*USUAL.values(), "validation"))

_WORDS: Mapping[str, Split] = {
    **dict.fromkeys(("train", "training", "trn", "trainval", "traindev"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "validating", "vld"), "validation"),
    **dict.fromkeys(("dev", "devel", "eval", "evaluation", "evaluate"), "validation"),
    **dict.fromkeys(("test", "tests", "testing", "tst", "holdout"), "test"),
}
_EITHER: Mapping[str, Split] = {  # the other split that a word is used for
    **dict.fromkeys(("eval", "evaluation", "evaluate"), "test"),
    "holdout": "validation",
}
_SHORT: Mapping[
    str, Split
] = {  # so short that they mean a split only where class folders lie below
    "tr": "train",
    "va": "validation",
    "te": "test",
    "ts": "test",
}
_FILLERS = frozenset(
    (
        *("set", "sets", "data", "dataset", "datasets", "split", "splits", "folder", "dir"),
        *("image", "images", "img", "imgs", "picture", "pictures", "pic", "pics", "photo"),
        *("photos", "file", "files", "sample", "samples", "all", "full", "final", "my", "new", "v"),
    )
)
_CAMEL = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
_PLAIN = re.compile(r"[^\W\d_]+")
_HOLDOUT = re.compile(r"(?:hold|held)[\W_]*out", re.IGNORECASE)
_GLUED = re.compile(
    rf"(?P<before>{'|'.join(sorted(_FILLERS, key=len, reverse=True))})?"
    rf"(?P<word>{'|'.join(sorted(_WORDS, key=len, reverse=True))})"
    rf"(?P<after>{'|'.join(sorted(_FILLERS, key=len, reverse=True))})?"
)


@dataclass(frozen=True)
class SplitName:
    """A name that may mean a split.

    Attributes:
        split: that it means.
        rest: its other words, e.g. `seg` of `seg_train`; those of splits of one set are alike.
        either: the split it means where another name takes `split`; None for none.
        short: two letters, which mean other things as well.
    """

    split: Split
    rest: str = ""
    either: Split | None = None
    short: bool = False


def parse_split(name: str) -> SplitName | None:
    """The split that a name may mean, in any case and with other words, numbers or signs beside.

    A name with words of two splits means none, but for train and validation together, which are
    trained on. `trainer`, `valley` and `attest` have no such word.
    """
    name = _HOLDOUT.sub("holdout", name)
    for pattern in (_CAMEL, _PLAIN):
        words = [part for word in pattern.findall(name) for part in _part_glued(word.lower())]
        splits = {_WORDS[word] for word in words if word in _WORDS}
        if splits == {"train", "validation"}:
            splits = {"train"}
        if len(splits) == 1:
            rest = " ".join(w for w in words if w not in _WORDS and w not in _FILLERS)
            either = {_EITHER.get(word) for word in words if word in _WORDS}
            return SplitName(splits.pop(), rest, either.pop() if len(either) == 1 else None)
    short = _SHORT.get(name.lower())
    return None if short is None else SplitName(short, short=True)


def is_filler(name: str) -> bool:
    """Whether a folder's name says only that there are images below, as `images` or `data`."""
    return all(word.lower() in _FILLERS for word in _PLAIN.findall(name))


def assign_splits(where: str, named: Mapping[str, SplitName]) -> dict[Split, str]:
    """One name for each split, in the order of `SPLITS`.

    `eval` stands for validation, and for test beside another validation split; `holdout` the other
    way round.

    Args:
        where: what holds the names, for the message.
        named: the names, with what they may mean.

    Raises:
        TrainingError: two names for one split.
    """
    by_split: dict[Split, list[str]] = {split: [] for split in SPLITS}
    sure = {split.split for split in named.values() if split.either is None}
    for name, split in sorted(named.items()):
        other = split.either
        moves = other is not None and split.split in sure and other not in sure
        by_split[other if moves and other is not None else split.split].append(name)
    for kind, names in by_split.items():
        if len(names) > 1:
            others = _explain_classes(named, names)
            raise TrainingError(
                f"{where}: must hold one {kind} split (got {_join(names)}). Keep one of them, or "
                f"name each for what it is: {', '.join(USUAL.values())}.{others}"
            )
    return {kind: names[0] for kind, names in by_split.items() if names}


def choose_splits(where: str, names: Iterable[str]) -> dict[Split, str]:
    """Which of the names of splits mean which; of several for one, that which is spelt as usual.

    Args:
        where: what holds the names, for the message.
        names: of splits, not of folders; some may mean none.

    Raises:
        TrainingError: several, and none is.
    """
    named = {name: split for name in names if (split := parse_split(name)) is not None}
    usual = {named[name].split for name in named if name in _SPELT_AS_USUAL}
    return assign_splits(
        where,
        {n: s for n, s in named.items() if n in _SPELT_AS_USUAL or s.split not in usual},
    )


def _explain_classes(named: Mapping[str, SplitName], names: Iterable[str]) -> str:
    """What else names with other words beside the split's may be: positive_test, negative_test."""
    rests = [named[name].rest for name in names]
    return "" if not all(rests) else " If these are classes, put them into a folder named train."


def _part_glued(word: str) -> Iterable[str]:
    """`trainset` as `train` and `set`; other words whole."""
    match = _GLUED.fullmatch(word)
    return (word,) if match is None else (part for part in match.groups() if part)


def _join(names: list[str]) -> str:
    return " and ".join((", ".join(names[:-1]), names[-1]) if len(names) > 1 else names)
