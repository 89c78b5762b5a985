"""The cheapest and the dearest network of a space, found exactly.

Costs of a network are a sum over its stages plus a term for each pair of neighbouring widths, so
the extremes follow from a chain over the widths (dynamic programming): enumerate each stage once,
keep the best row for each width, join neighbours. The peak is a maximum instead of a sum and
follows the same chain.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smt_nas.costs import formulas
from smt_nas.costs.estimate import estimate
from smt_nas.costs.formulas import Part
from smt_nas.costs.networks import Networks, StageColumns, from_genes
from smt_nas.space import Genes, SearchSpace

_ADDED = ("params", "macs", "attention_macs", "activations")


@dataclass(frozen=True)
class Range:
    """Smallest and largest value of a cost over a space; both are attained."""

    low: float
    high: float


def bounds(space: SearchSpace) -> dict[str, Range]:
    """Range of every cost metric over a space.

    Exact for parameters, MACs and activations. `peak_memory_mb` joins two costs: its range is
    that over the extreme networks of each.
    """
    costs = estimate(space, extremes(space)).as_dict()
    return {name: Range(float(v.min()), float(v.max())) for name, v in costs.items()}


def extremes(space: SearchSpace) -> Genes:
    """Canonical genes (10, G) of the networks with the least and the most of each cost."""
    chain = [_Link.of(space, i) for i in range(4)]
    rows = [
        _walk(space, chain, metric, sign) for metric in (*_ADDED, "peak") for sign in (1.0, -1.0)
    ]
    return space.canonical(np.array(rows))


@dataclass(frozen=True)
class _Link:
    """One stage: every combination of its genes, grouped by width.

    Attributes:
        rows: (D, m, G) genes; all columns of other stages are 0.
        parts: D `Part`s of (m,), the stage's own costs (stem and head included).
        joins: D_before x D table of the downsampling `Part`, or None for the first stage.
    """

    rows: Genes
    parts: list[Part]
    joins: list[list[Part]] | None

    @classmethod
    def of(cls, space: SearchSpace, stage: int) -> _Link:
        rows = _combinations(space, stage)
        nets = [from_genes(space, r) for r in rows]
        joins = None
        if stage:
            before = space.column(stage - 1, "dim")
            joins = [
                [_join(space, one[:1], stage, before, d) for one in rows]
                for d in range(space.cardinality[before])
            ]
        return cls(rows, [_own(net, stage) for net in nets], joins)


def _combinations(space: SearchSpace, stage: int) -> Genes:
    """All gene combinations of one stage (the stem's too for the first), by width: (D, m, G)."""
    dim = space.column(stage, "dim")
    free = [c for c in range(dim, dim + len(type(space.config.stages[0]).model_fields)) if c != dim]
    free += [0] if stage == 0 else []
    grid = np.indices([space.cardinality[c] for c in free]).reshape(len(free), -1)  # (free, m)
    rows = np.zeros((space.cardinality[dim], grid.shape[1], len(space.genes)), dtype=np.int64)
    rows[:, :, free] = grid.T
    rows[:, :, dim] = np.arange(space.cardinality[dim])[:, None]
    return rows


def _own(net: Networks, stage: int) -> Part:
    s = net.stages[stage]
    parts = [
        formulas.times(formulas.block(s, formulas.sam_mixer(s), net.layer_scale), s.sam),
        formulas.times(formulas.block(s, formulas.msa_mixer(s), net.layer_scale), s.msa),
        formulas.stage_norm(s),
    ]
    parts += [formulas.stem(net)] if stage == 0 else []
    parts += [formulas.head(net)] if stage == 3 else []
    return formulas.total(parts)


def _join(space: SearchSpace, row: Genes, stage: int, before: int, option: int) -> Part:
    row = row.copy()
    row[:, before] = option
    stages: tuple[StageColumns, ...] = from_genes(space, row).stages
    return formulas.downsample(stages[stage - 1], stages[stage])


def _walk(space: SearchSpace, chain: list[_Link], metric: str, sign: float) -> NDArray[np.int64]:
    """Genes (G,) of the network with the least `sign * metric`."""
    add: Callable[[float, float], float] = max if metric == "peak" and sign > 0 else _plus
    if metric == "peak" and sign < 0:
        add = min  # the largest peak: the smallest of the negated parts
    best: list[tuple[float, NDArray[np.int64]]] = []
    for link in chain:
        reached = []
        for d, part in enumerate(link.parts):
            values = sign * getattr(part, metric)
            at = int(values.argmin())
            value, row = float(values[at]), link.rows[d, at]
            if link.joins is not None:
                options = [
                    (add(cost, sign * float(getattr(link.joins[b][d], metric)[0])), genes)
                    for b, (cost, genes) in enumerate(best)
                ]
                cost, genes = min(options, key=lambda option: option[0])
                value, row = add(value, cost), row + genes
            reached.append((value, row))
        best = reached
    return min(best, key=lambda option: option[0])[1]


def _plus(a: float, b: float) -> float:
    return a + b
