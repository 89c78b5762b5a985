"""Proposals that break a budget are changed until they meet it, before they cost anything.

Constraints are known without an evaluation, so no strategy needs to learn them: each proposes what
it likes, and `complete_proposals` makes of it networks that meet the budget and are new.
"""

from __future__ import annotations

import numpy as np

from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.screen import drop_repeated, sample_feasible
from smt_nas.search.proposal.strategy import History
from smt_nas.space import Genes

_STEPS = 12  # changes of one gene in a row, at most
_NEIGHBOURS = 48  # of a network that are looked at in a step


def complete_proposals(
    problem: Problem, proposed: Genes, history: History, n: int, rng: np.random.Generator
) -> Genes:
    """Make up to n proposals (n, G) that meet the constraints and are new, of any rows (k, G).

    What breaks a constraint is repaired, what was taken is left out, and what is missing is
    filled: first with neighbours of what was proposed, then with feasible networks at random.
    """
    space = problem.space
    genes = space.canonical(proposed) if len(proposed) else proposed
    genes = history.drop_taken(repair(problem, genes, rng))[:n]
    if len(proposed) and len(genes) < n:
        base = repair(problem, space.canonical(proposed), rng)
        near = draw_neighbours(problem, base, rng, 4 + 4 * n // len(base)) if len(base) else base
        near = near[problem.feasible(near)] if len(near) else near
        genes = history.drop_taken(np.concatenate([genes, near]))[:n]
    if len(genes) < n:
        pool = sample_feasible(problem, rng, n + history.n_taken + len(genes))
        genes = history.drop_taken(np.concatenate([genes, pool]))[:n]
    return genes


def repair(problem: Problem, genes: Genes, rng: np.random.Generator) -> Genes:
    """Rows (k, G), those that break a constraint changed until they meet all; (k', G), k' <= k.

    A step changes that gene which lowers the violation most, so a repaired network stays near the
    proposed one. Where steps do not get there, genes of a feasible network are taken over one by
    one, the nearest of some drawn. A row goes only where no feasible network is there at all.
    """
    out = np.array(genes, dtype=np.int64)
    if not problem.constraints or not len(out):
        return out
    wrong = np.flatnonzero(~problem.feasible(out))
    for _ in range(_STEPS):
        if not len(wrong):
            return out
        out[wrong], holds = _step_down(problem, out[wrong], rng)
        wrong = wrong[~holds]
    if not len(wrong):
        return out
    anchors = sample_feasible(problem, rng, 64)
    if not len(anchors):
        return np.delete(out, wrong, axis=0)
    for at in wrong:
        distance = (anchors != out[at]).sum(axis=1)
        out[at] = _approach(problem, out[at], anchors[int(distance.argmin())], rng)
    return out


def _step_down(
    problem: Problem, genes: Genes, rng: np.random.Generator
) -> tuple[Genes, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Of each row the neighbour, or itself, of least violation; and which rows meet all now."""
    k, width = genes.shape
    around = np.concatenate([genes[:, None], _change_one(problem, genes, rng, _NEIGHBOURS)], axis=1)
    rows = around.reshape(-1, width)
    violation = problem.total_violation(problem.values(rows)).reshape(k, -1)
    best = violation.argmin(axis=1)
    return around[np.arange(k), best], violation[np.arange(k), best] == 0


def _approach(problem: Problem, row: Genes, anchor: Genes, rng: np.random.Generator) -> Genes:
    """The first feasible network on a way from a row (G,) to a feasible anchor (G,)."""
    differing = rng.permutation(np.flatnonzero(row != anchor))
    way = np.repeat(row[None], len(differing), axis=0)
    for step, gene in enumerate(differing):
        way[step:, gene] = anchor[gene]
    way = np.concatenate([problem.space.canonical(way), anchor[None]])
    return np.asarray(way[int(problem.feasible(way).argmax())])


def draw_neighbours(problem: Problem, genes: Genes, rng: np.random.Generator, n_each: int) -> Genes:
    """Networks that differ from rows (k, G) in one gene, `n_each` of each; unique rows.

    Of a space of one network there are none.
    """
    if not len(genes) or problem.space.size == 1:
        return genes[:0]
    return drop_repeated(_change_one(problem, genes, rng, n_each).reshape(-1, genes.shape[1]))


def _change_one(problem: Problem, genes: Genes, rng: np.random.Generator, n_each: int) -> Genes:
    """Neighbours (k, n_each, G) of rows (k, G): each has another option for one gene."""
    k, width = genes.shape
    cardinality = problem.space.cardinality
    free = np.flatnonzero(cardinality > 1)
    around = np.repeat(genes[:, None], n_each, axis=1)
    gene = free[rng.integers(0, len(free), (k, n_each))]
    shift = 1 + np.floor(rng.random((k, n_each)) * (cardinality[gene] - 1)).astype(np.int64)
    at = np.ix_(np.arange(k), np.arange(n_each))
    around[(*at, gene)] = (around[(*at, gene)] + shift) % cardinality[gene]
    flat = problem.space.canonical(around.reshape(-1, width))
    return np.asarray(flat.reshape(k, n_each, width))
