"""Which images of a data set weights are evaluated on."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from smt_nas.errors import TrainingError
from smt_nas.train.data.examples import Examples, Source
from smt_nas.train.data.sources import make_splits
from smt_nas.train.weights.card import Card

SplitName = Literal["test", "validation", "train", "all"]
SplitChoice = Literal["auto", "test", "validation", "train", "all"]


@dataclass(frozen=True)
class EvalImages:
    """Images to evaluate on.

    Attributes:
        split: what they are called.
        parts: the splits they lie in.
        carved: they were held out of, or left in, the training images by the weights' own rule.
        seen: the network may have been trained on some of them.
    """

    split: SplitName
    parts: tuple[Examples, ...]
    carved: bool = False
    seen: bool = False

    def __len__(self) -> int:
        return sum(map(len, self.parts))


def choose_split(source: Source, wanted: SplitChoice, card: Card | None) -> EvalImages:
    """The images to evaluate on.

    Args:
        source: the data.
        wanted: which. `auto` takes the test split; else the validation split, given or carved as in
            the training; else all there is.
        card: of the weights, which knows how a validation split was carved; None for none.

    Raises:
        TrainingError: the data have no such split.
    """
    own = card is not None and _is_same_data(card.data, source.spec)
    if wanted == "auto":
        wanted = _choose_best(source, own and card is not None and card.split is not None)
    if wanted == "all":
        parts = (source.train, source.validation, source.test)
        return EvalImages("all", tuple(p for p in parts if p is not None), seen=own)
    if wanted == "test" and source.test is not None:
        return EvalImages("test", (source.test,))
    if wanted == "validation" and source.validation is not None:
        return EvalImages("validation", (source.validation,))
    carved = None if card is None else card.split
    if wanted == "validation" and carved is not None and source.train is not None:
        validation = make_splits(source, carved.fraction, carved.seed).validation
        return EvalImages("validation", (validation,), carved=True)
    if wanted == "train" and source.train is not None:
        if own and carved is not None and source.validation is None:
            kept = make_splits(source, carved.fraction, carved.seed).train
            return EvalImages("train", (kept,), carved=True, seen=True)
        return EvalImages("train", (source.train,), seen=own)
    raise TrainingError(
        f"{source.spec}: has no {wanted} split (got {_name_splits(source)}). Choose another "
        "--split, or --split all."
    )


def _choose_best(source: Source, carved: bool) -> SplitName:
    """The images that say most about new ones."""
    if source.test is not None:
        return "test"
    if source.validation is not None or (carved and source.train is not None):
        return "validation"
    return "all"


def _name_splits(source: Source) -> str:
    parts = {"train": source.train, "validation": source.validation, "test": source.test}
    return ", ".join(name for name, part in parts.items() if part is not None)


def _is_same_data(a: str, b: str) -> bool:
    """Whether two words for data are of the same place."""
    (kind_a, _, place_a), (kind_b, _, place_b) = (x.rpartition(":") for x in (a, b))
    return kind_a == kind_b and os.path.realpath(place_a) == os.path.realpath(place_b)
