"""What a network looks like, whatever its size: the features that evidence carries over by.

Networks of 10 MMACs can tell something of networks of 2 GMACs only in words that mean the same for
both: costs against the published pattern at the same input, ratios of widths, shares of depth, of
MACs and of attention, the number of kernels. No feature is an absolute width or depth.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas import costs
from smt_nas.arch import Architecture, Mixer, arrange_mixers
from smt_nas.evaluators.predictors import reference
from smt_nas.space import Genes, SearchSpace
from smt_nas.space.patterns import ORDER

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVEL = ("log_macs", "log_params", "log_activations")
"""Logarithms of costs, each against the published pattern's at the same input."""


@dataclass(frozen=True)
class Networks:
    """What features are made of, of n networks.

    Attributes:
        option: the numbers that a function makes of a field of the four stages, (n, 4).
        sam, msa: numbers of blocks, (n, 4).
        place: where the attention stands among the blocks of each stage, (n, 4).
        stage_macs: of the blocks of each stage, (n, 4).
        levels: MACs, params and activations, each (n,).
        reference: the published pattern at the same input.
    """

    option: Callable[[str, Callable[[Any], float]], NDArray[Any]]
    sam: Ints
    msa: Ints
    place: Floats
    stage_macs: Ints
    levels: tuple[Ints, ...]
    reference: Reference

    @property
    def depth(self) -> Ints:
        """Blocks, (n, 4)."""
        return self.sam + self.msa

    @property
    def width(self) -> NDArray[Any]:
        """Channels, (n, 4)."""
        return self.option("dim", int)

    def level(self, i: int) -> Floats:
        """Logarithm of a level against the published pattern's, (n,)."""
        return np.asarray(np.log(self.levels[i] / self.reference.levels[i]))


@dataclass(frozen=True)
class Feature:
    """One row of FEATURES.

    Attributes:
        name: of its columns, before the numbers of the stages.
        words: what it is, with a place for each of those numbers.
        of: makes it of n networks, (n,) or (n, columns).
        stages: the numbers of each column; none for a feature of the whole network.
        of_sam: it tells of SAM blocks: 0, and no evidence, without them.
        added: since evidence was gathered; 0 of all networks that were ever trained.
    """

    name: str
    words: str
    of: Callable[[Networks], Floats]
    stages: tuple[tuple[int, ...], ...] = ((1,), (2,), (3,), (4,))
    of_sam: bool = False
    added: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns, e.g. `log2_width_2_1`."""
        return tuple("_".join([self.name, *map(str, numbers)]) for numbers in self.stages)


_WHOLE: tuple[tuple[int, ...], ...] = ((),)
FEATURES = (
    Feature("log_macs", "MACs against the published pattern", lambda n: n.level(0), _WHOLE),
    Feature("log_params", "params against the published pattern", lambda n: n.level(1), _WHOLE),
    Feature(
        "log_activations",
        "activations against the published pattern",
        lambda n: n.level(2),
        _WHOLE,
    ),
    Feature(
        "log_depth",
        "blocks against the published pattern",
        lambda n: np.log(n.depth.sum(axis=1) / n.reference.depth),
        _WHOLE,
    ),
    Feature(
        "log2_width",
        "width of stage {} against stage {}",
        lambda n: np.log2(n.width[:, 1:] / n.width[:, :-1]),
        ((2, 1), (3, 2), (4, 3)),
    ),
    Feature(
        "depth_share",
        "share of the blocks in stage {}",
        lambda n: n.depth / n.depth.sum(axis=1, keepdims=True),
    ),
    Feature(
        "macs_share",
        "share of the MACs in stage {}",
        lambda n: n.stage_macs / n.stage_macs.sum(axis=1, keepdims=True),
    ),
    Feature(
        "log2_ffn",
        "FFN ratio of stage {} against the published pattern",
        lambda n: np.log2(_read_hidden(n) / n.width / n.reference.ratios),
    ),
    Feature("attention_share", "share of attention in stage {}", lambda n: n.msa / n.depth),
    Feature(  # -1 first, 0 spread, 1 last
        "attention_place", "place of the attention in stage {}", lambda n: n.place
    ),
    Feature(
        "log2_kernels",
        "number of kernels in stage {}",
        lambda n: np.log2(n.option("kernels", len)) * (n.sam > 0),
        of_sam=True,
    ),
    Feature(  # root mean square
        "log2_kernel_size",
        "kernel size in stage {}",
        lambda n: np.log2(_read_kernel_size(n)) * (n.sam > 0),
        of_sam=True,
    ),
    Feature(
        "log2_expand",
        "expand ratio of stage {}",
        lambda n: np.log2(n.option("expand_ratio", int)) * (n.sam > 0),
        of_sam=True,
    ),
    Feature(
        "log2_ffn_kernel",
        "FFN kernel of stage {} against the published pattern",
        lambda n: np.log2(n.option("ffn_kernel", int) / 3),
        added=True,
    ),
)
"""What a network looks like, in the order of the columns of (n, F); what is added stands last."""


def _read_hidden(n: Networks) -> Floats:
    return np.asarray(np.floor(n.width * n.option("mlp_ratio", float)))


def _read_kernel_size(n: Networks) -> Floats:
    area = n.option("kernels", lambda kernels: sum(k * k for k in kernels))
    return np.asarray(np.sqrt(area / n.option("kernels", len)))


NAMES = tuple(column for feature in FEATURES for column in feature.columns)
"""Names of the columns, (F,)."""

WORDS = {
    column: feature.words.format(*numbers)
    for feature in FEATURES
    for column, numbers in zip(feature.columns, feature.stages, strict=True)
}
"""What each column is, for a reader."""

NEUTRAL = frozenset(column for f in FEATURES if f.added for column in f.columns)
"""Columns that are 0 of every network trained so far, whether evidence knows of them or not."""

_FIRST_ADDED = len(NAMES) - len(NEUTRAL)
_KEPT = ("log_", "log2_width", "attention_share", "macs_share")
OF_SAM = tuple(feature.name for feature in FEATURES if feature.of_sam)
_AVERAGED = ("log2_ffn", *OF_SAM)  # over the stages


def compact(rows: Floats) -> Floats:
    """What a few hundred networks can teach of features (n, F): fewer, (n, K).

    What tells the stages apart is kept of widths, MACs and attention, and averaged of kernels, FFN
    and expand ratios; shares of depth say little beside those of MACs. Where the attention stands
    within a stage is left out: with it, held-out orders were worse.
    """
    groups = [_find_columns(name) for name in _AVERAGED]
    kept = [i for start in _KEPT for i in _find_columns(start)]
    return np.column_stack([rows[:, kept], *(rows[:, group].mean(axis=1) for group in groups)])


def _find_columns(start: str) -> list[int]:
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
    there = np.where(_applies(rows), rows, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of columns where none has
        return np.nanmin(there, axis=0), np.nanmax(there, axis=0)


def extrapolation(rows: Floats, low: Floats, high: Floats) -> Floats:
    """How far features (n, F) lie outside a range, in widths of it; 0 where a network has none."""
    beyond = np.maximum(np.maximum(low - rows, rows - high), 0.0)
    widths: Floats = np.where(_applies(rows), beyond / np.maximum(high - low, NARROW), 0.0)
    return widths


def _applies(rows: Floats) -> NDArray[np.bool_]:
    """Whether a network has what a feature tells of, (n, F)."""
    has = np.ones(rows.shape, dtype=bool)
    for stage in range(1, 5):
        without = rows[:, NAMES.index(f"attention_share_{stage}")] == 1
        for name in OF_SAM:
            has[without, NAMES.index(f"{name}_{stage}")] = False
    return has


NARROW = 0.05  # width taken for a feature that hardly varies in a bench


def measure_distance(extrapolation: Floats) -> Floats:
    """How far networks lie outside by all features together: (n, F) to (n,), (F,) to a number."""
    # apart, so that features added at 0 change not even a last bit
    axis = 1 if extrapolation.ndim == 2 else None
    evidenced = np.linalg.norm(extrapolation[..., :_FIRST_ADDED], axis=axis)
    added = np.linalg.norm(extrapolation[..., _FIRST_ADDED:], axis=axis)
    return np.asarray(np.hypot(evidenced, added))


def of_genes(space: SearchSpace, genes: Genes) -> Floats:
    """Features of (n, G) genes; (n, F)."""
    genes = space.canonical(genes)

    def option(field: str, read: Callable[[Any], float]) -> NDArray[Any]:
        return np.column_stack([space.values(genes, i, field, read) for i in range(4)])

    blocks = [space.blocks(genes, stage) for stage in range(4)]
    whole = costs.estimate(space, genes)
    networks = Networks(
        option=option,
        sam=np.column_stack([sam for sam, _ in blocks]),
        msa=np.column_stack([msa for _, msa in blocks]),
        place=np.column_stack([_place_attention_of_genes(space, genes, i) for i in range(4)]),
        stage_macs=costs.stage_macs(space, genes),
        levels=(whole.macs, whole.params, whole.activations),
        reference=_measure_reference(reference.at(space.config)),
    )
    return _compute_features(networks)


def of_archs(archs: Sequence[Architecture]) -> Floats:
    """Features of n architectures; (n, F)."""
    rows = np.empty((len(archs), len(NAMES)))
    references = [reference.at(arch) for arch in archs]
    for pattern in dict.fromkeys(references):
        at = [i for i, r in enumerate(references) if r == pattern]
        rows[at] = _measure_archs([archs[i] for i in at], _measure_reference(pattern))
    return rows


def _measure_archs(archs: Sequence[Architecture], pattern: Reference) -> Floats:
    """Those of architectures of one input, whose published pattern is given."""
    parts = [costs.by_part(arch) for arch in archs]

    def option(field: str, read: Callable[[Any], float]) -> NDArray[Any]:
        return np.array([[read(getattr(stage, field)) for stage in a.stages] for a in archs])

    def count(mixer: Mixer) -> NDArray[np.int64]:
        return np.array([[stage.mixers.count(mixer) for stage in a.stages] for a in archs])

    def add_up(cost: str) -> NDArray[np.int64]:
        return np.array([sum(getattr(part, cost) for part in every) for every in parts])

    networks = Networks(
        option=option,
        sam=count("sam"),
        msa=count("msa"),
        place=np.array([[_place_attention(stage.mixers) for stage in a.stages] for a in archs]),
        stage_macs=np.array([costs.add_up_stages(every) for every in parts]),
        levels=(add_up("macs"), add_up("params"), add_up("activations")),
        reference=pattern,
    )
    return _compute_features(networks)


def _compute_features(networks: Networks) -> Floats:
    return np.column_stack([feature.of(networks) for feature in FEATURES])


@dataclass(frozen=True)
class Reference:
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
def _measure_reference(arch: Architecture) -> Reference:
    whole = costs.of(arch)
    return Reference(
        levels=(whole.macs, whole.params, whole.activations),
        depth=sum(s.depth for s in arch.stages),
        ratios=tuple(s.mlp_ratio for s in arch.stages),
    )


def _place_attention(order: Sequence[Mixer]) -> float:
    """Where the attention stands among the blocks: -1 all first, 1 all last, 0 spread or alone."""
    n, at = len(order), [i for i, kind in enumerate(order) if kind == "msa"]
    if not at or len(at) == n:
        return 0.0
    farthest = (n - len(at)) / 2  # of their mean from the middle
    return (sum(at) / len(at) - (n - 1) / 2) / farthest


def _place_attention_of_genes(space: SearchSpace, genes: Genes, stage: int) -> Floats:
    """`_place_attention` of a stage of (n, G) genes, (n,)."""
    options = space.config.stages[stage]
    table = _tabulate_places(tuple(getattr(options, field) for field in ORDER))
    at = tuple(genes[:, space.column(stage, field)] for field in ORDER)
    return np.asarray(table[at])


@cache
def _tabulate_places(chosen: tuple[tuple[Any, ...], ...]) -> Floats:
    """`_place_attention` of every combination of the options of the fields of ORDER."""
    places = [_place_attention(arrange_mixers(*order)) for order in itertools.product(*chosen)]
    return np.array(places).reshape([len(values) for values in chosen])
