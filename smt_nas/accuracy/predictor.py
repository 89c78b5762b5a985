"""`predictor`: how good a network is, learnt from networks that were really trained.

The figure is relative: points of top-1 on the bench by which the network is expected to lie above
the published pattern at the same input. Features outside what the bench holds are taken at its
edge, so that a search wins nothing by leaving the evidence, and the interval grows there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial

import numpy as np
from numpy.typing import NDArray

from smt_nas.accuracy import evidence, features, pattern
from smt_nas.accuracy.bench.known import Known, folds
from smt_nas.accuracy.bench.table import load_bench
from smt_nas.accuracy.evaluator import Evaluation, Returned, attempt
from smt_nas.accuracy.regressors import Fitted, fit
from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]

MODEL = "ridge+gp"  # of REGRESSORS; chosen by `python -m benchmarks.predictor`
FEWEST = 30  # networks to learn from: more than the features that are learnt from
NORMAL_80 = 1.2815515655446004  # an 80 % interval is so many standard deviations to each side


@dataclass(frozen=True)
class Prediction:
    """Of n networks.

    Attributes:
        points: of top-1 on the bench above the published pattern, (n,).
        std: standard deviation of that; of the expected points, not of one training's, (n,).
        topology: part of the points that costs do not explain, (n,); at most that of the best
            network of the bench, which no other can be trusted to surpass.
        outside: how far each feature lies outside the bench, in widths of the bench, (n, F).
    """

    points: Floats
    std: Floats
    topology: Floats
    outside: Floats

    @property
    def interval(self) -> tuple[Floats, Floats]:
        """Low and high end of the 80 % interval of the points, each (n,)."""
        return self.points - NORMAL_80 * self.std, self.points + NORMAL_80 * self.std


@dataclass(frozen=True)
class Learnt:
    """What a predictor is fitted on.

    Attributes:
        rows: features of the networks, (n, F).
        top1: of each, in points, (n,).
        groups: networks with the same number are alike but for a detail, (n,).
        model: of REGRESSORS.
    """

    rows: Floats
    top1: Floats
    groups: NDArray[np.int64]
    model: str

    def fit(self) -> tuple[Fitted, Floats]:
        """The regressor, and the coefficients of what costs alone explain."""
        trend = np.linalg.lstsq(_level(self.rows), self.top1, rcond=None)[0]
        return fit(self.model, features.compact(self.rows), self.top1), np.asarray(trend)

    def without(self, out: NDArray[np.bool_]) -> Learnt:
        """The same without the networks of a mask (n,)."""
        return replace(self, rows=self.rows[~out], top1=self.top1[~out], groups=self.groups[~out])


@dataclass(frozen=True)
class Predictor:
    """A regressor fitted on a bench. Made by `fitted`.

    Attributes:
        learnt: what it was fitted on.
        lowest, highest: of each feature among the networks of the bench, (F,).
        regressor: from features to points of top-1.
        trend: coefficients of what costs alone explain; see `_level`.
        seen: lowest and highest topology of the networks of the bench.
        zero: expected top-1 of the published pattern on the bench, in points.
        spread: standard deviation of what costs do not explain, in points.
        noise: that of the trainings it learnt from, in points.
    """

    learnt: Learnt
    lowest: Floats
    highest: Floats
    regressor: Fitted
    trend: Floats
    seen: tuple[float, float]
    zero: float
    spread: float
    noise: float

    def predict(self, rows: Floats) -> Prediction:
        """Predict from features (n, F)."""
        inside = rows.clip(self.lowest, self.highest)
        mean, std = self.regressor.predict(features.compact(inside))
        width = np.maximum(self.highest - self.lowest, features.NARROW)
        outside = np.abs(rows - inside) / width
        # a width outside, one knows no more than that it is some network of these costs
        std = np.sqrt(np.maximum(std**2 - self.noise**2, 0.0))
        doubt = np.hypot(std, self.spread * np.linalg.norm(outside, axis=1))
        topology = (mean - _level(inside) @ self.trend).clip(*self.seen)
        return Prediction(mean - self.zero, doubt, topology, outside)

    @cached_property
    def held_out_slope(self) -> float:
        """Points that a point of topology is worth in networks held out, 0 to 1; takes a second.

        By least squares, through ten folds. Below 1 where the topology is overfitted.
        """
        rows, top1 = self.learnt.rows, self.learnt.top1
        topology = np.empty(len(top1))
        for out in folds(self.learnt.groups, 0):
            regressor, trend = self.learnt.without(out).fit()
            found = regressor.predict(features.compact(rows[out]))[0]
            topology[out] = found - _level(rows[out]) @ trend
        beyond_costs = top1 - _level(rows) @ self.trend
        return float(np.polyfit(topology, beyond_costs, 1)[0].clip(0.0, 1.0))


def _level(rows: Floats) -> Floats:
    """What a trend by costs is linear in: a quadratic in log MACs and log params, (n, 6)."""
    at = [features.NAMES.index(name) for name in ("log_macs", "log_params")]
    macs, params = rows[:, at].T
    return np.column_stack([np.ones(len(rows)), macs, params, macs**2, macs * params, params**2])


def fitted(
    rows: Floats,
    top1: Floats,
    groups: NDArray[np.int64] | None = None,
    noise: float = 0.0,
    model: str = MODEL,
    name: str = "bench",
) -> Predictor:
    """Fit on features (n, F) and top-1 in points (n,).

    Args:
        rows: of the networks.
        top1: of each.
        groups: networks with the same number are alike but for a detail, (n,); None: none are.
        noise: standard deviation of that about the expected top-1, where it is known.
        model: of REGRESSORS.
        name: how messages call the bench.

    Raises:
        ConfigError: too few networks, or all alike.
    """
    _check(rows, top1, name)
    learnt = Learnt(rows, top1, np.arange(len(rows)) if groups is None else groups, model)
    regressor, trend = learnt.fit()
    lowest, highest = rows.min(axis=0), rows.max(axis=0)
    published = features.of_archs([pattern.smallest(small=True)]).clip(lowest, highest)
    topology = regressor.predict(features.compact(rows))[0] - _level(rows) @ trend
    return Predictor(
        learnt=learnt,
        lowest=lowest,
        highest=highest,
        regressor=regressor,
        trend=trend,
        seen=(float(topology.min()), float(topology.max())),
        zero=float(regressor.predict(features.compact(published))[0][0]),
        spread=float(np.std(top1 - _level(rows) @ trend)),
        noise=noise,
    )


def _check(rows: Floats, top1: Floats, name: str) -> None:
    if len(rows) < FEWEST:
        raise ConfigError(
            f"bench {name}: must have {FEWEST} networks to learn from (got {len(rows)}). Build "
            "more with `smt-nas bench build --n`."
        )
    if np.ptp(top1) == 0:
        raise ConfigError(
            f"bench {name}: networks must differ in top-1 (got {top1[0]:g} % for all). Train them "
            "longer, or on other data."
        )


@cache
def shipped(name: str = evidence.BENCH) -> Predictor:
    """The predictor of a shipped bench; the first call takes a second."""
    known = Known.of(load_bench(name))
    return fitted(known.features, known.top1, known.groups, known.noise, name=name)


class PredictorEvaluator:
    """Rates networks by the predictor of the shipped bench.

    Args:
        predictor: another one, e.g. of a bench of your own.
    """

    name = "predictor"
    objective = METRICS["score"]
    exact = True

    def __init__(self, predictor: Predictor | None = None) -> None:
        self._predictor = predictor

    @property
    def predictor(self) -> Predictor:
        """What predicts."""
        return self._predictor or shipped()

    @property
    def evidence(self) -> str:
        """What the figure is and what it rests on, in one line."""
        found = evidence.words(self.name)
        return (
            f"predictor: points of top-1 above the published pattern, predicted from networks "
            f"trained on small images (SMT-Bench-mini{found and f': {found}'})"
        )

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Predict each network, with its 80 % interval and its distance from the bench."""
        return [attempt(partial(self._of, arch), self.objective, "predicted") for arch in archs]

    def figures(self, space: SearchSpace, genes: Genes) -> Floats:
        """Predict (n, G) genes at once, (n,)."""
        return self.predictor.predict(features.of_genes(space, genes)).points

    def learnt(self, rows: Floats, top1: Floats) -> PredictorEvaluator:
        """The same, fitted on features (n, F) and top-1 in points (n,).

        Its figures are of that top-1 itself, so that several of these can be compared.
        """
        return PredictorEvaluator(replace(fitted(rows, top1), zero=0.0))

    def _of(self, arch: Architecture) -> Returned:
        found = self.predictor.predict(features.of_archs([arch]))
        low, high = found.interval
        return {
            "score": float(found.points[0]),
            "low": float(low[0]),
            "high": float(high[0]),
            "outside": float(np.linalg.norm(found.outside[0])),
        }
