"""`joint`: expected ImageNet-1K top-1, from capacity for the level and the bench for the topology.

    top-1 = capacity(MACs, params, activations) + slope * (spread_c / spread_b) * topology

`topology` is what the predictor expects beyond costs, in points of the bench, less the same of the
published pattern at these MACs, whose topology the level holds already; `spread_b` is the spread of
trained networks about their costs there, and `spread_c` that of published networks about the
capacity law; `slope` is what a point of predicted topology was worth in networks held out. So a
topology that is one deviation better on the bench counts as one deviation of what capacity leaves
open, as far as the bench shows that it can be foreseen. That effects on small images carry over to
ImageNet is assumed, not measured. One thing does not: the bench has SAM better than attention in
the last stage, where the paper's ablations on ImageNet have the reverse (`benchmarks/paper.py`). So
at full size the topology is that of the network with the published attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.evaluators import capacity
from smt_nas.evaluators.base import NORMAL_80, Estimate, Evaluation, Evaluator, call_guarded
from smt_nas.evaluators.capacity import Capacity
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_by_probes
from smt_nas.evaluators.evidence import CombinedEvidence
from smt_nas.evaluators.predictors import features, reference
from smt_nas.evaluators.predictors.predictor import Predictor, fit_predictor, shipped_predictor
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.evaluators.published_agreement import bench_agreement, rank_agreement
from smt_nas.metrics import METRICS
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]

WITHOUT = "joint, no MSA"  # the name of one that leaves attention out for small images too


@dataclass(frozen=True)
class JointPrediction:
    """Of n networks.

    Attributes:
        top1_pct: expected ImageNet-1K top-1 in percent, (n,).
        low, high: 80 % interval, (n,).
        topology: part of it that is of the topology, in points, (n,).
        extrapolation: how far the network lies outside the bench, in widths of the bench, (n,).
    """

    top1_pct: Floats
    low: Floats
    high: Floats
    topology: Floats
    extrapolation: Floats


def add_topology(
    level: Capacity, rows: Floats, predictor: Predictor, small: bool, attention: bool = True
) -> JointPrediction:
    """Add the topology of n networks to the level.

    Args:
        level: of each.
        rows: their features, (n, F).
        predictor: of the topology.
        small: they are for small images.
        attention: what the bench has of it counts, if they are.
    """
    rows = rows if small and attention else features.replace_attention(rows, _published(small)[0])
    prediction = predictor.predict(rows)
    scale = capacity.spread() / predictor.spread
    gain = prediction.topology - _published_topology(rows, predictor, small)
    effect = predictor.held_out_slope * scale * gain
    doubt = NORMAL_80 * scale * prediction.std
    return JointPrediction(
        top1_pct=level.top1_pct + effect,
        low=level.top1_pct + effect - np.hypot(level.top1_pct - level.low, doubt),
        high=level.top1_pct + effect + np.hypot(level.high - level.top1_pct, doubt),
        topology=effect,
        extrapolation=features.measure_distance(prediction.extrapolation),
    )


def _published_topology(rows: Floats, predictor: Predictor, small: bool) -> Floats:
    """Topology of the published networks at the MACs of features (n, F), in points, (n,)."""
    known = _published(small)
    at = features.NAMES.index("log_macs")
    return np.interp(rows[:, at], known[:, at], predictor.predict(known).topology)


@cache
def _published(small: bool) -> Floats:
    """Features of the published networks, or of their like for small images, by MACs."""
    return features.of_archs(reference.published(small))


class JointEvaluator:
    """Evaluates networks by capacity and topology together.

    Args:
        predictor: of the topology; None for that of the shipped bench.
        attention: what the bench has of it counts for small images; at full size it never does.
    """

    objective = METRICS["top1_pct"]
    is_final = True
    levels: tuple[str, ...] = ("capacity",)

    def __init__(self, predictor: Predictor | None = None, attention: bool = True) -> None:
        self._predictor, self._attention = predictor, attention
        self.name = "joint" if attention else WITHOUT
        self.judged_components = ("topology",) if attention else ()

    @cached_property
    def fingerprint(self) -> str:
        """Of what is predicted for the probe networks."""
        if self._predictor is None and self._attention:
            return _shipped_fingerprint()
        return fingerprint_by_probes(self)

    @property
    def evidence(self) -> CombinedEvidence:
        """The networks that both parts rest on."""
        own = self._predictor
        if own is None:
            return CombinedEvidence(
                evaluator=self.name,
                agreement=bench_agreement(self.name),
                without_attention=rank_agreement(WITHOUT),
            )
        bench, networks = own.training_set.name, len(own.training_set.archs)
        return CombinedEvidence(evaluator=self.name, bench=bench, networks=networks)

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Predict each network, with both parts, the interval and the distance from the bench."""
        return [call_guarded(partial(self._evaluate, arch), "predicted") for arch in archs]

    def for_space(self, space: SearchSpace) -> Evaluator:
        """Itself for ImageNet's images, a score for others."""
        return capacity.score_elsewhere(self, space)

    def predict(self, space: SearchSpace, genes: Genes) -> Estimate:
        """Predict (n, G) genes at once; the deviation is that of the interval, as if normal."""
        level, rows = capacity.of_genes(space, genes), features.of_genes(space, genes)
        joint = self._add_topology(level, rows, reference.is_small(space.config))
        return Estimate(joint.top1_pct, (joint.high - joint.low) / (2 * NORMAL_80))

    def fit(self, training_set: TrainingSet) -> JointEvaluator:
        """The same, its topology fitted to other networks."""
        return JointEvaluator(fit_predictor(training_set), self._attention)

    def _add_topology(self, level: Capacity, rows: Floats, small: bool) -> JointPrediction:
        predictor = self._predictor or shipped_predictor()
        return add_topology(level, rows, predictor, small, self._attention)

    def _evaluate(self, arch: Architecture) -> Evaluation:
        level = capacity.of_arch(arch)
        joint = self._add_topology(level, features.of_archs([arch]), reference.is_small(arch))
        return Evaluation(
            value=float(joint.top1_pct[0]),
            provenance="predicted",
            interval=(float(joint.low[0]), float(joint.high[0])),
            components={
                "capacity": float(level.top1_pct[0]),
                "topology": float(joint.topology[0]),
            },
            extrapolation=float(joint.extrapolation[0]),
            relative=level.relative,
        )


@cache
def _shipped_fingerprint() -> str:
    return fingerprint_by_probes(JointEvaluator())
