"""Statistics of two orders of n networks, as functions of weights (r, n) on the networks.

A row of ones gives the value of a statistic, a row of bootstrap counts that of a resample; so each
function returns (r,), with NaN where it is undefined. The weight of a pair is the product of two. A
network makes no pair with itself: copies in a resample make none.

Orders come as their pairs, `pairwise_signs(x)`, which hold all that is used of x but in `regret`.

`scipy.stats` has tau-b and rho of one sample, to which the tests hold these; resamples of groups of
networks, and taus in band, it has not, and a product of matrices takes all resamples at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

_FEWEST = 3  # networks in a band to pick from
_PER_TERM = 2  # networks to each term of a regression
_DIGITS = 8  # of a residual in normal scores; below lies rounding
_RANK = 1e-10  # eigenvalues below this share of the largest are those of a redundant control

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def pairwise_signs(x: Floats) -> Floats:
    """Sign of x_i - x_j, (n, n), for x (n,)."""
    return np.sign(x[:, None] - x)


def pairs_in_band(macs: Floats, share: float) -> Bools:
    """Which networks (n, n) have the larger MACs at most 1 + share times the smaller."""
    below: Bools = macs[:, None] <= (1 + share) * macs
    return below & below.T


def tau(s: Floats, t: Floats, w: Floats, pairs: Bools | None = None) -> Floats:
    """Kendall's tau-b (1945) over `pairs` (n, n), or over all.

    (concordant - discordant) / sqrt(pairs untied in the first * pairs untied in the second).
    """
    mask = np.ones(1) if pairs is None else pairs
    concordance, first, second = (((w @ (m * mask)) * w).sum(axis=1) for m in (s * t, s * s, t * t))
    return _ratio(concordance, np.sqrt(first * second))


def rho(s: Floats, t: Floats, w: Floats) -> Floats:
    """Spearman's rho; ties have the mean of their ranks."""
    x, y = w @ s.T, w @ t.T  # (r, n) ranks within each resample, doubled and about their mean
    return _ratio(
        (w * x * y).sum(axis=1), np.sqrt((w * x * x).sum(axis=1) * (w * y * y).sum(axis=1))
    )


def partial_tau(s: Floats, t: Floats, controls: Sequence[Floats], w: Floats) -> Floats:
    """Tau-b of the residuals of both orders, after regression on those of `controls` (n, n).

    All are normal scores of ranks (van der Waerden 1952), so only orders count and log-MACs are
    MACs; the regression is quadratic. The formula on taus (Kendall 1942) is not used: independence
    given the controls does not make it 0 (Korn 1984). Two normal variables that each correlate by
    0.9 with the control, and by it alone, give 0.19 there, and 0 here.

    Undefined for a monotone function of a control, of which nothing is left, and for fewer networks
    than two per term of the quadratic.
    """
    columns = [np.ones(len(s)), *map(_normal_scores, controls)]
    design = np.column_stack([a * b for a, b in combinations_with_replacement(columns, 2)])
    x, y = (_residuals(_normal_scores(order), design, w) for order in (s, t))
    taus = [
        tau(pairwise_signs(a), pairwise_signs(b), row[None])
        for a, b, row in zip(x, y, w, strict=True)
    ]
    enough = (w > 0).sum(axis=1) >= _PER_TERM * design.shape[1]
    return np.where(enough, np.concatenate(taus), np.nan)


def recall(s: Floats, t: Floats, w: Floats, k: int) -> Floats:
    """Share of the k first in the second order that are among the k first in the other.

    Expected, where ties at an edge are broken by lot; undefined where there are no more than k.
    """
    if len(s) <= k:
        return np.full(len(w), np.nan)
    shared: Floats = (w * _in_top(s, w, k) * _in_top(t, w, k)).sum(axis=1)
    return shared / k


def regret(figures: Floats, truth: Floats, band: Bools, w: Floats) -> Floats:
    """Best truth in a band less the truth of its highest figure; mean over bands of three or more.

    Row i of `band` (n, n) says which networks, i among them, are in the band about network i.
    Where several figures are highest, the mean of their truths counts.
    """
    return np.array([_regret(figures, truth, band, row) for row in w])


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _normal_scores(s: Floats) -> Floats:
    """Normal quantiles (n,) of rank / (n + 1)."""
    n = len(s)
    scores: Floats = ndtri(0.5 + s.sum(axis=1) / (2 * (n + 1)))
    return scores


def _residuals(x: Floats, design: Floats, w: Floats) -> Floats:
    """What weighted least squares on a design (n, f) leave of x (n,): (r, n)."""
    gram = np.einsum("rn,nf,ng->rfg", w, design, design, optimize=True)
    inverse = np.linalg.pinv(gram, rcond=_RANK, hermitian=True)
    fitted = np.einsum("rfg,rg->rf", inverse, (w * x) @ design) @ design.T
    left: Floats = np.round(x - fitted, _DIGITS)
    return left


def _in_top(s: Floats, w: Floats, k: int) -> Floats:
    """Chance (r, n) of each network to be among the k first."""
    above, tied = w @ (s < 0).T, w @ (s == 0).T
    chance: Floats = np.clip((k - above) / np.maximum(tied, 1), 0, 1)
    return chance


def _regret(figures: Floats, truth: Floats, band: Bools, w: Floats) -> float:
    present = np.flatnonzero(w)
    x, y, members = figures[present], truth[present], band[np.ix_(present, present)]
    picked = members & (x == np.where(members, x, -np.inf).max(axis=1, keepdims=True))
    lost = np.where(members, y, -np.inf).max(axis=1) - picked @ y / picked.sum(axis=1)
    centres = w[present] * (members.sum(axis=1) >= _FEWEST)
    return float(centres @ lost / centres.sum()) if centres.any() else np.nan
