"""The cheapest and the dearest network of a space, found exactly.

A cost of a network is a sum over its stages, plus a term for each pair of neighbouring widths (the
downsampling). The peak is a maximum instead of a sum, and that of a stage also depends on the
width before, whose map stays alive. So the extremes follow from a chain over the widths (dynamic
programming): enumerate each stage once, keep for each width what no other combination beats, join
neighbours. Peak memory is weights plus peak; what is kept for it is a Pareto set of the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.costs.cost_table import CostTable, Sums, add_up, cost_table
from smt_nas.costs.estimate import estimate
from smt_nas.costs.parts import Ints
from smt_nas.space import Genes, SearchSpace

_METRICS = ("params", "macs", "attention_macs", "activations", "peak_memory_mb")
_CASES = tuple((metric, sign) for metric in _METRICS for sign in (1, -1))  # least, most


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of a cost over a space; both are attained."""

    low: float
    high: float


def bounds(space: SearchSpace) -> dict[str, Range]:
    """Exact range of every cost metric over a space."""
    costs = estimate(space, extremes(space)).as_dict()
    return {name: Range(float(v.min()), float(v.max())) for name, v in costs.items()}


def extremes(space: SearchSpace) -> Genes:
    """Canonical genes (10, G) of the networks with the least and the most of each cost."""
    table = cost_table(space)
    kept = [_prune_stage(table, stage) for stage in range(4)]
    rows = []
    for case, (metric, sign) in enumerate(_CASES):
        best = kept[0][case]
        for stage in (1, 2, 3):
            best = [
                _extend_chains(table, best, own, (stage, width), metric, sign)
                for width, own in enumerate(kept[stage][case])
            ]
        heads = [table.head(_choose_widths(space, 3, 0, width)) for width in range(len(best))]
        ends = [
            _join_pairs(k.pairs, _stack_pairs(h, metric)) for k, h in zip(best, heads, strict=True)
        ]
        totals = sign * np.concatenate(ends).sum(axis=1)
        rows.append(np.concatenate([k.rows for k in best])[totals.argmin()])
    return space.canonical(np.array(rows))


@dataclass(frozen=True)
class _Kept:
    """Gene combinations of some stages that no other beats, with their costs.

    Attributes:
        pairs: (k, 2): what adds up over the parts, what is their maximum.
        rows: (k, G) genes; 0 in the columns of the other stages.
    """

    pairs: Ints
    rows: Genes


def _prune_stage(table: CostTable, stage: int) -> list[list[_Kept]]:
    """For each case and each width, what is worth keeping of a stage.

    Of later stages the peak is without what is held from before, and downsampling is left out.
    """
    space = table.index.space
    widths = range(space.cardinality[space.column(stage, "dim")])
    of_width = (_prune_width(table, stage, width) for width in widths)
    return [list(case) for case in zip(*of_width, strict=True)]


def _prune_width(table: CostTable, stage: int, width: int) -> list[_Kept]:
    rows = _enumerate_stage(table.index.space, stage, width)
    sums = table.body(rows, stage)
    if stage == 0:
        sums = add_up((table.embed(rows, stage), sums)).add_alive(table.count_alive(rows, stage))
    kept = []
    for metric, sign in _CASES:
        pairs = _stack_pairs(sums, metric)
        best = _select_unbeaten(pairs, sign)
        kept.append(_Kept(pairs[best], rows[best].astype(np.int64)))
    return kept


def _enumerate_stage(space: SearchSpace, stage: int, width: int) -> NDArray[Any]:
    """All combinations (m, G) of a stage's genes at one width; the stem's with the first."""
    dim = space.column(stage, "dim")
    free = [column for column in space.columns(stage).values() if column != dim]
    free += [0] if stage == 0 else []
    counts = [int(space.cardinality[c]) for c in free]
    rows = np.zeros((prod(counts), len(space.genes)), dtype=np.uint8)  # m can be a million
    rows[:, dim] = width
    repeat = len(rows)
    for column, count in zip(free, counts, strict=True):
        repeat //= count
        rows[:, column] = np.arange(len(rows)) // repeat % count
    return rows


def _choose_widths(space: SearchSpace, stage: int, before: int, width: int) -> Genes:
    """Genes (1, G) with these width options of a stage and of the one before."""
    row = np.zeros((1, len(space.genes)), dtype=np.int64)
    row[0, space.column(stage - 1, "dim")] = before
    row[0, space.column(stage, "dim")] = width
    return row


def _stack_pairs(sums: Sums, metric: str) -> Ints:
    """(k, 2): what adds up over the parts, what is their maximum."""
    if metric == "peak_memory_mb":  # both in elements of 4 bytes
        return np.stack([sums.of("params"), sums.peak], axis=1)
    value = sums.of(metric)
    return np.stack([value, np.zeros_like(value)], axis=1)


def _join_pairs(one: Ints, other: Ints) -> Ints:
    """Pairs of parts taken together; broadcasts."""
    sums = one[..., 0] + other[..., 0]
    return np.stack([sums, np.maximum(one[..., 1], other[..., 1])], axis=-1)


def _select_unbeaten(pairs: Ints, sign: int) -> NDArray[np.intp]:
    """Indices of the pairs (k, 2) that no other undercuts (sign 1) or exceeds (-1) in both."""
    sums, peaks = sign * pairs.T
    order = np.lexsort((peaks, sums))
    least = np.minimum.accumulate(peaks[order])
    return np.asarray(order[np.append(True, least[1:] < least[:-1])])


def _extend_chains(
    table: CostTable,
    best: list[_Kept],
    own: _Kept,
    at: tuple[int, int],
    metric: str,
    sign: int,
) -> _Kept:
    """The chains up to the stage before, by its width, each joined with one width of a stage."""
    stage, width = at
    joined = []
    for before, chain in enumerate(best):
        widths = _choose_widths(table.index.space, stage, before, width)
        alive = table.count_alive(widths, stage)
        pairs = own.pairs.copy()
        pairs[:, 1] += int(alive[0]) * (metric == "peak_memory_mb")
        embed = _stack_pairs(table.embed(widths, stage).add_alive(alive), metric)
        both = _join_pairs(_join_pairs(chain.pairs, embed)[:, None], pairs).reshape(-1, 2)
        i, j = np.divmod(_select_unbeaten(both, sign), len(pairs))
        joined.append(_Kept(both[i * len(pairs) + j], chain.rows[i] + own.rows[j]))
    pairs = np.concatenate([k.pairs for k in joined])
    rows = np.concatenate([k.rows for k in joined])
    final = _select_unbeaten(pairs, sign)
    return _Kept(pairs[final], rows[final])
