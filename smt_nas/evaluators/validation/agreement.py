"""How well figures of networks order them as their trained accuracy does.

A figure is better when it is higher; `truth` is the trained accuracy. A figure that is not finite
(None, NaN) is a network that failed: it is left out. A statistic that is undefined, such as the tau
of figures that are all alike, is None.

Intervals are percentiles over resamples of networks, in which copies of one make no pair; networks
of a group, alike but for a detail, are drawn together. Where a network has few others at its MACs,
those of taus in band are too wide (in simulation by a third at 60 networks over a tenfold range of
MACs, by a sixth at 200); those of a regret, which hangs on few networks, are somewhat narrow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from smt_nas.errors import ConfigError
from smt_nas.evaluators.validation import rank_statistics
from smt_nas.evaluators.validation.bootstrap import Estimate, apart, estimate, number, resampled
from smt_nas.evaluators.validation.rank_statistics import Bools, Floats, signs

BAND = 0.10  # MACs that count as equal: the larger at most 10 % above the smaller
TOP = 10
RESAMPLES = 1000
FEWEST = 3  # networks to say anything of
_MOST = 3000  # networks whose pairs, once a resample, are still a matter of minutes


@dataclass(frozen=True)
class Agreement:
    """How figures agree with trained accuracy.

    Attributes:
        kendall, spearman: over all networks; tau-b.
        in_band: `in_band_tau`; the one that MACs alone cannot win.
        partial: `partial_tau` given MACs and params; undefined where one of them is the figure.
        top_recall: of the best ten.
        regret: `equal_macs_regret`, in the unit of truth.
        n: networks compared.
        pairs: of those, in band.
        failed: networks left out, for want of a figure (or of a truth).
    """

    kendall: Estimate
    spearman: Estimate
    in_band: Estimate
    partial: Estimate
    top_recall: Estimate
    regret: Estimate
    n: int
    pairs: int
    failed: int


@dataclass(frozen=True)
class Taus:
    """Tau-b overall and in band, of n networks that make `pairs` pairs in band."""

    kendall: Estimate
    in_band: Estimate
    n: int
    pairs: int


def kendall(figures: ArrayLike, truth: ArrayLike) -> float | None:
    """Kendall's tau-b (Kendall 1945) of figures (n,) and truth (n,)."""
    x, y = _finite(figures, truth)
    return number(rank_statistics.tau(signs(x), signs(y), _once(x)))


def spearman(figures: ArrayLike, truth: ArrayLike) -> float | None:
    """Spearman's rho of figures (n,) and truth (n,); ties have the mean of their ranks."""
    x, y = _finite(figures, truth)
    return number(rank_statistics.rho(signs(x), signs(y), _once(x)))


def in_band_tau(
    figures: ArrayLike, truth: ArrayLike, macs: ArrayLike, share: float = BAND
) -> tuple[float | None, int]:
    """Tau-b over the pairs whose larger MACs are at most 1 + share times the smaller.

    (concordant - discordant) / sqrt(pairs untied in figures * pairs untied in truth), all in band.

    Returns: tau, and the number of pairs in band, tied ones included.
    """
    x, y, macs = _finite(figures, truth, macs)
    band = rank_statistics.in_band(macs, share)
    return number(rank_statistics.tau(signs(x), signs(y), _once(x), band)), _pairs(band)


def partial_tau(figures: ArrayLike, truth: ArrayLike, controls: ArrayLike) -> float | None:
    """Tau-b of what controls (n, k) leave of figures (n,) and of truth (n,).

    Each column becomes normal scores of its ranks (van der Waerden 1952), so only orders count and
    log-MACs are MACs; figures and truth are regressed on a quadratic in the controls; tau-b is
    taken of the residuals. The formula on taus (Kendall 1942) is not used: independence given the
    controls does not make it 0 (Korn 1984). Two normal variables that each correlate by 0.9 with
    the control, and by it alone, give 0.19 there, and 0 here.

    Figures that are a monotone function of a control leave nothing: None. So do fewer networks than
    two per term of the quadratic.
    """
    x, y, *given = map(signs, _finite(figures, truth, *np.asarray(controls, float).T))
    return number(rank_statistics.partial_tau(x, y, given, _once(x)))


def top_recall(figures: ArrayLike, truth: ArrayLike, k: int = TOP) -> float | None:
    """Share of the k best by truth that are among the k best by figures.

    Expected, where ties at either edge are broken by lot. None where there are no more than k.
    """
    x, y = _finite(figures, truth)
    return number(rank_statistics.recall(signs(x), signs(y), _once(x), k))


def equal_macs_regret(
    figures: ArrayLike, truth: ArrayLike, macs: ArrayLike, share: float = BAND
) -> float | None:
    """What picking by figure costs at equal MACs, in the unit of truth.

    Each network is the centre of a band: itself and those in band with it. The regret of the band
    is its best truth less the truth of its highest figure (the mean, where several are highest);
    the result is the mean over bands of three or more. None where there is none.
    """
    x, y, macs = _finite(figures, truth, macs)
    return number(rank_statistics.regret(x, y, rank_statistics.in_band(macs, share), _once(x)))


def agreement(
    figures: ArrayLike,
    truth: ArrayLike,
    macs: ArrayLike,
    params: ArrayLike,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    groups: ArrayLike | None = None,
) -> Agreement:
    """Compare figures (n,) with truth (n,) of networks of macs (n,) and params (n,).

    Args:
        figures: higher is better.
        truth: trained accuracy.
        macs: of each.
        params: of each.
        rng: of the resamples.
        resamples: how many.
        groups: networks with the same number are resampled together, (n,); None: each alone.

    Raises:
        ConfigError: fewer than three networks have a figure, or all of those the same truth, or
            they are too many.
    """
    x, y, macs, params, groups = _finite(figures, truth, macs, params, apart(groups, figures))
    failed = np.size(figures) - x.size
    _check(y, failed)
    w = resampled(groups, resamples, rng)
    s, t, band = signs(x), signs(y), rank_statistics.in_band(macs, BAND)
    return Agreement(
        kendall=estimate(rank_statistics.tau(s, t, w)),
        spearman=estimate(rank_statistics.rho(s, t, w)),
        in_band=estimate(rank_statistics.tau(s, t, w, band)),
        partial=estimate(rank_statistics.partial_tau(s, t, [signs(macs), signs(params)], w)),
        top_recall=estimate(rank_statistics.recall(s, t, w, TOP)),
        regret=estimate(rank_statistics.regret(x, y, band, w)),
        n=x.size,
        pairs=_pairs(band),
        failed=failed,
    )


def difference(
    figures: ArrayLike,
    other: ArrayLike,
    truth: ArrayLike,
    macs: ArrayLike,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    groups: ArrayLike | None = None,
) -> Taus:
    """Tau of figures (n,) less tau of other figures (n,), on the same networks and resamples.

    Only networks with both figures count. An interval clear of 0 is a difference. Arguments are
    those of `agreement`.

    Raises:
        ConfigError: as `agreement`.
    """
    a, b, y, macs, groups = _finite(figures, other, truth, macs, apart(groups, figures))
    _check(y, np.size(figures) - a.size)
    w = resampled(groups, resamples, rng)
    t = signs(y)

    def less(pairs: Bools | None) -> Floats:
        return rank_statistics.tau(signs(a), t, w, pairs) - rank_statistics.tau(
            signs(b), t, w, pairs
        )

    return taus(less, rank_statistics.in_band(macs, BAND))


def _finite(*columns: ArrayLike) -> list[Floats]:
    """Columns (n,) without the networks that lack an entry in one of them."""
    table = np.array([np.asarray(column, float) for column in columns])
    return list(table[:, np.isfinite(table).all(axis=0)])


def _check(truth: Floats, failed: int) -> None:
    if truth.size < FEWEST:
        raise ConfigError(
            f"agreement: needs figures of {FEWEST} networks or more (got {truth.size},"
            f" and {failed} that failed). Use another evaluator, or a larger bench."
        )
    if np.ptp(truth) == 0:
        raise ConfigError(
            f"agreement: trained accuracies must differ (got {truth[0]:g} for all {truth.size}"
            " networks). Use another bench."
        )
    if truth.size > _MOST:
        raise ConfigError(
            f"agreement: compares {_MOST} networks or fewer (got {truth.size}). Use a part of the "
            "bench."
        )


def _pairs(band: Bools) -> int:
    return (int(band.sum()) - len(band)) // 2  # each network is in its own band


def _once(x: Floats) -> Floats:
    return np.ones((1, len(x)))


def taus(tau: Callable[[Bools | None], Floats], band: Bools) -> Taus:
    """Of taus (1 + r,) at the weights of `resampled`, over all pairs and over those in band."""
    return Taus(estimate(tau(None)), estimate(tau(band)), len(band), _pairs(band))
