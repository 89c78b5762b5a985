"""`joint`: expected ImageNet-1K top-1, by costs and topology together.

For ImageNet's images it is the gain over the preset of equal MACs, by capacity and a Gaussian
process of topology on published ImageNet networks (`topology.gain`), and from it the top-1. It asks
to be compared by the lower bound of its interval: a search must not win by leaving the data. For
small images, where nothing is published, the topology is that of networks really trained there
(`bench_topology`): what these show does not carry over to ImageNet, where the same choices count
the other way round (README "How good").
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property, partial

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.evaluators import capacity
from smt_nas.evaluators.base import (
    NORMAL_80,
    Estimate,
    Evaluation,
    Evaluator,
    call_guarded,
    share_seconds,
)
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_by_probes
from smt_nas.evaluators.evidence import CombinedEvidence, FamilyEvidence
from smt_nas.evaluators.predictors import features, reference
from smt_nas.evaluators.predictors.bench_topology import SmallPrediction, add_topology
from smt_nas.evaluators.predictors.predictor import Predictor, fit_predictor, shipped_predictor
from smt_nas.evaluators.predictors.recorded_probes import SPACE, read_recorded
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.evaluators.published_agreement import bench_agreement
from smt_nas.evaluators.topology.design_region import load_region
from smt_nas.evaluators.topology.fits import load_fit
from smt_nas.evaluators.topology.gain import estimate_gain
from smt_nas.evaluators.topology.shapes import Shapes
from smt_nas.metrics import METRICS
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]


class JointEvaluator:
    """Evaluates networks by costs and topology together.

    Args:
        predictor: of the topology for small images; None for that of the shipped bench.
        small: its networks are for small images; None where they may be of either kind, and its
            evidence is then told as that of ImageNet's.
    """

    name = "joint"
    objective = METRICS["top1_pct"]
    is_final = True
    levels: tuple[str, ...] = ("capacity",)
    judged_components: tuple[str, ...] = ("topology",)

    def __init__(self, predictor: Predictor | None = None, small: bool | None = None) -> None:
        self._predictor, self._small = predictor, small

    @cached_property
    def fingerprint(self) -> str:
        """Of what is predicted for the probe networks."""
        return _shipped_fingerprint() if self._predictor is None else fingerprint_by_probes(self)

    @property
    def evidence(self) -> CombinedEvidence | FamilyEvidence:
        """What its figures rest on: other networks for small images than for ImageNet's."""
        if not self._small and self._predictor is None:
            return FamilyEvidence(evaluator=self.name, agreement=load_fit().agreement)
        if self._predictor is None:
            return CombinedEvidence(evaluator=self.name, agreement=bench_agreement(self.name))
        known = self._predictor.training_set
        return CombinedEvidence(evaluator=self.name, bench=known.name, networks=len(known.archs))

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Predict each network, with both parts, the interval and the distance from the data."""
        return [call_guarded(partial(self._evaluate, arch), "predicted") for arch in archs]

    def evaluate_genes(self, space: SearchSpace, genes: Genes) -> list[Evaluation]:
        """The same of (n, G) genes: what costs and shapes are is found for all at once.

        What follows from these is not, as sums over many networks end in other bits.
        """
        if self._small or reference.is_small(space.config):
            return self.evaluate(space.decode(genes))
        return share_seconds(lambda: _evaluate_full_genes(space, genes))

    def for_space(self, space: SearchSpace) -> Evaluator:
        """The one for such images: top-1 for ImageNet's, a score for others."""
        own = JointEvaluator(self._predictor, reference.is_small(space.config))
        return capacity.score_elsewhere(own, space)

    def predict(self, space: SearchSpace, genes: Genes) -> Estimate:
        """Predict (n, G) genes at once; the deviation is that of the interval, as if normal."""
        rows = features.of_genes(space, genes)
        if reference.is_small(space.config):
            small = self._predict_small(capacity.of_genes(space, genes), rows, small=True)
            return Estimate(small.points, (small.high - small.low) / (2 * NORMAL_80))
        table = capacity.costs_of_genes(space, genes)
        gain = estimate_gain(table, Shapes.of_genes(space, genes), rows)
        return Estimate(gain.top1_pct, (gain.top1_pct - gain.low) / NORMAL_80, by_lower_bound=True)

    def fit(self, training_set: TrainingSet) -> JointEvaluator:
        """The same, its topology for small images fitted to other networks."""
        return JointEvaluator(fit_predictor(training_set), self._small)

    def _predict_small(
        self, level: capacity.Capacity, rows: Floats, small: bool
    ) -> SmallPrediction:
        return add_topology(level, rows, self._predictor or shipped_predictor(), small)

    def _evaluate(self, arch: Architecture) -> Evaluation:
        if self._small or reference.is_small(arch):  # presets too, beside networks for small images
            return self._evaluate_small(arch)
        return _evaluate_full(arch)

    def _evaluate_small(self, arch: Architecture) -> Evaluation:
        level = capacity.of_arch(arch)
        rows = features.of_archs([arch])
        joint = self._predict_small(level, rows, reference.is_small(arch))
        return Evaluation(
            value=float(joint.points[0]),
            provenance="predicted",
            interval=(float(joint.low[0]), float(joint.high[0])),
            components={
                "capacity": float(level.top1_pct[0]),
                "topology": float(joint.topology[0]),
            },
            extrapolation=float(joint.extrapolation[0]),
            relative=level.relative,
        )


def _evaluate_full(arch: Architecture) -> Evaluation:
    table, shapes = capacity.costs_of_arch(arch)[None], Shapes.of_archs([arch])
    is_published = bool(capacity.published_figures(arch))
    is_relative = not reference.is_imagenet(arch)
    return _evaluate_row(table, shapes, features.of_archs([arch]), is_published, is_relative)


def _evaluate_full_genes(space: SearchSpace, genes: Genes) -> list[Evaluation]:
    table, shapes = capacity.costs_of_genes(space, genes), Shapes.of_genes(space, genes)
    rows, is_relative = features.of_genes(space, genes), not reference.is_imagenet(space.config)
    published = [bool(capacity.published_figures(arch)) for arch in space.decode(genes)]
    each = (np.array([i]) for i in range(len(genes)))
    return [
        _evaluate_row(table[i], shapes.select(i), rows[i], is_published, is_relative)
        for i, is_published in zip(each, published, strict=True)
    ]


def _evaluate_row(
    table: Floats, shapes: Shapes, row: Floats, is_published: bool, is_relative: bool
) -> Evaluation:
    """Evaluate one network from its costs (1, 3), shape and features (1, F)."""
    gain, region = estimate_gain(table, shapes, row), load_region()
    topology = float(gain.gain[0] - gain.by_capacity[0])
    distance = float(region.measure(shapes)[0])
    gains = {name: float(getattr(gain, name)[0]) for name in ("gain", "gain_low", "gain_high")}
    if is_published:  # over itself
        gains, topology = dict.fromkeys(gains, 0.0), 0.0
    return Evaluation(
        value=float(gain.top1_pct[0]),
        provenance="predicted",
        interval=(float(gain.low[0]), float(gain.high[0])),
        components={
            **gains,
            "capacity": float(gain.top1_pct[0]) - topology,
            "topology": topology,
        },
        extrapolation=max(distance - region.limit, 0.0),
        relative=is_relative,
        by_lower_bound=True,
    )


@cache
def _shipped_fingerprint() -> str:
    small = read_recorded()
    return fingerprint_by_probes(JointEvaluator(), {} if small is None else {SPACE: small})
