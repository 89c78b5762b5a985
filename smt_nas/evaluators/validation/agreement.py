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
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from smt_nas.errors import ConfigError
from smt_nas.evaluators.validation import rank_statistics
from smt_nas.evaluators.validation.bootstrap import (
    BootstrapEstimate,
    default_groups,
    draw_weights,
    summarise,
)
from smt_nas.evaluators.validation.rank_statistics import Bools, Floats, pairwise_signs

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
        in_band: tau-b over pairs of networks of about equal MACs, which MACs alone cannot win.
        partial: tau-b given MACs and params; undefined where one of them is the figure.
        top_recall: share of the best ten by truth that are among the best ten by figures.
        regret: what picking by figure costs at equal MACs, in the unit of truth.
        n: networks compared.
        pairs: of those, in band.
        failed: networks left out, for want of a figure (or of a truth).
    """

    kendall: BootstrapEstimate
    spearman: BootstrapEstimate
    in_band: BootstrapEstimate
    partial: BootstrapEstimate
    top_recall: BootstrapEstimate
    regret: BootstrapEstimate
    n: int
    pairs: int
    failed: int


@dataclass(frozen=True)
class Taus:
    """Tau-b overall and in band, of n networks that make `pairs` pairs in band."""

    kendall: BootstrapEstimate
    in_band: BootstrapEstimate
    n: int
    pairs: int


@dataclass(frozen=True)
class PickGap:
    """Recall of the best and regret of one figure, less those of another.

    Attributes:
        top_recall: above 0 where it finds more of the best.
        regret: below 0 where its picks lose less.
    """

    top_recall: BootstrapEstimate
    regret: BootstrapEstimate

    @property
    def picks_better(self) -> bool:
        """Whether one of the two is better beyond doubt, and none is worse."""
        recall, regret = self.top_recall, self.regret
        gains = (recall.low or 0.0) > 0, (regret.high or 0.0) < 0
        losses = (recall.high or 0.0) < 0, (regret.low or 0.0) > 0
        return any(gains) and not any(losses)


def measure_agreement(
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
    x, y, macs, params, groups = _drop_failed(
        figures, truth, macs, params, default_groups(groups, figures)
    )
    failed = np.size(figures) - x.size
    _check_truth(y, failed)
    w = draw_weights(groups, resamples, rng)
    s, t, band = pairwise_signs(x), pairwise_signs(y), rank_statistics.pairs_in_band(macs, BAND)
    return Agreement(
        kendall=summarise(rank_statistics.tau(s, t, w)),
        spearman=summarise(rank_statistics.rho(s, t, w)),
        in_band=summarise(rank_statistics.tau(s, t, w, band)),
        partial=summarise(
            rank_statistics.partial_tau(s, t, [pairwise_signs(macs), pairwise_signs(params)], w)
        ),
        top_recall=summarise(rank_statistics.recall(s, t, w, TOP)),
        regret=summarise(rank_statistics.regret(x, y, band, w)),
        n=x.size,
        pairs=_count_pairs(band),
        failed=failed,
    )


def compare_taus(
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
    those of `measure_agreement`.

    Raises:
        ConfigError: as `measure_agreement`.
    """
    drawn = _draw(figures, other, truth, macs, rng, resamples, groups)

    def subtract_taus(pairs: Bools | None) -> Floats:
        one, two = (
            rank_statistics.tau(pairwise_signs(x), drawn.order, drawn.weights, pairs)
            for x in drawn.figures
        )
        return one - two

    return summarise_taus(subtract_taus, drawn.band)


def compare_picks(
    figures: ArrayLike,
    other: ArrayLike,
    truth: ArrayLike,
    macs: ArrayLike,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
    groups: ArrayLike | None = None,
) -> PickGap:
    """What picking by figures (n,) gains over picking by other figures (n,), on the same resamples.

    Arguments and errors are those of `compare_taus`.
    """
    drawn = _draw(figures, other, truth, macs, rng, resamples, groups)
    w = drawn.weights
    recalls = [
        rank_statistics.recall(pairwise_signs(x), drawn.order, w, TOP) for x in drawn.figures
    ]
    regrets = [rank_statistics.regret(x, drawn.truth, drawn.band, w) for x in drawn.figures]
    return PickGap(summarise(recalls[0] - recalls[1]), summarise(regrets[0] - regrets[1]))


class _Drawn(NamedTuple):
    """Two figures of the same networks, and the resamples they are compared on.

    `figures`: (n,) each; `truth`: (n,); `order`: its pairwise signs (n, n); `band`: pairs of like
    MACs (n, n); `weights`: as `draw_weights` gives them.
    """

    figures: tuple[Floats, Floats]
    truth: Floats
    order: Floats
    band: Bools
    weights: Floats


def _draw(
    figures: ArrayLike,
    other: ArrayLike,
    truth: ArrayLike,
    macs: ArrayLike,
    rng: np.random.Generator,
    resamples: int,
    groups: ArrayLike | None,
) -> _Drawn:
    """Keep the networks that have both figures, and draw resamples. Raises ConfigError."""
    a, b, y, kept_macs, kept_groups = _drop_failed(
        figures, other, truth, macs, default_groups(groups, figures)
    )
    _check_truth(y, np.size(figures) - a.size)
    weights = draw_weights(kept_groups, resamples, rng)
    band = rank_statistics.pairs_in_band(kept_macs, BAND)
    return _Drawn((a, b), y, pairwise_signs(y), band, weights)


def _drop_failed(*columns: ArrayLike) -> list[Floats]:
    """Columns (n,) without the networks that lack an entry in one of them."""
    table = np.array([np.asarray(column, float) for column in columns])
    return list(table[:, np.isfinite(table).all(axis=0)])


def _check_truth(truth: Floats, failed: int) -> None:
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


def _count_pairs(band: Bools) -> int:
    """Pairs in a band (n, n), those tied in figures or truth included."""
    return (int(band.sum()) - len(band)) // 2  # each network is in its own band


def summarise_taus(tau: Callable[[Bools | None], Floats], band: Bools) -> Taus:
    """Of taus (1 + r,) at the weights of `draw_weights`, over all pairs and over those in band."""
    return Taus(summarise(tau(None)), summarise(tau(band)), len(band), _count_pairs(band))
