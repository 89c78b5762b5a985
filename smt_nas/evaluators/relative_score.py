"""A score in place of an accuracy that has no meaning: for images that a law is not of.

What predicts ImageNet's top-1 orders networks for other images and classes too, but its level says
nothing there. So the figure is told against the published pattern at the same input: 0 is SMT-T, or
its like for small images, and 1 one standard deviation of what published networks of equal costs
differ by. It has no unit, and no percentage is made of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

from smt_nas.arch import Architecture
from smt_nas.evaluators.base import (
    GAIN,
    BatchEvaluator,
    Estimate,
    Evaluation,
    Evaluator,
    GeneEvaluator,
)
from smt_nas.evaluators.evidence import CombinedEvidence, FamilyEvidence, PublishedEvidence
from smt_nas.metrics import METRICS
from smt_nas.space import Genes, SearchSpace


class Top1Evaluator(BatchEvaluator, GeneEvaluator, Evaluator, Protocol):
    """An evaluator of ImageNet's top-1, in points.

    Attributes:
        levels: components that are accuracies themselves; others are differences of them. Those
            whose name begins with GAIN are over a published accuracy, and have no score.
    """

    levels: tuple[str, ...]

    @property
    def evidence(self) -> PublishedEvidence | CombinedEvidence | FamilyEvidence:
        """What its figures rest on."""


@dataclass(frozen=True)
class RelativeScore:
    """Rates networks of one input by how far they lie above the published pattern there.

    Attributes:
        top1: whose figures are taken.
        reference: the published pattern at that input; its score is 0.
        spread: points that a score of 1 stands for.
    """

    top1: Top1Evaluator
    reference: Architecture
    spread: float

    objective = METRICS["score"]

    @property
    def name(self) -> str:
        """That of the evaluator."""
        return self.top1.name

    @property
    def is_final(self) -> bool:
        """As the evaluator's."""
        return self.top1.is_final

    @property
    def fingerprint(self) -> str:
        """That of the evaluator: it decides every score."""
        return self.top1.fingerprint

    @property
    def evidence(self) -> PublishedEvidence | CombinedEvidence | FamilyEvidence:
        """That of the evaluator, as of a score."""
        return self.top1.evidence.model_copy(update={"relative": True})

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """The score of each network, with its interval and parts."""
        return [self._make_score(evaluation) for evaluation in self.top1.evaluate(archs)]

    def evaluate_genes(self, space: SearchSpace, genes: Genes) -> list[Evaluation]:
        """The same of (n, G) genes."""
        return [self._make_score(e) for e in self.top1.evaluate_genes(space, genes)]

    def predict(self, space: SearchSpace, genes: Genes) -> Estimate:
        """The scores of (n, G) genes."""
        points = self.top1.predict(space, genes)
        std = None if points.std is None else points.std / self.spread
        return Estimate((points.mean - self._zero) / self.spread, std, points.by_lower_bound)

    @cached_property
    def _zero(self) -> float:
        """Points of the reference."""
        value = self.top1.evaluate([self.reference])[0].value
        assert value is not None
        return value

    def _make_score(self, points: Evaluation) -> Evaluation:
        if points.value is None:
            return points
        low, high = points.interval or (points.value, points.value)
        parts = points.components.items()
        return replace(
            points,
            value=self._scale(points.value),
            interval=(self._scale(low), self._scale(high)) if points.interval else None,
            components={
                name: self._scale(v) if name in self.top1.levels else v / self.spread
                for name, v in parts
                if not name.startswith(GAIN)
            },
            relative=True,
        )

    def _scale(self, points: float) -> float:
        return (points - self._zero) / self.spread
