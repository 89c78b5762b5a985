"""Agreement with trained accuracy, against scipy, loops over pairs, and simulation."""

from dataclasses import astuple, fields
from itertools import combinations, permutations
from math import asin, isfinite, pi, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from smt_nas.errors import ConfigError
from smt_nas.evaluators.validation import rank_statistics
from smt_nas.evaluators.validation.agreement import (
    Agreement,
    compare_picks,
    compare_taus,
    measure_agreement,
)
from smt_nas.evaluators.validation.bootstrap import BootstrapEstimate
from smt_nas.evaluators.validation.noise_ceiling import estimate_noise_ceiling
from smt_nas.evaluators.validation.rank_statistics import pairs_in_band, pairwise_signs

FEW = st.lists(  # figures and truth with many ties; MACs some of which are equal to 10 %
    st.tuples(st.integers(0, 4), st.integers(0, 4), st.sampled_from([100, 105, 110, 118, 300])),
    min_size=3,
    max_size=12,
)
UNDEFINED = BootstrapEstimate(None, None, None)


def rng(seed=0):
    return np.random.default_rng(seed)


def close(a, b):
    return a == b if a is None or b is None else a == pytest.approx(b, abs=1e-12)


def tau_of_pairs(x, y, pairs):
    """Tau-b by its definition, over pairs (i, j)."""
    agreed = first = second = 0
    for i, j in pairs:
        s, t = np.sign(x[i] - x[j]), np.sign(y[i] - y[j])
        agreed, first, second = agreed + s * t, first + s * s, second + t * t
    return agreed / sqrt(first * second) if first * second else None


def band_pairs(macs):
    pairs = combinations(range(len(macs)), 2)
    return [(i, j) for i, j in pairs if max(macs[i], macs[j]) <= 1.1 * min(macs[i], macs[j])]


def sample(n, skill, seed):
    """Networks whose accuracy and figure grow with MACs and share, to a degree, a hidden gift."""
    draw = rng(seed)
    macs = np.exp(draw.uniform(0, 2.3, n))
    gift = draw.normal(size=n)
    truth = 2 * np.log(macs) + gift + 0.3 * draw.normal(size=n)
    figures = np.log(macs) + skill * gift + 0.5 * draw.normal(size=n)
    return figures, truth, macs, macs * np.exp(0.2 * draw.normal(size=n))


def once(x):
    """Each network once: the weights of the sample itself, (1, n)."""
    return np.ones((1, len(x)))


def first(values):
    return float(values[0]) if isfinite(values[0]) else None


def kendall(x, y):
    x, y = np.asarray(x, float), np.asarray(y, float)
    return first(rank_statistics.tau(pairwise_signs(x), pairwise_signs(y), once(x)))


def spearman(x, y):
    return first(rank_statistics.rho(pairwise_signs(x), pairwise_signs(y), once(x)))


def in_band_tau(x, y, macs, share=0.1):
    x, y, macs = (np.asarray(v, float) for v in (x, y, macs))
    band = pairs_in_band(macs, share)
    tau = rank_statistics.tau(pairwise_signs(x), pairwise_signs(y), once(x), band)
    return first(tau), int(np.triu(band, 1).sum())


def partial_tau(x, y, controls):
    signs = [pairwise_signs(np.asarray(v, float)) for v in (x, y, *np.asarray(controls).T)]
    return first(rank_statistics.partial_tau(signs[0], signs[1], signs[2:], once(x)))


def top_recall(x, y, k=10):
    x, y = np.asarray(x, float), np.asarray(y, float)
    return first(rank_statistics.recall(pairwise_signs(x), pairwise_signs(y), once(x), k))


def equal_macs_regret(x, y, macs):
    x, y, macs = (np.asarray(v, float) for v in (x, y, macs))
    return first(rank_statistics.regret(x, y, pairs_in_band(macs, 0.1), once(x)))


def finite_or_none(x):
    return x is None or isfinite(x)


# values


@given(FEW)
def test_taus_are_those_of_their_definition(rows):
    x, y, macs = np.array(rows, float).T
    assert close(kendall(x, y), tau_of_pairs(x, y, combinations(range(len(x)), 2)))
    pairs = band_pairs(macs)
    tau, count = in_band_tau(x, y, macs)
    assert close(tau, tau_of_pairs(x, y, pairs))
    assert count == len(pairs)


@given(FEW)
def test_overall_correlations_are_those_of_scipy(rows):
    x, y, _ = np.array(rows, float).T
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert kendall(x, y) is spearman(x, y) is None
    else:
        assert close(kendall(x, y), stats.kendalltau(x, y, variant="b").statistic)
        assert close(spearman(x, y), stats.spearmanr(x, y).statistic)


def test_the_band_by_hand():
    macs = [100, 110, 111, 200]  # 100~110 at the very edge, 110~111; 100 and 111 are apart
    assert in_band_tau([1, 2, 3, 9], [5, 6, 4, 0], macs) == (0, 2)
    assert in_band_tau([1, 2, 2, 9], [5, 6, 4, 0], macs) == (pytest.approx(1 / sqrt(2)), 2)
    assert in_band_tau([1, 2, 3, 9], [5, 6, 4, 0], macs, share=0.12) == (pytest.approx(-1 / 3), 3)
    assert in_band_tau([1, 2, 3, 9], [5, 6, 4, 0], [1, 2, 4, 8]) == (None, 0)
    assert in_band_tau([1, 1, 1, 9], [5, 6, 4, 0], macs) == (None, 2)


@given(FEW, st.integers(1, 4))
def test_recall_is_the_mean_over_all_ways_to_break_ties(rows, k):
    x, y, _ = np.array(rows[:5], float).T
    n = len(x)

    def chances(v):
        tops = [sorted(range(n), key=lambda i: (-v[i], p[i]))[:k] for p in permutations(range(n))]
        return np.mean([[i in top for i in range(n)] for top in tops], axis=0)

    assert close(top_recall(x, y, k), chances(x) @ chances(y) / k if n > k else None)


def test_recall_by_hand():
    truth = np.arange(20)
    assert top_recall(truth, truth) == 1
    assert top_recall(-truth, truth) == 0
    assert top_recall(np.zeros(20), truth) == 0.5  # by lot
    assert top_recall(truth[:10], truth[:10]) is None


def test_regret_by_hand():
    macs, truth = [100, 105, 110, 114, 900], [3.0, 9.0, 5.0, 8.0, 99.0]
    # bands: about 100 {0 1 2}, 105 {0 1 2 3}, 110 {0 1 2 3}, 114 {1 2 3}, 900 alone
    assert equal_macs_regret(truth, truth, macs) == 0
    assert equal_macs_regret([4, 1, 2, 3, 0], truth, macs) == (6 + 6 + 6 + 1) / 4
    assert equal_macs_regret([4, 4, 2, 3, 0], truth, macs) == (3 + 3 + 3 + 0) / 4  # a tie: half
    assert equal_macs_regret([4, 1, 2, 3, 0], truth, [1, 2, 3, 4, 5]) is None


@given(FEW)
def test_orders_are_all_that_counts(rows):
    x, y, macs = np.array(rows, float).T
    for bent in (np.exp(x), 3 * x - 7, x**3):
        assert kendall(bent, y) == kendall(x, y) == kendall(x, np.exp(y))
        assert spearman(bent, y) == spearman(x, y)
        assert in_band_tau(bent, y, macs) == in_band_tau(x, y, 1e9 * macs)
        assert partial_tau(bent, y, macs[:, None]) == partial_tau(x, np.exp(y), macs[:, None])
        assert top_recall(bent, y, 2) == top_recall(x, y, 2)
        assert equal_macs_regret(bent, y, macs) == equal_macs_regret(x, y, macs)
    assert close(kendall(-x, y), None if kendall(x, y) is None else -kendall(x, y))


# what MACs explain


def test_partial_tau_of_a_figure_that_only_follows_macs_is_zero():
    figures, truth, macs, params = sample(600, skill=0, seed=1)
    controls = np.log(np.column_stack([macs, params]))
    assert kendall(figures, truth) > 0.4
    assert abs(partial_tau(figures, truth, controls)) < 0.06
    assert abs(partial_tau(np.sin(3 * figures), truth, controls)) < 0.06


def test_partial_tau_is_zero_where_kendalls_formula_is_not():
    z, e, f = rng(2).normal(size=(3, 1500))
    x, y = 0.9 * z + sqrt(0.19) * e, 0.9 * z + sqrt(0.19) * f
    xy, xz, yz = kendall(x, y), kendall(x, z), kendall(y, z)
    by_formula = (xy - xz * yz) / sqrt((1 - xz**2) * (1 - yz**2))
    assert by_formula == pytest.approx(0.19, abs=0.03)
    assert abs(partial_tau(x, y, z[:, None])) < 0.05


def test_partial_tau_sees_what_macs_do_not():
    figures, truth, macs, params = sample(300, skill=1, seed=3)
    controls = np.column_stack([macs, params])
    assert 0.5 < partial_tau(figures, truth, controls) < 0.8
    assert partial_tau(-figures, truth, controls) < -0.5
    redundant = np.column_stack([macs, params, macs**2])
    assert partial_tau(figures, truth, redundant) == partial_tau(figures, truth, controls)


def test_partial_tau_of_a_control_is_undefined():
    _, truth, macs, params = sample(80, skill=1, seed=4)
    controls = np.log(np.column_stack([macs, params]))
    for figures in (macs, np.sqrt(params), np.zeros(80)):
        assert partial_tau(figures, truth, controls) is None
    assert partial_tau(rng().normal(size=11), truth[:11], controls[:11]) is None  # too few


# resamples


def test_a_resample_is_its_copies():
    x, y, macs = rng(5).integers(1, 12, (3, 30)).astype(float)
    w = rng(6).multinomial(30, np.full(30, 1 / 30), 5).astype(float)
    s, t, band = (
        pairwise_signs(x),
        pairwise_signs(y),
        pairs_in_band(macs, 0.1),
    )
    for row, tau, in_band, rho in zip(
        w,
        rank_statistics.tau(s, t, w),
        rank_statistics.tau(s, t, w, band),
        rank_statistics.rho(s, t, w),
        strict=True,
    ):
        drawn = np.repeat(np.arange(30), row.astype(int))
        assert close(tau, stats.kendalltau(x[drawn], y[drawn]).statistic)
        assert close(rho, stats.spearmanr(x[drawn], y[drawn]).statistic)
        pairs = [(drawn[i], drawn[j]) for i, j in band_pairs(macs[drawn])]
        assert close(in_band, tau_of_pairs(x, y, [(i, j) for i, j in pairs if i != j]))


def test_a_resample_is_regressed_anew():
    x, y, z = rng(7).normal(size=(3, 40))
    row = rng(8).multinomial(40, np.full(40, 1 / 40)).astype(float)
    scores = [stats.norm.ppf(stats.rankdata(v) / 41) for v in (x, y, z)]
    design = np.column_stack([np.ones(40), scores[2], scores[2] ** 2])
    drawn = np.repeat(np.arange(40), row.astype(int))
    left = [v - design @ np.linalg.lstsq(design[drawn], v[drawn])[0] for v in scores[:2]]
    expected = stats.kendalltau(*(np.round(v, 8)[drawn] for v in left)).statistic
    found = rank_statistics.partial_tau(
        pairwise_signs(x),
        pairwise_signs(y),
        [pairwise_signs(z)],
        row[None],
    )
    assert close(float(found[0]), expected)


def test_a_regret_is_of_the_networks_drawn():
    x, y, macs = np.array([4, 1, 2, 3.0]), np.array([3, 9, 5, 8.0]), np.array([100, 105, 110, 114])
    w = np.array([[1, 1, 1, 1], [2, 1, 1, 3], [0, 2, 1, 1], [2, 2, 0, 0]], float)
    found = rank_statistics.regret(x, y, pairs_in_band(macs, 0.1), w)
    np.testing.assert_allclose(found, [19 / 4, 27 / 7, 1, np.nan], rtol=1e-15)


def test_intervals_cover_at_their_level():
    true, widths, taus, hits = 2 / pi * asin(0.6), [], [], {"difference": 0, "ceiling": 0}
    for seed in range(120):
        gift, *noise = rng(seed).normal(size=(4, 60))
        y, a, b = (sqrt(0.6) * gift + sqrt(0.4) * e for e in noise)
        macs = np.exp(rng(seed).uniform(0, 1, 60))
        gap = compare_taus(a, b, y, macs, rng(seed), 200)
        again = estimate_noise_ceiling(np.column_stack([a, y]), macs, rng(seed), 200).kendall
        hits["difference"] += gap.kendall.low <= 0 <= gap.kendall.high
        hits["ceiling"] += again.low <= true <= again.high
        widths.append(again.high - again.low)
        taus.append(again.value)
    assert all(0.88 <= count / 120 <= 0.99 for count in hits.values()), hits
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(taus), rel=0.25)


def test_picks_are_better_only_where_a_gain_is_beyond_doubt():
    _, truth, macs, params = sample(120, skill=1, seed=4)
    noise = rng(5).normal(size=120)
    perfect = compare_picks(truth, noise, truth, macs, rng(), 100)
    assert perfect.picks_better and perfect.top_recall.low > 0 and perfect.regret.high < 0
    assert not compare_picks(noise, truth, truth, macs, rng(), 100).picks_better
    same = compare_picks(params, params, truth, macs, rng(), 100)
    assert same.top_recall == same.regret == BootstrapEstimate(0, 0, 0) and not same.picks_better
    whole = measure_agreement(truth, truth, macs, params, rng(), 100)
    other = measure_agreement(noise, truth, macs, params, rng(), 100)
    assert perfect.top_recall.value == whole.top_recall.value - other.top_recall.value
    assert perfect.regret.value == pytest.approx(whole.regret.value - other.regret.value)


def test_one_generator_one_result():
    data = sample(40, skill=1, seed=9)
    assert measure_agreement(*data, rng(1), 50) == measure_agreement(*data, rng(1), 50)
    assert (
        measure_agreement(*data, rng(1), 50).in_band.low
        != measure_agreement(*data, rng(2), 50).in_band.low
    )


# agreement


def test_agreement_holds_each_statistic_in_its_interval():
    figures, truth, macs, params = sample(120, skill=1, seed=10)
    found = measure_agreement(figures, truth, macs, params, rng(), 200)
    tau, pairs = in_band_tau(figures, truth, macs)
    values = {
        "kendall": kendall(figures, truth),
        "spearman": spearman(figures, truth),
        "in_band": tau,
        "partial": partial_tau(figures, truth, np.column_stack([macs, params])),
        "top_recall": top_recall(figures, truth),
        "regret": equal_macs_regret(figures, truth, macs),
    }
    assert {f.name for f in fields(Agreement)} == {*values, "n", "pairs", "failed"}
    for name, value in values.items():
        estimate = getattr(found, name)
        assert close(estimate.value, value), name
        assert estimate.low < value < estimate.high, name
    assert (found.n, found.pairs, found.failed) == (120, pairs, 0)


def test_perfect_random_and_macs():
    _, truth, macs, params = sample(150, skill=1, seed=11)
    perfect = measure_agreement(truth, truth, macs, params, rng(), 100)
    for name in ("kendall", "spearman", "in_band", "partial"):
        assert astuple(getattr(perfect, name)) == pytest.approx((1, 1, 1)), name
    assert perfect.top_recall.value == 1
    assert perfect.regret == BootstrapEstimate(0, 0, 0)
    lot = measure_agreement(rng(12).normal(size=150), truth, macs, params, rng(), 100)
    for estimate in (lot.kendall, lot.spearman, lot.in_band, lot.partial):
        assert estimate.low < 0 < estimate.high
    size = measure_agreement(macs, truth, macs, params, rng(), 100)
    assert size.kendall.low > 0.5 > size.in_band.high
    assert size.partial == UNDEFINED


def test_a_failed_network_is_left_out_and_counted():
    figures, truth, macs, params = sample(40, skill=1, seed=13)
    bad = [None if i in (3, 7) else f for i, f in enumerate(figures)]
    kept = np.delete(np.arange(40), [3, 7])
    found = measure_agreement(bad, truth, macs, params, rng(), 50)
    alone = measure_agreement(figures[kept], truth[kept], macs[kept], params[kept], rng(), 50)
    assert (found.n, found.failed) == (38, 2)
    assert astuple(found)[:-1] == astuple(alone)[:-1]
    gap = compare_taus(bad, figures, truth, macs, rng(), 50)
    assert gap.n == 38
    assert gap.kendall == gap.in_band == BootstrapEstimate(0, 0, 0)


@settings(max_examples=30, deadline=None)
@given(FEW)
def test_nothing_is_ever_nan(rows):
    x, y, macs = np.array(rows, float).T
    if np.ptp(y) > 0:
        found = measure_agreement(x, y, macs, macs, rng(), 10)
        assert all(finite_or_none(v) for e in astuple(found)[:6] for v in e)


def test_constant_figures_say_nothing():
    _, truth, macs, params = sample(40, skill=1, seed=14)
    found = measure_agreement(np.ones(40), truth, macs, params, rng(), 20)
    assert [found.kendall, found.spearman, found.in_band, found.partial] == [UNDEFINED] * 4
    assert found.top_recall.value == 0.25
    gap = compare_taus(np.ones(40), truth, truth, macs, rng(), 20)
    assert gap.kendall == gap.in_band == UNDEFINED


def test_without_resamples_there_is_no_interval():
    found = measure_agreement(*sample(40, skill=1, seed=15), rng(), 0)
    assert found.kendall.value is not None
    assert found.kendall.low is found.kendall.high is None


@pytest.mark.parametrize(
    ("figures", "truth", "words"),
    [
        ([None] * 4, [1, 2, 3, 4], "figures of 3 networks or more (got 0, and 4 that failed)"),
        ([1, 2], [1, 2], "figures of 3 networks or more (got 2, and 0 that failed)"),
        ([1, 2, 3, 4], [71.5] * 4, "must differ (got 71.5 for all 4 networks)"),
    ],
)
def test_what_cannot_be_compared_is_one_line(figures, truth, words):
    ones = np.ones(len(truth))
    for compare in (
        lambda: measure_agreement(figures, truth, ones, ones, rng()),
        lambda: compare_taus(figures, figures, truth, ones, rng()),
    ):
        with pytest.raises(ConfigError) as caught:
            compare()
        assert words in str(caught.value)
        assert str(caught.value).startswith("agreement: ") and "\n" not in str(caught.value)


# difference, ceiling


def test_difference_tells_skill_from_size():
    figures, truth, macs, params = sample(150, skill=1, seed=16)
    gap = compare_taus(figures, params, truth, macs, rng(), 300)
    one, pairs = in_band_tau(figures, truth, macs)
    other, _ = in_band_tau(params, truth, macs)
    assert close(gap.in_band.value, one - other)
    assert close(gap.kendall.value, kendall(figures, truth) - kendall(params, truth))
    assert gap.in_band.low > 0
    assert gap.pairs == pairs
    separate = measure_agreement(figures, truth, macs, params, rng(), 300).kendall
    twin = compare_taus(figures, figures + 0.01 * params, truth, macs, rng(), 300).kendall
    assert twin.high - twin.low < (separate.high - separate.low) / 2  # paired


def test_ceiling_is_the_mean_over_pairs_of_seeds():
    draw = rng(17)
    macs = draw.uniform(100, 150, 30)
    table = [tuple(draw.integers(0, 9, n).astype(float)) for n in [1] * 5 + [2] * 10 + [3] * 15]
    table[20] = (5.0, None, 7.0)
    found = estimate_noise_ceiling(table, macs, rng(), 30)
    seen = [
        [(i, row[a], row[b]) for i, row in enumerate(table) if len(row) > b and None not in row]
        + ([(20, 5.0, 7.0)] if (a, b) == (0, 2) else [])
        for a, b in combinations(range(3), 2)
    ]
    taus, banded = [], []
    for rows in seen:
        i, x, y = np.array(rows).T
        taus.append(tau_of_pairs(x, y, combinations(range(len(x)), 2)))
        banded.append(tau_of_pairs(x, y, band_pairs(macs[i.astype(int)])))
    assert close(found.kendall.value, np.mean(taus))
    assert close(found.in_band.value, np.mean(banded))
    assert (found.n, found.pairs) == (25, len(band_pairs(macs[5:])))


def test_ceiling_needs_seeds():
    for table in ([(1.0,)] * 9, [(1.0, 2.0)] * 2 + [(1.0, None)] * 7):
        with pytest.raises(ConfigError, match=r"^ceiling: needs 3 networks .* \(got [02]\)\. "):
            estimate_noise_ceiling(table, np.ones(9), rng())
    assert estimate_noise_ceiling([(1.0, 1.0)] * 9, np.ones(9), rng(), 10).kendall == UNDEFINED
