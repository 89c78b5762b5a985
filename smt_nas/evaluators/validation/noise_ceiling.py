"""What the noise of trainings leaves to be had: figures that agree better do so by luck."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, zip_longest

import numpy as np
from numpy.typing import ArrayLike

from smt_nas.errors import ConfigError
from smt_nas.evaluators.validation import rank_statistics
from smt_nas.evaluators.validation.agreement import BAND, FEWEST, RESAMPLES, Taus, summarise_taus
from smt_nas.evaluators.validation.bootstrap import draw_weights
from smt_nas.evaluators.validation.rank_statistics import Bools, Floats, pairwise_signs

_DRAWS = 200


def estimate_noise_ceiling(
    by_seed: Sequence[Sequence[float | None]],
    macs: ArrayLike,
    rng: np.random.Generator,
    resamples: int = RESAMPLES,
) -> Taus:
    """Seed-to-seed tau: what training every network once more would score against one training.

    `by_seed` holds n sequences, of a network's accuracies by seed; None, or a shorter sequence,
    where it was not trained. Tau is the mean over pairs of seeds, each over the networks that have
    both. Beyond it lies only what knows a network's expected accuracy better than one training.

    Raises:
        ConfigError: fewer than three networks have two seeds.
    """
    seeds = np.array(list(zip_longest(*by_seed)), float).reshape(-1, len(by_seed))  # (seeds, n)
    kept = np.isfinite(seeds).sum(axis=0) > 1
    if kept.sum() < FEWEST:
        raise ConfigError(
            f"ceiling: needs {FEWEST} networks trained with two seeds or more (got {kept.sum()})."
            " Train more seeds."
        )
    seeds, band = seeds[:, kept], rank_statistics.pairs_in_band(np.asarray(macs, float)[kept], BAND)
    w = draw_weights(np.arange(len(band)), resamples, rng)
    return summarise_taus(lambda pairs: _compare_seeds(seeds, w, pairs), band)


def simulate_best(
    truth: ArrayLike, noise: ArrayLike, macs: ArrayLike, rng: np.random.Generator
) -> Taus | None:
    """What a figure that knows the expected accuracies would score against those trained.

    Simulated: expected accuracies lie about a quadratic in log MACs, spread as those trained are
    less the noise, which is normal. Intervals are of what chance does to the trained ones.

    Args:
        truth: trained accuracy of n networks, (n,).
        noise: standard deviation of each about its expected one, (n,); all 0: it is not known.
        macs: of each.
        rng: of the draws.

    Returns: None where the noise is not known.
    """
    trained, label_std, macs = (np.asarray(column, float) for column in (truth, noise, macs))
    if not label_std.any():
        return None
    size = np.log(macs / macs.mean())
    trend = np.column_stack([np.ones(len(size)), size, size**2])
    level = trend @ np.linalg.lstsq(trend, trained, rcond=None)[0]
    residual = trained - level
    left = np.clip(1 - np.mean(label_std**2) / max(np.var(residual), np.finfo(float).tiny), 0, 1)
    expected = level + np.sqrt(left) * residual
    retrained = expected + label_std * rng.normal(size=(_DRAWS, len(label_std)))
    s, once = pairwise_signs(expected), np.ones((1, len(label_std)))

    def put_mean_first(pairs: Bools | None) -> Floats:
        each = np.array(
            [rank_statistics.tau(s, pairwise_signs(one), once, pairs)[0] for one in retrained]
        )
        return np.array([each.mean(), *each])

    return summarise_taus(put_mean_first, rank_statistics.pairs_in_band(macs, BAND))


def _compare_seeds(seeds: Floats, w: Floats, pairs: Bools | None) -> Floats:
    """Mean tau (r,) over the pairs of seeds (seeds, n) that define one."""
    each = []
    for a, b in combinations(seeds, 2):
        both = np.isfinite(a) & np.isfinite(b)
        s, t = (np.nan_to_num(pairwise_signs(np.where(both, x, np.nan))) for x in (a, b))
        each.append(rank_statistics.tau(s, t, w, pairs))
    defined = np.isfinite(each).sum(axis=0)
    return np.where(defined > 0, np.nansum(each, axis=0) / np.maximum(defined, 1), np.nan)
