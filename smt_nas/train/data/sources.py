"""Where labelled images come from: `load_source("fashion-mnist:DIR")`, and its splits.

    digits                   scikit-learn's 8x8 digits, inside the install
    fashion-mnist:DIR  mnist:DIR  kmnist:DIR  cifar10:DIR  cifar100:DIR  svhn:DIR  stl10:DIR
    hf:NAME_OR_PATH          by Hugging Face's `datasets`; downloaded if it is a name
    parquet:PATH             Parquet files with columns image.bytes and label, as `datasets` writes
    tar:PATH                 archives with a folder per class inside
    DIR                      DIR/train/CLASS/*.jpg with DIR/val and DIR/test, or DIR/CLASS/*.jpg
                             or Parquet files, as of parquet:

Nothing else is ever downloaded. A training sees what `make_splits` returns, never the test split.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from smt_nas.errors import TrainingError, UnknownName, format_count
from smt_nas.train.data.archives import load_tar
from smt_nas.train.data.examples import Examples, IntArray, Source, Subset
from smt_nas.train.data.folders import load_folder
from smt_nas.train.data.hub import load_hub
from smt_nas.train.data.named import NAMED, load_digits, load_named
from smt_nas.train.data.parquet import holds_parquet, load_parquet
from smt_nas.train.processes.randomness import SPLIT

_LOADERS: Mapping[str, Callable[[str, str], Source]] = {
    "hf": load_hub,
    "parquet": load_parquet,
    "tar": load_tar,
    **{name: partial(load_named, NAMED[name]) for name in NAMED},
}
_WAY_OUT = "A folder of images works too."


@dataclass(frozen=True)
class Splits:
    """What a training sees of a data set."""

    train: Examples
    validation: Examples


def load_source(spec: str) -> Source:
    """Find a data set and read what is needed to know its images.

    Args:
        spec: see the head of this module.

    Raises:
        UnknownName: no such kind of data set.
        TrainingError: its files are missing, damaged or in another layout.
    """
    if spec == "digits":
        return load_digits()
    kind, colon, place = spec.partition(":")
    if not spec.strip():
        raise TrainingError("data: must be named (got nothing). E.g. digits, or a folder.")
    if kind == "digits" or (kind in _LOADERS and not place):
        raise TrainingError(_explain_misuse(spec, kind))
    if colon and kind in _LOADERS:
        return _LOADERS[kind](spec, place)
    folder = Path(spec).expanduser()
    if not folder.exists() and _looks_like_name(kind):
        raise UnknownName("data set", kind, ["digits", *_LOADERS], _WAY_OUT)
    if holds_parquet(folder):
        return load_parquet(spec, spec)
    return load_folder(spec, folder)


def shorten_spec(spec: str) -> str:
    """A data set without its place: its kind, or the name of its folder or file.

    `fashion-mnist:DIR` is `fashion-mnist`, `parquet:/data/cifar10` is `cifar10`.
    """
    kind, _, place = spec.partition(":")
    return Path(place if kind == "parquet" and place else kind).name


def make_splits(source: Source, fraction: float, seed: int, images: int | None = None) -> Splits:
    """Training and validation split; the latter is held out where the data set names none.

    Args:
        source: a data set.
        fraction: share of the training images to hold out; see `hold_out`.
        seed: of the holding out and of the sample.
        images: train on a sample of so many, alike for every class; None for all.

    Raises:
        TrainingError: there is nothing to train on, too little to hold out, or no such sample.
    """
    if source.train is None:
        raise TrainingError(
            f"{source.spec}: has no training split (got only others). It can be evaluated on; if "
            "a folder's name was taken for a split's, name that folder."
        )
    if source.validation is not None:
        return Splits(_sample(source.train, images, seed), source.validation)
    kept, held = hold_out(source.train.labels, fraction, seed)
    return Splits(_sample(Subset(source.train, kept), images, seed), Subset(source.train, held))


def hold_out(labels: IntArray, fraction: float, seed: int) -> tuple[IntArray, IntArray]:
    """Divide images into those to train on and those held out; depends on the arguments alone.

    Of a class of n >= 2 images, `fraction * n` are held out, rounded, but at least one and at
    most n - 1; they are the first of a permutation drawn from (seed, SPLIT, class). So with the
    same seed a smaller fraction holds out some of what a larger one does. The one image of a class
    is trained on.

    Args:
        labels: (n,).
        fraction: between 0 and 1.
        seed: of the split.

    Returns: indices of the two parts, each ascending; together all.

    Raises:
        TrainingError: the fraction is out of its range, or no class has two images.
    """
    if not 0 < fraction < 1:
        raise TrainingError(
            f"validation: the share held out must be between 0 and 1 (got {fraction:g}). "
            "Use e.g. 0.1, or data with a validation split of its own."
        )
    out = np.zeros(len(labels), bool)
    by_class = np.argsort(labels, kind="stable")
    classes, starts = np.unique(labels[by_class], return_index=True)
    for label, members in zip(classes, np.split(by_class, starts[1:]), strict=True):
        n = len(members)
        if n < 2:
            continue
        n_validation = min(max(int(fraction * n + 0.5), 1), n - 1)
        order = np.random.default_rng([seed, SPLIT, int(label)]).permutation(n)
        out[members[order[:n_validation]]] = True
    if not out.any():
        raise TrainingError(
            f"validation: a class needs two images or more, so that one can be held out (got "
            f"{format_count(len(labels), 'image')} of {len(classes)} classes). Add images."
        )
    return np.flatnonzero(~out), np.flatnonzero(out)


def _sample(examples: Examples, images: int | None, seed: int) -> Examples:
    if images is None or images == len(examples):
        return examples
    if images > len(examples):
        raise TrainingError(
            f"recipe: images must be at most those of the training split (got {images:,} of "
            f"{len(examples):,}). Lower it with --set images={len(examples)}."
        )
    return Subset(examples, hold_out(examples.labels, images / len(examples), seed)[1])


def _explain_misuse(spec: str, kind: str) -> str:
    if kind == "digits":
        return f"{spec}: digits come with scikit-learn and take no folder. Use digits alone."
    return f"{spec}: must say where its files are (got nothing). Use {kind}:PATH."


def _looks_like_name(kind: str) -> bool:
    return "/" not in kind and "\\" not in kind and not kind.startswith((".", "~"))
