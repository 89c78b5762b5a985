"""What a network looks like, whatever its size: the features that evidence carries over by.

Networks of 10 MMACs can tell something of networks of 2 GMACs only in words that mean the same for
both: costs against the published pattern at the same input, ratios of widths, shares of depth, of
MACs and of attention, the number of kernels. No feature is an absolute width or depth.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.arch import Architecture, Mixer, mixers
from smt_nas.costs.formulas import body
from smt_nas.costs.networks import Networks, from_arch, from_genes
from smt_nas.evaluators import reference
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]

LEVEL = ("log_macs", "log_params", "log_activations")
"""Logarithms of costs, each against the published pattern's at the same input."""

NAMES = (
    *LEVEL,
    "log_depth",  # of all blocks, against the pattern's
    *(f"log2_width_{i + 1}_{i}" for i in range(1, 4)),  # stage i + 1 to stage i
    *(f"depth_share_{i}" for i in range(1, 5)),
    *(f"macs_share_{i}" for i in range(1, 5)),  # of the blocks of the stage
    *(f"log2_ffn_{i}" for i in range(1, 5)),  # FFN ratio against the pattern's
    *(f"attention_share_{i}" for i in range(1, 5)),
    *(f"attention_place_{i}" for i in range(1, 5)),  # -1 first, 0 spread, 1 last
    *(f"log2_kernels_{i}" for i in range(1, 5)),  # how many; 0 without SAM blocks
    *(f"log2_kernel_size_{i}" for i in range(1, 5)),  # root mean square; 0 without SAM blocks
    *(f"log2_expand_{i}" for i in range(1, 5)),  # 0 without SAM blocks
)
"""Names of the features, (F,)."""

_KEPT = ("log_", "log2_width", "attention_share", "macs_share")
_OF_SAM = ("log2_kernels", "log2_kernel_size", "log2_expand")
_AVERAGED = ("log2_ffn", *_OF_SAM)  # over the stages


def compact(rows: Floats) -> Floats:
    """What a few hundred networks can teach of features (n, F): fewer, (n, K).

    What tells the stages apart is kept of widths, MACs and attention, and averaged of kernels, FFN
    and expand ratios; shares of depth say little beside those of MACs. Where the attention stands
    within a stage is left out: with it, held-out orders were worse.
    """
    groups = [_of(name) for name in _AVERAGED]
    kept = [i for start in _KEPT for i in _of(start)]
    return np.column_stack([rows[:, kept], *(rows[:, group].mean(axis=1) for group in groups)])


def _of(start: str) -> list[int]:
    """Columns whose name is that, or that with the numbers of stages."""
    plain = start.rstrip("_")
    return [
        i
        for i, name in enumerate(NAMES)
        if name.rstrip("_0123456789") == plain or (start.endswith("_") and name.startswith(start))
    ]


def ranges(rows: Floats) -> tuple[Floats, Floats]:
    """Lowest and highest of each feature (F,) among networks (n, F) that have what it tells of.

    NaN where none has. Kernels and their expand ratios are of SAM blocks.
    """
    there = np.where(_has(rows), rows, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns where none has
        return np.nanmin(there, axis=0), np.nanmax(there, axis=0)


def extrapolation(rows: Floats, low: Floats, high: Floats) -> Floats:
    """How far features (n, F) lie outside a range, in widths of it; 0 where a network has none."""
    beyond = np.maximum(np.maximum(low - rows, rows - high), 0.0)
    widths: Floats = np.where(_has(rows), beyond / np.maximum(high - low, NARROW), 0.0)
    return widths


def replace_attention(rows: Floats, published: Floats) -> Floats:
    """Features (n, F) with the attention of a published network's (F,), all else as it is.

    Where the one has no SAM blocks in a stage, or the other, so have the kernels of the published.
    """
    replaced = rows.copy()
    for stage in range(1, 5):
        share = NAMES.index(f"attention_share_{stage}")
        without = (rows[:, share] == 1) | (published[share] == 1)
        for name in _OF_SAM:
            at = NAMES.index(f"{name}_{stage}")
            replaced[without, at] = published[at]
        for at in (share, NAMES.index(f"attention_place_{stage}")):
            replaced[:, at] = published[at]
    return replaced


def _has(rows: Floats) -> NDArray[np.bool_]:
    """Whether a network has what a feature tells of, (n, F)."""
    has = np.ones(rows.shape, dtype=bool)
    for stage in range(1, 5):
        without = rows[:, NAMES.index(f"attention_share_{stage}")] == 1
        for name in _OF_SAM:
            has[without, NAMES.index(f"{name}_{stage}")] = False
    return has


NARROW = 0.05  # width taken for a feature that hardly varies in a bench


def of_genes(space: SearchSpace, genes: Genes) -> Floats:
    """Features of (n, G) genes; (n, F)."""
    genes = space.canonical(genes)
    net = from_genes(space, genes)
    found = costs.estimate(space, genes)
    places = [_places_of(space, genes, i) for i in range(4)]
    levels = (found.macs, found.params, found.activations)
    return _features(net, levels, places, _reference(reference.at(space.config)))


def of_archs(archs: Sequence[Architecture]) -> Floats:
    """Features of n architectures; (n, F)."""
    rows = [_of_arch(arch) for arch in archs]
    return np.concatenate(rows) if rows else np.empty((0, len(NAMES)))


def _of_arch(arch: Architecture) -> Floats:
    net, found = from_arch(arch), costs.of(arch)
    places = [np.array([_place(stage.mixers)]) for stage in arch.stages]
    levels = tuple(np.array([v]) for v in (found.macs, found.params, found.activations))
    return _features(net, levels, places, _reference(reference.at(arch)))


@dataclass(frozen=True)
class _Reference:
    """The published pattern for an input.

    Attributes:
        levels: MACs, params, activations.
        depth: of all stages.
        ratios: of the FFNs, one a stage.
    """

    levels: tuple[float, ...]
    depth: int
    ratios: tuple[float, ...]


@cache
def _reference(arch: Architecture) -> _Reference:
    found = costs.of(arch)
    return _Reference(
        levels=(found.macs, found.params, found.activations),
        depth=sum(s.depth for s in arch.stages),
        ratios=tuple(s.mlp_ratio for s in arch.stages),
    )


def _features(
    net: Networks,
    levels: Sequence[NDArray[np.int64]],
    places: Sequence[Floats],
    reference: _Reference,
) -> Floats:
    stages = net.stages
    depth = np.column_stack([s.sam + s.msa for s in stages])  # (n, 4), as are all below
    width = np.column_stack([s.dim for s in stages])
    ffn = np.column_stack([s.hidden / s.dim for s in stages]) / reference.ratios
    macs = np.column_stack([body(net, i).macs for i in range(4)])
    msa = np.column_stack([s.msa for s in stages])
    sam = np.column_stack([s.sam > 0 for s in stages])
    kernels = np.column_stack([s.n_kernels for s in stages])
    size = np.column_stack([np.sqrt(s.kernel_area / s.n_kernels) for s in stages])
    expand = np.column_stack([s.expand for s in stages])
    logs = [np.log(v / r) for v, r in zip(levels, reference.levels, strict=True)]
    return np.column_stack(
        [
            *logs,
            np.log(depth.sum(axis=1) / reference.depth),
            np.log2(width[:, 1:] / width[:, :-1]),
            depth / depth.sum(axis=1, keepdims=True),
            macs / macs.sum(axis=1, keepdims=True),
            np.log2(ffn),
            msa / depth,
            np.column_stack(places),
            np.log2(kernels) * sam,
            np.log2(size) * sam,
            np.log2(expand) * sam,
        ]
    )


def _place(order: Sequence[Mixer]) -> float:
    """Where the attention stands among the blocks: -1 all first, 1 all last, 0 spread or alone."""
    n, at = len(order), [i for i, kind in enumerate(order) if kind == "msa"]
    if not at or len(at) == n:
        return 0.0
    farthest = (n - len(at)) / 2  # of their mean from the middle
    return (sum(at) / len(at) - (n - 1) / 2) / farthest


def _places_of(space: SearchSpace, genes: Genes, stage: int) -> Floats:
    """`_place` of a stage of (n, G) genes, (n,)."""
    options = space.config.stages[stage]
    shape = (len(options.depth), len(options.attention_ratio), len(options.stacking))
    table = np.zeros(shape)
    for d, a, s in np.ndindex(shape):
        table[d, a, s] = _place(
            mixers(options.depth[d], options.attention_ratio[a], options.stacking[s])
        )
    columns = (space.column(stage, f) for f in ("depth", "attention_ratio", "stacking"))
    return np.asarray(table[tuple(genes[:, c] for c in columns)])
