"""Fingerprints: 12 hex digits that change where what an evaluator says of networks changes.

Of an evaluator that is quick to ask, they are of what it says of 200 networks, always the same ones
of fixed editions of two shipped spaces, which may grow: whatever changes a figure (the data it was
fitted to, a feature, a regressor) changes them, and nothing else does. Figures are rounded to
`_DIGITS` digits of the largest one: between processors and libraries of linear algebra they differ
in the 14th.

An evaluator that trains, runs a user's code, or takes long to answer is not asked. Its fingerprint
is of what decides its figures as far as that can be told beforehand: see `fingerprint_of_values`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from smt_nas.evaluators.base import BatchEvaluator, Estimate
from smt_nas.fingerprint import fingerprint
from smt_nas.space import Genes, SearchSpace
from smt_nas.space.editions import FIRST_SMT, find_edition

Floats = NDArray[np.float64]

_EDITIONS = (("smt", FIRST_SMT), ("smt_micro", "2d2b409283a8"))  # full size and small images
_PROBES = 100  # networks of each
_DIGITS = 8


def fingerprint_by_probes(
    evaluator: BatchEvaluator, recorded: Mapping[str, Estimate] | None = None
) -> str:
    """Of the mean and the standard deviation that an evaluator predicts of the probe networks.

    Args:
        evaluator: whose it is.
        recorded: what it is known to predict, by name of the space; it is asked for the others.
    """
    columns = []
    for space, genes in probe_networks():
        estimate = (recorded or {}).get(space.name)
        if estimate is None:
            with threadpool_limits(1):  # figures whose digits cancel out depend on their number
                estimate = evaluator.predict(space, genes)
        columns += [estimate.mean] if estimate.std is None else [estimate.mean, estimate.std]
    return fingerprint(" ".join(_rounded(column) for column in columns))


def fingerprint_of_values(name: str, values: Mapping[str, Any]) -> str:
    """Of an evaluator's name and plain values that decide its figures; their order counts not."""
    return fingerprint({"evaluator": name, **values})


@cache
def probe_networks() -> Sequence[tuple[SearchSpace, Genes]]:
    """Spaces, each with genes (n, G) of it: the same in every process."""
    probes = []
    for name, digest in _EDITIONS:
        space = find_edition(name, digest)
        assert space is not None  # a space that grows leaves its edition in earlier_spaces
        probes.append((space, space.sample(np.random.default_rng(0), _PROBES)))
    return tuple(probes)


def _rounded(column: Floats) -> str:
    scale = float(np.abs(column).max()) or 1.0
    shares = np.round(column / scale, _DIGITS) + 0.0  # no -0
    return " ".join([f"{scale:.{_DIGITS}g}", *(f"{share:.{_DIGITS}f}" for share in shares)])
