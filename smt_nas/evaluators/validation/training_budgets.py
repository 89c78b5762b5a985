"""What a bench says of depth, and whether longer trainings would say the same.

Deeper networks fit more slowly, so a short training ranks them too low. A bench whose networks were
trained for several numbers of epochs shows it: by the effect of a doubling of depth among networks
of equal MACs, by how that changes from one number of epochs to the next, and by how far the orders
of the same networks agree. The intervals are at 95 %.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from smt_nas.evaluators.validation import rank_statistics
from smt_nas.evaluators.validation.agreement import RESAMPLES
from smt_nas.evaluators.validation.bootstrap import BootstrapEstimate, draw_weights, summarise
from smt_nas.nasbench.table import Bench, load_bench

Floats = NDArray[np.float64]
Verdict = Literal["settled", "changing", "unknown"]

LADDER = "depth"  # groups of the plan whose networks differ in depth alone: depth:BASE:BLOCKS
FEWEST = 4  # networks of one ladder, from which a slope has an interval
TELLING = 0.3  # points a doubling: a change of the effect below this decides nothing
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Slope:
    """Points of top-1 to each doubling of the blocks, with its interval.

    Attributes:
        value, low, high: points; None where too few networks can tell.
        networks: on ladders.
        ladders: of equal MACs.
    """

    value: float | None
    low: float | None
    high: float | None
    networks: int
    ladders: int


@dataclass(frozen=True)
class BudgetReport:
    """Trainings of one number of epochs.

    Attributes:
        epochs: of each.
        networks: trained so.
        effect: of a doubling of depth at equal MACs.
        change: of that effect since the number of epochs before, on the networks of both; None for
            the least number.
        verdict: whether the effect has stopped changing: `settled` where the change is less than
            TELLING beyond doubt, `changing` where it is not 0 beyond doubt, else `unknown`.
        tau_to_longest: Kendall's, of this order and that after the most epochs, of the networks of
            both.
    """

    epochs: int
    networks: int
    effect: Slope
    change: Slope | None
    verdict: Verdict
    tau_to_longest: BootstrapEstimate


def report_budgets(name_or_path: str, seed: int = 0) -> list[BudgetReport]:
    """A report for each number of epochs of a bench, the least first.

    Args:
        name_or_path: as `load_bench` takes it.
        seed: of the resamples of networks.
    """
    sizes = load_bench(name_or_path).sizes
    benches = [load_bench(name_or_path, epochs) for epochs in sizes]
    before: list[Bench | None] = [None, *benches[:-1]]
    return [
        _report(bench, shorter, benches[-1], np.random.default_rng([seed, bench.epochs or 0]))
        for bench, shorter in zip(benches, before, strict=True)
    ]


def settled_epochs(reports: Sequence[BudgetReport]) -> int | None:
    """Epochs from which the bench may speak of depth; None where the effect has not settled.

    It is settled at a number of epochs if it is at each greater one too.
    """
    settled = itertools.takewhile(lambda r: r.verdict == "settled", reversed(reports))
    return min((report.epochs for report in settled), default=None)


def _report(
    bench: Bench, shorter: Bench | None, longest: Bench, rng: np.random.Generator
) -> BudgetReport:
    top1 = _points(bench)
    change = None
    if shorter is not None:
        first = _points(shorter)
        both = {key: points - first[key] for key, points in top1.items() if key in first}
        change = measure_slope(bench, both)
    return BudgetReport(
        epochs=bench.epochs or 0,
        networks=len(top1),
        effect=measure_slope(bench, top1),
        change=change,
        verdict=_judge(change),
        tau_to_longest=_compare_orders(top1, _points(longest), rng),
    )


def _points(bench: Bench) -> dict[str, float]:
    """Validation top-1 of each network, in points."""
    return {key: 100 * bench.top1(key) for key in bench.networks}


def measure_slope(bench: Bench, points: Mapping[str, float]) -> Slope:
    """Slope of points over log2 of the blocks, on the ladders of a bench, each with its own level.

    Args:
        bench: says which networks stand on which ladder.
        points: of networks, by their keys; those that lack are left out.
    """
    ladders: dict[str, list[tuple[float, float]]] = {}
    for key, rows in bench.networks.items():
        kind, _, rest = rows[0].group.partition(":")
        if kind == LADDER and key in points:
            blocks = sum(stage.depth for stage in rows[0].arch.stages)
            ladders.setdefault(rest.partition(":")[0], []).append((np.log2(blocks), points[key]))
    columns = [np.array(ladder).T for ladder in ladders.values() if len(ladder) > 1]
    return fit_common_slope([(x, y) for x, y in columns])


def fit_common_slope(lines: Sequence[tuple[ArrayLike, ArrayLike]]) -> Slope:
    """One slope through several lines, each with a level of its own, by least squares.

    The interval is Student's, of what scatters about the lines.

    Args:
        lines: x and y of each, (n,) and (n,).
    """
    arrays = [(np.asarray(x, float), np.asarray(y, float)) for x, y in lines]
    centred = [(x - x.mean(), y - y.mean()) for x, y in arrays]
    n = sum(len(x) for x, _ in centred)
    free = n - len(centred) - 1
    square = sum(float(x @ x) for x, _ in centred)
    if n < FEWEST or free < 1 or square == 0:
        return Slope(None, None, None, n, len(centred))
    value = sum(float(x @ y) for x, y in centred) / square
    rest = sum(float(np.square(y - value * x).sum()) for x, y in centred)
    half = float(stats.t.ppf((1 + _CONFIDENCE) / 2, free)) * np.sqrt(rest / free / square)
    return Slope(value, value - half, value + half, n, len(centred))


def _judge(change: Slope | None) -> Verdict:
    if change is None or change.low is None or change.high is None:
        return "unknown"
    if change.low > 0 or change.high < 0:
        largest = max(abs(change.low), abs(change.high))
        return "settled" if largest < TELLING else "changing"
    return "settled" if change.low > -TELLING and change.high < TELLING else "unknown"


def _compare_orders(
    one: Mapping[str, float], other: Mapping[str, float], rng: np.random.Generator
) -> BootstrapEstimate:
    """Kendall's tau of two figures of the networks of both."""
    keys = [key for key in one if key in other]
    if len(keys) < 2:
        return BootstrapEstimate(None, None, None)
    x, y = (np.array([points[key] for key in keys]) for points in (one, other))
    weights = draw_weights(np.arange(len(keys)), RESAMPLES, rng)
    signs = rank_statistics.pairwise_signs
    return summarise(rank_statistics.tau(signs(x), signs(y), weights))
