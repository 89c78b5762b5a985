"""`predictor`: how good a network is, learnt from networks that were really trained.

The figure is relative: points of top-1 on the bench by which the network is expected to lie above
the published pattern at the same input. Features outside what the bench holds are taken at its
edge, so that a search wins nothing by leaving the evidence, and the interval grows there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property, partial
from typing import Self

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators.base import NORMAL_80, Estimate, Evaluation, call_guarded
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_by_probes
from smt_nas.evaluators.evidence import BenchEvidence
from smt_nas.evaluators.predictors import features, reference
from smt_nas.evaluators.predictors.gaussian_process import GaussianProcess, fit_gaussian_process
from smt_nas.evaluators.predictors.training_set import TrainingSet, split_folds
from smt_nas.evaluators.published_agreement import BENCH, bench_agreement
from smt_nas.metrics import METRICS
from smt_nas.nasbench.encoding import Input
from smt_nas.nasbench.table import load_bench
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]

_INPUT = ("image_size", "num_classes", "in_channels", "stem_stride")  # as a bench says it
FEWEST = 30  # networks to learn from: more than the features that are learnt from


@dataclass(frozen=True)
class Prediction:
    """Of n networks.

    Attributes:
        points: of top-1 on the bench above the published pattern, (n,).
        std: standard deviation of that; of the expected points, not of one training's, (n,).
        topology: part of the points that costs do not explain, (n,); at most that of the best
            network of the bench, which no other can be trusted to surpass.
        extrapolation: how far each feature lies outside the bench, in widths of the bench, (n, F).
    """

    points: Floats
    std: Floats
    topology: Floats
    extrapolation: Floats

    @property
    def interval(self) -> tuple[Floats, Floats]:
        """Low and high end of the 80 % interval of the points, each (n,)."""
        return self.points - NORMAL_80 * self.std, self.points + NORMAL_80 * self.std


@dataclass(frozen=True)
class Predictor:
    """A regressor fitted on a bench. Made by `fit_predictor`.

    Attributes:
        training_set: the networks that it was fitted on.
        lowest, highest: of each feature among the networks of the bench, (F,).
        regressor: from features to points of top-1.
        trend: coefficients of what costs alone explain; see `_level`.
        seen: lowest and highest topology of the networks of the bench.
        zero: expected top-1 of the published pattern on the bench, in points.
        spread: standard deviation of what costs do not explain, in points.
    """

    training_set: TrainingSet
    lowest: Floats
    highest: Floats
    regressor: GaussianProcess
    trend: Floats
    seen: tuple[float, float]
    zero: float
    spread: float

    def predict(self, rows: Floats) -> Prediction:
        """Predict from features (n, F)."""
        inside = rows.clip(self.lowest, self.highest)
        mean, std = self.regressor.predict(features.compact(inside))
        extrapolation = features.extrapolation(rows, *self.ranges)
        # a width outside, one knows no more than that it is some network of these costs
        doubt = np.hypot(std, self.spread * features.measure_distance(extrapolation))
        level = _level(inside) @ self.trend
        topology = (mean - level).clip(*self.seen)
        return Prediction(level + topology - self.zero, doubt, topology, extrapolation)

    @cached_property
    def ranges(self) -> tuple[Floats, Floats]:
        """Of each feature, where networks of the bench have what it tells of; see `features`."""
        low, high = features.ranges(self.training_set.features)
        return np.nan_to_num(low, nan=-np.inf), np.nan_to_num(high, nan=np.inf)

    @cached_property
    def held_out_slope(self) -> float:
        """Points that a point of topology is worth in networks held out, 0 to 1; takes a second.

        By least squares, through ten folds. Below 1 where the topology is overfitted.
        """
        training_set, topology = self.training_set, np.empty(len(self.training_set.top1))
        for out in split_folds(training_set.groups, 0):
            others = fit_predictor(training_set.without(out))
            topology[out] = others.predict(training_set.features[out]).topology
        beyond_costs = training_set.top1 - _level(training_set.features) @ self.trend
        if np.ptp(topology) == 0:  # nothing was predicted
            return 0.0
        return float(np.polyfit(topology, beyond_costs, 1)[0].clip(0.0, 1.0))


def _level(rows: Floats) -> Floats:
    """What a trend by costs is linear in: a quadratic in log MACs and log params, (n, 6)."""
    at = [features.NAMES.index(name) for name in ("log_macs", "log_params")]
    macs, params = rows[:, at].T
    return np.column_stack([np.ones(len(rows)), macs, params, macs**2, macs * params, params**2])


def fit_predictor(training_set: TrainingSet) -> Predictor:
    """Fit on networks that were trained.

    Raises:
        ConfigError: they are too few, or all alike.
    """
    _check(training_set)
    rows, small = training_set.features, features.compact(training_set.features)
    regressor = fit_gaussian_process(small, training_set.top1, training_set.label_std)
    trend = np.asarray(np.linalg.lstsq(_level(rows), training_set.top1, rcond=None)[0], dtype=float)
    topology = regressor.predict(small)[0] - _level(rows) @ trend
    predictor = Predictor(
        training_set=training_set,
        lowest=rows.min(axis=0),
        highest=rows.max(axis=0),
        regressor=regressor,
        trend=trend,
        seen=(float(topology.min()), float(topology.max())),
        zero=0.0,
        spread=float(np.std(training_set.top1 - _level(rows) @ trend)),
    )
    small_images = reference.is_small(training_set.archs[0])
    published = features.of_archs([reference.smallest(small_images)])
    return replace(predictor, zero=float(predictor.predict(published).points[0]))


def _check(training_set: TrainingSet) -> None:
    n = len(training_set.top1)
    if n < FEWEST:
        raise ConfigError(
            f"{training_set.name}: must have {FEWEST} networks to learn from (got {n}). Build more "
            "with `smt-nas bench build --n 60`."
        )
    if np.ptp(training_set.top1) == 0:
        raise ConfigError(
            f"{training_set.name}: networks must differ in top-1 (got {training_set.top1[0]:g} % "
            "for all). Train them longer, or on other data."
        )


def _input_of(space: SearchSpace) -> dict[str, int]:
    """What the networks of a space are for, by `_INPUT`."""
    config = space.config
    shared = {name: int(getattr(config, name)) for name in _INPUT if name != "stem_stride"}
    return shared | {"stem_stride": config.stem.stride}


@cache
def shipped_predictor(name: str = BENCH) -> Predictor:
    """The predictor of a shipped bench; the first call takes a second."""
    return fit_predictor(TrainingSet.of(load_bench(name)))


class PredictorEvaluator:
    """Evaluates networks by the predictor of the shipped bench.

    Args:
        predictor: another one, e.g. of a bench of your own.
        own_input: what the networks of that bench share; those of another input are refused.
    """

    name = "predictor"
    objective = METRICS["score"]
    is_final = True

    def __init__(self, predictor: Predictor | None = None, own_input: Input | None = None) -> None:
        self._predictor, self._input = predictor, own_input

    @classmethod
    def of_bench(cls, name_or_path: str) -> Self:
        """Fitted to a bench of your own, by its folder or its CSV.

        Raises:
            ConfigError: it is too small, or breaks a rule of the table.
            StoreError: it is no bench.
        """
        bench = load_bench(name_or_path)
        return cls(fit_predictor(TrainingSet.of(bench)), bench.card.input)

    @property
    def predictor(self) -> Predictor:
        """What predicts."""
        return self._predictor or shipped_predictor()

    @cached_property
    def fingerprint(self) -> str:
        """Of what is predicted for the probe networks."""
        return _shipped_fingerprint() if self._predictor is None else fingerprint_by_probes(self)

    @property
    def evidence(self) -> BenchEvidence:
        """The networks that it was fitted to."""
        own = self._predictor
        if own is None:
            return BenchEvidence(evaluator=self.name, agreement=bench_agreement(self.name))
        bench, networks = own.training_set.name, len(own.training_set.archs)
        return BenchEvidence(evaluator=self.name, bench=bench, networks=networks)

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Predict each network, with its 80 % interval and its distance from the bench."""
        return [call_guarded(partial(self._evaluate, arch), "predicted") for arch in archs]

    def predict(self, space: SearchSpace, genes: Genes) -> Estimate:
        """Predict (n, G) genes at once."""
        prediction = self.predictor.predict(features.of_genes(space, genes))
        return Estimate(prediction.points, prediction.std)

    def fit(self, training_set: TrainingSet) -> PredictorEvaluator:
        """The same, fitted on other networks.

        Its figures are of their top-1 itself, so that several of these can be compared.
        """
        return PredictorEvaluator(replace(fit_predictor(training_set), zero=0.0))

    def check_space(self, space: SearchSpace) -> None:
        """Points on a bench of your own mean nothing for other images, classes or stems.

        Raises:
            ConfigError: the space is of another input than the bench.
        """
        if self._input is None:  # of the shipped bench it is known what carries over
            return
        for field, wants in _input_of(space).items():
            has = getattr(self._input, field)
            if has != wants:
                raise ConfigError(
                    f"{self.predictor.training_set.name}: must be of the input of space "
                    f"{space.name}, {field} {wants} (got {has}). Build a bench of that space with "
                    f"`smt-nas bench build --space {space.name}`."
                )

    def _evaluate(self, arch: Architecture) -> Evaluation:
        prediction = self.predictor.predict(features.of_archs([arch]))
        low, high = prediction.interval
        return Evaluation(
            value=float(prediction.points[0]),
            provenance="predicted",
            interval=(float(low[0]), float(high[0])),
            extrapolation=float(features.measure_distance(prediction.extrapolation[0])),
        )


@cache
def _shipped_fingerprint() -> str:
    return fingerprint_by_probes(PredictorEvaluator())
