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
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.evaluators import capacity, features, published_agreement, reference
from smt_nas.evaluators.base import Evaluation, Returned, attempt
from smt_nas.evaluators.capacity import Capacity
from smt_nas.evaluators.predictor import NORMAL_80, Predictor, fitted, shipped, source
from smt_nas.evaluators.training_set import Known
from smt_nas.metrics import METRICS
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]

WITHOUT = "joint, no MSA"  # the name of one that leaves attention out for small images too


@dataclass(frozen=True)
class Joint:
    """Of n networks.

    Attributes:
        top1_pct: expected ImageNet-1K top-1 in percent, (n,).
        low, high: 80 % interval, (n,).
        topology: part of it that is of the topology, in points, (n,).
        outside: how far the network lies outside the bench, in widths of the bench, (n,).
    """

    top1_pct: Floats
    low: Floats
    high: Floats
    topology: Floats
    outside: Floats


def joined(
    level: Capacity, rows: Floats, predictor: Predictor, small: bool, attention: bool = True
) -> Joint:
    """Add the topology of n networks to the level.

    Args:
        level: of each.
        rows: their features, (n, F).
        predictor: of the topology.
        small: they are for small images.
        attention: what the bench has of it counts, if they are.
    """
    rows = rows if small and attention else features.attention_as(rows, _published(small)[0])
    found = predictor.predict(rows)
    scale = capacity.spread() / predictor.spread
    beyond = found.topology - _of_pattern(rows, predictor, small)
    effect = predictor.held_out_slope * scale * beyond
    doubt = NORMAL_80 * scale * found.std
    return Joint(
        top1_pct=level.top1_pct + effect,
        low=level.top1_pct + effect - np.hypot(level.top1_pct - level.low, doubt),
        high=level.top1_pct + effect + np.hypot(level.high - level.top1_pct, doubt),
        topology=effect,
        outside=np.linalg.norm(found.outside, axis=1),
    )


def _of_pattern(rows: Floats, predictor: Predictor, small: bool) -> Floats:
    """Topology of the published networks at the MACs of features (n, F), in points, (n,)."""
    known = _published(small)
    at = features.NAMES.index("log_macs")
    return np.interp(rows[:, at], known[:, at], predictor.predict(known).topology)


@cache
def _published(small: bool) -> Floats:
    """Features of the published networks, or of their like for small images, by MACs."""
    return features.of_archs(reference.published(small))


class JointEvaluator:
    """Rates networks by capacity and topology together.

    Args:
        predictor: of the topology; None for that of the shipped bench.
        attention: what the bench has of it counts for small images; at full size it never does.
    """

    objective = METRICS["top1_pct"]
    exact = True

    def __init__(self, predictor: Predictor | None = None, attention: bool = True) -> None:
        self._predictor, self._attention = predictor, attention
        self.name = "joint" if attention else WITHOUT
        self.parts = ("topology",) if attention else ()

    @property
    def evidence(self) -> str:
        """What the figure is and what it rests on, in one line."""
        found = published_agreement.agreed(self.name)
        leads = self._predictor is None and found is not None and found.leads
        best = "; nothing that needs no data is better beyond doubt" if leads else ""
        without = None if self._predictor is not None else published_agreement.agreed(WITHOUT)
        left = "" if without is None else f" ({without.words()} without it)"
        return (
            "joint: expected ImageNet-1K top-1, predicted: the level by capacity, from published "
            "networks; the topology by networks trained on small images "
            f"({source(self._predictor, self.name)}{best}); that this carries over is assumed, but "
            "for attention, where small images contradict the paper: it counts for nothing at full "
            f"size{left}; for other images than ImageNet's it ranks only"
        )

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Rate each network; details are both parts, the interval and the distance from the bench.

        `relative` stands where the level means nothing; see `capacity`.
        """
        return [attempt(partial(self._of, arch), self.objective, "predicted") for arch in archs]

    def figures(self, space: SearchSpace, genes: Genes) -> Floats:
        """Rate (n, G) genes at once, (n,)."""
        level, rows = capacity.of_genes(space, genes), features.of_genes(space, genes)
        small = reference.is_small(space.config)
        return joined(level, rows, self._topology, small, self._attention).top1_pct

    def learnt(self, known: Known) -> JointEvaluator:
        """The same, its topology learnt from other networks."""
        return JointEvaluator(fitted(known), self._attention)

    @property
    def _topology(self) -> Predictor:
        return self._predictor or shipped()

    def _of(self, arch: Architecture) -> Returned:
        level = capacity.of_arch(arch)
        small = reference.is_small(arch)
        found = joined(level, features.of_archs([arch]), self._topology, small, self._attention)
        columns = {
            "top1_pct": found.top1_pct,
            "low": found.low,
            "high": found.high,
            "capacity": level.top1_pct,
            "topology": found.topology,
            "outside": found.outside,
        }
        marks = {"relative": 1.0} if level.relative else {}
        return {name: float(value[0]) for name, value in columns.items()} | marks
