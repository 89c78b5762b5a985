"""Laws of capacity side by side: `python -m benchmarks.capacity`.

Each law gives the rise of ImageNet-1K top-1 with MACs, parameters and activations that published
families share; it is fitted to hybrids, as the families nearest to SMT, with a level for each
family. Columns:

- none known: mean absolute error (MAE, points) for a family left out, at the mean level of the
  other hybrids: over hybrids, and over all families.
- 4 known: the same when its line is laid through any four of its members, over the others; families
  of five and more. As it is used on SMT.
- SMT: published less predicted of T, S, B and L, none known, and then all four.
- holds: share in the 80 % interval, its width taken from the other families.
- falls: share of networks of the space `smt` for which more of one cost alone gives less.
- promise: the best of the space at SMT-T's MACs, less SMT-T. What a search would be told.
- limit: predicted at 100 times SMT-L's costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import least_squares, nnls

from smt_nas import PRESETS, SearchSpace, costs
from smt_nas.evaluators.capacity import PUBLISHED_TOP1, SHARE
from smt_nas.evaluators.scaling_law import (
    KNEES,
    LAW,
    FamilyLine,
    Floats,
    LeftOutErrors,
    PublishedNetworks,
    ScalingLaw,
    Score,
    center_by_family,
    fit_within_families,
    leave_family_out,
    leave_out_families,
)

SAMPLE = 20_000
STEP = 1.1  # of one cost, to see whether more gives less
UNITS = np.array([1e9, 1e6, 1e6])
HINGES = np.log(np.geomspace([0.1, 2, 2], [30, 100, 100], 8))  # (8, 3)


@dataclass(frozen=True)
class OtherLaw(ScalingLaw):
    """A law with another score, or on another scale.

    Attributes:
        fit_score: finds the score from the families of some rows.
        to_scale: top-1 in percent to the scale of the score.
        from_scale: its inverse.
    """

    fit_score: Callable[[PublishedNetworks], Score] = LAW.fit
    to_scale: Callable[[Floats], Floats] = LAW.scale
    from_scale: Callable[[Floats], Floats] = LAW.percent

    def fit(self, rows: PublishedNetworks) -> Score:
        """See `ScalingLaw`."""
        return self.fit_score(rows)

    def scale(self, top1: Floats) -> Floats:
        """See `ScalingLaw`."""
        return self.to_scale(top1)

    def percent(self, scaled: Floats) -> Floats:
        """See `ScalingLaw`."""
        return self.from_scale(scaled)


def quadratic(n: int) -> Callable[[Floats], Floats]:
    """Logs of the first n costs, their squares and products."""

    def features(table: Floats) -> Floats:
        logs = np.log(table[..., :n])
        pairs = logs[..., :, None] * logs[..., None, :]
        return np.concatenate([logs, pairs[..., *np.triu_indices(n)]], axis=-1)

    return features


def powers(exponent: float) -> Callable[[Floats], Floats]:
    """Minus an inverse power of each cost."""
    return lambda table: np.asarray(-(table**-exponent))


def saturating(knees: Floats) -> Callable[[Floats], Floats]:
    """The shipped law's features with other knees, (3,)."""
    return lambda table: np.asarray(-np.log1p(knees / table))


def hinges(table: Floats) -> Floats:
    """Each log cost up to each knot: with positive slopes, any concave rise."""
    below = np.minimum(np.log(table)[..., None, :] - HINGES, 0.0)
    return np.asarray(below.reshape(*table.shape[:-1], -1))


def linear(
    features: Callable[[Floats], Floats], like: OtherLaw = OtherLaw(), rising: bool = False
) -> OtherLaw:
    """A law linear in features, on the scale of another; `rising` allows no negative slope."""

    def fit(rows: PublishedNetworks) -> Score:
        x, y = features(rows.costs), like.scale(rows.top1)
        if rising:
            slopes, _ = nnls(
                center_by_family(x, rows.family), center_by_family(y[:, None], rows.family)[:, 0]
            )
        else:
            slopes = fit_within_families(x, y, rows.family)
        return lambda table: np.asarray(features(table) @ slopes)

    return replace(like, fit_score=fit)


def sum_of_powers(rows: PublishedNetworks) -> Score:
    """Error = family's factor * (1 + sum of a_i * x_i^-p_i), a and p > 0."""

    def score(logs: Floats, table: Floats) -> Floats:
        a, p = np.exp(logs[:3]), np.exp(logs[3:])
        return np.asarray(-np.log(1 + (a * table**-p).sum(axis=-1)))

    return search_score(score, np.log([1.0, 1, 1, 0.5, 0.5, 0.5]), rows, log_error)


def own_knees(rows: PublishedNetworks) -> Score:
    """The shipped law, its knees fitted with its slopes."""

    def score(logs: Floats, table: Floats) -> Floats:
        slopes, knees = np.exp(logs[:3]), np.exp(logs[3:])
        return np.asarray(-(slopes * np.log1p(knees / table)).sum(axis=-1))

    return search_score(score, np.log([0.2, 0.2, 0.2, 10, 10, 10]), rows, LAW.scale)


def search_score(
    score: Callable[[Floats, Floats], Floats],
    guess: Floats,
    rows: PublishedNetworks,
    scale: Callable[[Floats], Floats],
) -> Score:
    """The score whose logs of coefficients fit best within families; drawn a little to a guess."""

    def residuals(logs: Floats) -> Floats:
        left = scale(rows.top1) - score(logs, rows.costs)
        return np.concatenate(
            [center_by_family(left[:, None], rows.family)[:, 0], 0.03 * (logs - guess)]
        )

    logs = least_squares(residuals, guess).x
    return lambda table: score(logs, table)


def log_error(top1: Floats) -> Floats:
    """Minus the log of the share that is wrong."""
    return np.asarray(-np.log(100 - top1))


def _on_scale(scale: Callable[[Floats], Floats], percent: Callable[[Floats], Floats]) -> OtherLaw:
    """A law to fill in on another scale, with the shipped law's prior brought to it at 83 %."""
    steps = [f(np.array(83.5)) - f(np.array(82.5)) for f in (scale, LAW.scale)]
    prior = LAW.prior * float(steps[0] / steps[1]) ** 2
    return OtherLaw(prior, to_scale=scale, from_scale=percent)


POINTS = _on_scale(lambda top1: top1, lambda y: y)
LOG_ERROR = _on_scale(log_error, lambda y: np.asarray(100 - np.exp(-y)))
LAWS = {
    "quadratic, MACs params, on top-1": linear(quadratic(2), POINTS),
    "quadratic, MACs params, log error": linear(quadratic(2), LOG_ERROR),
    "quadratic, all three, log error": linear(quadratic(3), LOG_ERROR),
    "power law, log error": linear(np.log, LOG_ERROR),
    "sum of power laws, log error": replace(LOG_ERROR, fit_score=sum_of_powers),
    "concave hinges, logit": linear(hinges, rising=True),
    "inverse cube roots, logit": linear(powers(1 / 3)),
    "inverse square roots, logit": linear(powers(1 / 2)),
    "saturating odds (shipped)": LAW,
    "  knees fitted in each fold": OtherLaw(fit_score=own_knees),
    "  knees half as large": linear(saturating(KNEES / 2)),
    "  knees twice as large": linear(saturating(KNEES * 2)),
    "  every family as steep": ScalingLaw(prior=1e9),
    "  steepness by four networks alone": ScalingLaw(prior=1e-9),
}


def main() -> None:
    """Print the table."""
    rows = PublishedNetworks.load()
    hybrids = rows.select(rows.hybrid)
    print(f"{len(rows.top1)} networks of {len(np.unique(rows.family))} families, of which hybrids")
    print(f"{len(hybrids.top1)} of {len(np.unique(hybrids.family))}\n")
    print(f"{'':34}  none known    4 known      SMT, none known        SMT, all known")
    print(
        f"{'law':34} {'hybr.':>6}{'all':>6} {'hybr.':>6}{'all':>6}"
        + f"   {'T':>5}{'S':>6}{'B':>6}{'L':>6}" * 2
        + f" {'holds':>6}{'falls':>6}{'promise':>8}{'limit':>7}"
    )
    space = SearchSpace.load("smt")
    cost = costs.estimate(space, space.sample(np.random.default_rng(0), SAMPLE))
    sample = np.stack([cost.macs, cost.params, cost.activations], axis=-1) / UNITS
    for name, law in LAWS.items():
        print(f"{name:34} {row(law, rows, sample)}")
    print(
        f"\nthe first, one level for all, on what it is fitted to: MAE {pooled_error(hybrids):.2f}"
    )


def row(law: ScalingLaw, rows: PublishedNetworks, sample: Floats) -> str:
    """One law's figures."""
    none, four = none_known(rows, law), leave_family_out(rows, law)
    hybrid = np.isin(four.family, rows.family[rows.hybrid])
    of_hybrids = four.select(hybrid)
    errors = (none[rows.hybrid].mean(), none.mean(), of_hybrids.mean, four.mean)
    before, line, score = on_smt(law, rows)
    after = smt_top1() - law.percent(line.at(score(smt_costs())))

    def predicted(table: Floats) -> Floats:
        return law.percent(line.at(score(table)))

    best = predicted(sample[sample[:, 0] <= smt_costs()[0, 0]]).max()
    promise = best - predicted(smt_costs()[0])
    return (
        "{:6.2f}{:6.2f} {:6.2f}{:6.2f}".format(*errors)
        + "".join("   " + "".join(f"{v:6.2f}" for v in r)[1:] for r in (before, after))
        + f" {holds(of_hybrids):6.0%}{falls(predicted, sample):6.0%}{promise:8.2f}"
        + f"{predicted(100 * smt_costs()[3]):7.1f}"
    )


def none_known(rows: PublishedNetworks, law: ScalingLaw) -> Floats:
    """Absolute errors of families left out, at the mean level of the other hybrids, (n,)."""
    errors = np.empty(len(rows.top1))
    for own, score in leave_out_families(rows, law):
        predicted = level(law, score, rows.select(rows.hybrid & ~own)) + score(rows.costs[own])
        errors[own] = np.abs(rows.top1[own] - law.percent(predicted))
    return errors


def level(law: ScalingLaw, score: Score, rows: PublishedNetworks) -> float:
    """Mean over families of what the score leaves."""
    left = law.scale(rows.top1) - score(rows.costs)
    return float(np.mean([left[rows.family == f].mean() for f in np.unique(rows.family)]))


def on_smt(law: ScalingLaw, rows: PublishedNetworks) -> tuple[Floats, FamilyLine, Score]:
    """Published less predicted of T, S, B, L with none known; SMT's line beside the law."""
    hybrids = rows.select(rows.hybrid)
    score = law.fit(hybrids)
    scores = score(smt_costs())
    before = smt_top1() - law.percent(scores + level(law, score, hybrids))
    return before, law.line(scores, smt_top1()), score


def smt_costs() -> Floats:
    """Of the published SMTs, (4, 3)."""
    published = [costs.of(PRESETS[name]) for name in PUBLISHED_TOP1]
    return np.asarray([(c.macs, c.params, c.activations) for c in published] / UNITS)


def smt_top1() -> Floats:
    """Published, (4,)."""
    return np.array(list(PUBLISHED_TOP1.values()))


def holds(errors: LeftOutErrors) -> float:
    """Share in the interval, each family by the width of the others."""
    held = []
    for family in np.unique(errors.family):
        own = errors.family == family
        share = errors.select(own).coverage(errors.select(~own).half_width(SHARE))
        held.append((share, errors.weight[own].sum()))
    shares, weights = zip(*held, strict=True)
    return float(np.average(shares, weights=weights))


def falls(predicted: Callable[[Floats], Floats], sample: Floats) -> float:
    """Share of networks for which more of one cost gives less."""
    less = [predicted(sample * np.where(np.arange(3) == i, STEP, 1)) for i in range(3)]
    worse = np.array(less) < predicted(sample) - 1e-9
    return float(worse.any(axis=0).mean())


def pooled_error(rows: PublishedNetworks) -> float:
    """MAE of the quadratic in log MACs and log params, without families, in sample."""
    x = np.column_stack([np.ones(len(rows.top1)), quadratic(2)(rows.costs)])
    slopes = np.linalg.lstsq(x, rows.top1, rcond=None)[0]
    return float(np.abs(rows.top1 - x @ slopes).mean())


if __name__ == "__main__":
    main()
