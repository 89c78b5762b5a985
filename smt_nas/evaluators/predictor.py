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

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators import features, published_agreement, reference
from smt_nas.evaluators.base import Evaluation, Returned, attempt
from smt_nas.evaluators.regressors import Fitted, fit
from smt_nas.evaluators.training_set import Known, folds
from smt_nas.metrics import METRICS
from smt_nas.nasbench.table import load_bench
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]

MODEL = "gp"  # of REGRESSORS; chosen by `python -m benchmarks.predictor`
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
class Predictor:
    """A regressor fitted on a bench. Made by `fitted`.

    Attributes:
        known: the networks that it was fitted on.
        model: of REGRESSORS.
        lowest, highest: of each feature among the networks of the bench, (F,).
        regressor: from features to points of top-1.
        trend: coefficients of what costs alone explain; see `_level`.
        seen: lowest and highest topology of the networks of the bench.
        zero: expected top-1 of the published pattern on the bench, in points.
        spread: standard deviation of what costs do not explain, in points.
    """

    known: Known
    model: str
    lowest: Floats
    highest: Floats
    regressor: Fitted
    trend: Floats
    seen: tuple[float, float]
    zero: float
    spread: float

    def predict(self, rows: Floats) -> Prediction:
        """Predict from features (n, F)."""
        inside = rows.clip(self.lowest, self.highest)
        mean, std = self.regressor.predict(features.compact(inside))
        outside = features.outside(rows, *self.ranges)
        # a width outside, one knows no more than that it is some network of these costs
        doubt = np.hypot(std, self.spread * np.linalg.norm(outside, axis=1))
        level = _level(inside) @ self.trend
        topology = (mean - level).clip(*self.seen)
        return Prediction(level + topology - self.zero, doubt, topology, outside)

    @cached_property
    def ranges(self) -> tuple[Floats, Floats]:
        """Of each feature, where networks of the bench have what it tells of; see `features`."""
        low, high = features.ranges(self.known.features)
        return np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf)

    @cached_property
    def held_out_slope(self) -> float:
        """Points that a point of topology is worth in networks held out, 0 to 1; takes a second.

        By least squares, through ten folds. Below 1 where the topology is overfitted.
        """
        known, topology = self.known, np.empty(len(self.known.top1))
        for out in folds(known.groups, 0):
            learnt = fitted(known.without(out), self.model)
            topology[out] = learnt.predict(known.features[out]).topology
        beyond_costs = known.top1 - _level(known.features) @ self.trend
        if np.ptp(topology) == 0:  # nothing was foreseen
            return 0.0
        return float(np.polyfit(topology, beyond_costs, 1)[0].clip(0.0, 1.0))


def _level(rows: Floats) -> Floats:
    """What a trend by costs is linear in: a quadratic in log MACs and log params, (n, 6)."""
    at = [features.NAMES.index(name) for name in ("log_macs", "log_params")]
    macs, params = rows[:, at].T
    return np.column_stack([np.ones(len(rows)), macs, params, macs**2, macs * params, params**2])


def fitted(known: Known, model: str = MODEL) -> Predictor:
    """Fit one of REGRESSORS on networks that were trained.

    Raises:
        ConfigError: they are too few, or all alike.
    """
    _check(known)
    rows, small = known.features, features.compact(known.features)
    regressor = fit(model, small, known.top1, known.off)
    trend = np.asarray(np.linalg.lstsq(_level(rows), known.top1, rcond=None)[0], dtype=float)
    topology = regressor.predict(small)[0] - _level(rows) @ trend
    found = Predictor(
        known=known,
        model=model,
        lowest=rows.min(axis=0),
        highest=rows.max(axis=0),
        regressor=regressor,
        trend=trend,
        seen=(float(topology.min()), float(topology.max())),
        zero=0.0,
        spread=float(np.std(known.top1 - _level(rows) @ trend)),
    )
    published = features.of_archs([reference.smallest(small=True)])
    return replace(found, zero=float(found.predict(published).points[0]))


def _check(known: Known) -> None:
    n = len(known.top1)
    if n < FEWEST:
        raise ConfigError(
            f"{known.name}: must have {FEWEST} networks to learn from (got {n}). Build more with "
            "`smt-nas bench build --n 60`."
        )
    if np.ptp(known.top1) == 0:
        raise ConfigError(
            f"{known.name}: networks must differ in top-1 (got {known.top1[0]:g} % for all). Train "
            "them longer, or on other data."
        )


@cache
def shipped(name: str = published_agreement.BENCH) -> Predictor:
    """The predictor of a shipped bench; the first call takes a second."""
    return fitted(Known.of(load_bench(name)))


def source(own: Predictor | None, name: str) -> str:
    """What the figures of an evaluator with this predictor, or the shipped one, rest on."""
    if own is not None:
        return f"{own.known.name}, {len(own.known.top1)} networks"
    found = published_agreement.words(name)
    return f"SMT-Bench-mini{found and f': {found}'}"


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
        return (
            "predictor: points of top-1 above the published pattern, predicted from networks "
            f"trained on small images ({source(self._predictor, self.name)})"
        )

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Predict each network, with its 80 % interval and its distance from the bench."""
        return [attempt(partial(self._of, arch), self.objective, "predicted") for arch in archs]

    def figures(self, space: SearchSpace, genes: Genes) -> Floats:
        """Predict (n, G) genes at once, (n,)."""
        return self.predictor.predict(features.of_genes(space, genes)).points

    def learnt(self, known: Known) -> PredictorEvaluator:
        """The same, fitted on other networks.

        Its figures are of their top-1 itself, so that several of these can be compared.
        """
        return PredictorEvaluator(replace(fitted(known), zero=0.0))

    def _of(self, arch: Architecture) -> Returned:
        found = self.predictor.predict(features.of_archs([arch]))
        low, high = found.interval
        return {
            "score": float(found.points[0]),
            "low": float(low[0]),
            "high": float(high[0]),
            "outside": float(np.linalg.norm(found.outside[0])),
        }
