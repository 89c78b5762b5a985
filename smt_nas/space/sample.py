"""Samples: a network of a space as `{gene: value}` in plain values, as other searchers have it.

    {"stem.kernel": 3, "stage1.dim": 64, "stage1.kernels": [3, 5], "stage1.stacking": "tail", ...}

Equal networks may have several samples: genes without effect keep their value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smt_nas.errors import SpaceError
from smt_nas.space.patterns import Genes
from smt_nas.space.search_space import SearchSpace

Sample = Mapping[str, Any]


def list_options(space: SearchSpace) -> dict[str, list[Any]]:
    """The options of every gene as JSON has them, in the order of the columns."""
    return {gene.name: [_to_plain(option) for option in gene.options] for gene in space.genes}


def make_samples(space: SearchSpace, genes: Genes) -> list[dict[str, Any]]:
    """The samples of (n, G) genes."""
    options = list_options(space)
    return [
        {name: values[i] for (name, values), i in zip(options.items(), row, strict=True)}
        for row in genes.tolist()
    ]


def read_samples(space: SearchSpace, samples: Sequence[Sample]) -> Genes:
    """Canonical genes (n, G) of samples; what else stands in one is none of the space's business.

    Raises:
        SpaceError: a gene is missing, or its value is no option.
    """
    options = list_options(space)
    rows = [[_find(space, sample, name, options[name]) for name in options] for sample in samples]
    return space.canonical(np.array(rows, dtype=np.int64).reshape(-1, len(options)))


def _find(space: SearchSpace, sample: Sample, name: str, options: list[Any]) -> int:
    value = _to_plain(sample.get(name))
    if value not in options:
        allowed = ", ".join(map(str, options))
        raise SpaceError(f"space {space.name}: {name} must be one of {allowed} (got {value}).")
    return options.index(value)


def _to_plain(option: Any) -> Any:
    return list(option) if isinstance(option, tuple) else option
