"""What the noise of trainings leaves to be had: no figure agrees with them better than that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, zip_longest

import numpy as np
from numpy.typing import ArrayLike

from smt_nas.accuracy import order
from smt_nas.accuracy.agreement import BAND, FEWEST, RESAMPLES, Taus, taus
from smt_nas.accuracy.bootstrap import number, resampled
from smt_nas.accuracy.order import Bools, Floats, signs
from smt_nas.errors import ConfigError

_DRAWS = 200


def ceiling(
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
    seeds, band = seeds[:, kept], order.in_band(np.asarray(macs, float)[kept], BAND)
    w = resampled(np.arange(len(band)), resamples, rng)
    return taus(lambda pairs: _seed_to_seed(seeds, w, pairs), band)


@dataclass(frozen=True)
class AtBest:
    """Tau-b overall and in band; None where undefined."""

    kendall: float | None
    in_band: float | None


def at_best(
    truth: ArrayLike, noise: ArrayLike, macs: ArrayLike, rng: np.random.Generator
) -> AtBest | None:
    """Expected taus, with trained accuracies, of a figure that knows the expected ones exactly.

    Simulated: expected accuracies are spread as those trained are, less the noise, which is normal.

    Args:
        truth: trained accuracy of n networks, (n,).
        noise: standard deviation of each about its expected one, (n,).
        macs: of each.
        rng: of the draws.

    Returns: None where there is no noise, or nothing else.
    """
    trained, off = np.asarray(truth, float), np.asarray(noise, float)
    left = 1 - np.mean(off**2) / np.var(trained)
    if not off.any() or left <= 0:
        return None
    expected = trained.mean() + np.sqrt(left) * (trained - trained.mean())
    again = expected + off * rng.normal(size=(_DRAWS, len(expected)))
    s, once = signs(expected), np.ones((1, len(expected)))
    band = order.in_band(np.asarray(macs, float), BAND)
    means = [
        np.mean([order.tau(s, signs(each), once, pairs) for each in again], axis=0)
        for pairs in (None, band)
    ]
    return AtBest(number(means[0]), number(means[1]))


def _seed_to_seed(seeds: Floats, w: Floats, pairs: Bools | None) -> Floats:
    """Mean tau (r,) over the pairs of seeds (seeds, n) that define one."""
    taus = []
    for a, b in combinations(seeds, 2):
        both = np.isfinite(a) & np.isfinite(b)
        s, t = (np.nan_to_num(signs(np.where(both, x, np.nan))) for x in (a, b))
        taus.append(order.tau(s, t, w, pairs))
    defined = np.isfinite(taus).sum(axis=0)
    return np.where(defined > 0, np.nansum(taus, axis=0) / np.maximum(defined, 1), np.nan)
