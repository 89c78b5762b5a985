"""Which training images are held out for validation: by seed, alike for every class."""

from __future__ import annotations

import numpy as np

from smt_nas.errors import TrainingError
from smt_nas.train.data.examples import IntArray
from smt_nas.train.randomness import SPLIT


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
        held = min(max(int(fraction * n + 0.5), 1), n - 1)
        order = np.random.default_rng([seed, SPLIT, int(label)]).permutation(n)
        out[members[order[:held]]] = True
    if not out.any():
        raise TrainingError(
            f"validation: a class needs two images or more, so that one can be held out (got "
            f"{len(labels)} images of {len(classes)} classes). Add images."
        )
    return np.flatnonzero(~out), np.flatnonzero(out)
