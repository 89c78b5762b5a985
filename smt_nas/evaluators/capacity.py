"""Expected ImageNet-1K top-1 of a network of these MACs, parameters and activations.

It answers in the unit that users think in, `top1_pct`, predicted, with an interval. It knows
capacity and nothing else: two networks of equal costs are equal to it, whatever their topology.
Parameters and activations beyond what nine in ten published networks have at their MACs count for
nothing and widen the interval: nobody has shown that they help, and a search would buy them.

The law (`scaling_law`) is fitted to published conv-attention networks, and laid through SMT by the
four results published for it: T, S and B in the README of AFeng-x/SMT (11e954d), L on ImageNet-1K
alone in RMT (Fan et al., CVPR 2024), table 1. The interval is of 80 %: what holds for a network of
a family that the law was not fitted to, four others of which are known. It widens by the factor
1 + d for a network d log units outside the range of the four published SMTs' costs, or beyond what
is usual at its MACs.

It is about 224 px and 1,000 classes. For other images or classes the level means nothing: costs are
taken relative to those of smt_t there (of its like, for small images) and applied to smt_t's, which
ranks networks and no more; `Capacity.relative` says so, and a search rates by `RelativeScore`.

The fit takes some milliseconds, so it is made at first use, and cannot differ from its data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import ArrayLike

from smt_nas import costs
from smt_nas.arch import PRESETS, Architecture
from smt_nas.evaluators.base import (
    NORMAL_80,
    Estimate,
    Evaluation,
    Evaluator,
    call_guarded,
    share_seconds,
)
from smt_nas.evaluators.evaluator_fingerprint import fingerprint_by_probes
from smt_nas.evaluators.evidence import PublishedEvidence
from smt_nas.evaluators.predictors import reference
from smt_nas.evaluators.predictors.reference import Given
from smt_nas.evaluators.published_agreement import bench_agreement
from smt_nas.evaluators.relative_score import RelativeScore, Top1Evaluator
from smt_nas.evaluators.scaling_law import (
    KNOWN_MEMBERS,
    LAW,
    FamilyLine,
    Floats,
    PublishedNetworks,
    Score,
    UsualCosts,
    extrapolation,
    leave_family_out,
)
from smt_nas.metrics import METRICS
from smt_nas.space import Genes, SearchSpace

PUBLISHED_TOP1 = {"smt_t": 82.2, "smt_s": 83.7, "smt_b": 84.3, "smt_l": 84.6}
SHARE = 0.8  # of networks that the interval is to hold
UNITS = np.array([1e9, 1e6, 1e6])  # GMACs, M parameters, M activations: the table's


def published_figures(arch: Architecture) -> dict[str, float]:
    """What papers tell of a network, by metric: of a preset at its own input, its top-1."""
    name = next((n for n in PUBLISHED_TOP1 if PRESETS[n].key == arch.key), None)
    return {} if name is None else {CapacityEvaluator.objective.name: PUBLISHED_TOP1[name]}


@dataclass(frozen=True)
class Capacity:
    """What capacity says of n networks.

    Attributes:
        top1_pct: expected ImageNet-1K top-1 in percent, (n,).
        low, high: the 80 % interval, (n,).
        relative: for other images or classes than ImageNet's; the figures rank networks, their
            level means nothing.
    """

    top1_pct: Floats
    low: Floats
    high: Floats
    relative: bool = False


def capacity(macs: ArrayLike, params: ArrayLike, activations: ArrayLike) -> Capacity:
    """Predict n networks for images of 224 px from costs, each (n,), as `smt_nas.costs` counts.

    Raises:
        ValueError: a cost is not a finite number from 1.
    """
    columns = np.broadcast_arrays(*(np.atleast_1d(c) for c in (macs, params, activations)))
    table = np.stack(columns, axis=-1).astype(np.float64)
    wrong = table[~(np.isfinite(table) & (table >= 1))]
    if wrong.size:
        raise ValueError(f"capacity: costs must be finite, and 1 or more (got {wrong[0]:g}).")
    return _predict(table / UNITS)


def of_genes(space: SearchSpace, genes: Genes) -> Capacity:
    """Predict the networks of (n, G) genes.

    Raises:
        SpaceError: the genes do not belong to the space.
    """
    return _predict(costs_of_genes(space, genes), not reference.is_imagenet(space.config))


def of_arch(arch: Architecture) -> Capacity:
    """Predict one network."""
    return _predict(costs_of_arch(arch)[None], not reference.is_imagenet(arch))


def costs_of_genes(space: SearchSpace, genes: Genes) -> Floats:
    """GMACs, M parameters and M activations of (n, G) genes, (n, 3), as the law takes them.

    For other images or classes than ImageNet's they are what stands for them there: as many times
    those of smt_t as they are of its like at that input.
    """
    cost = costs.estimate(space, genes)
    table = np.stack([cost.macs, cost.params, cost.activations], axis=-1) / UNITS
    return _scale_to_imagenet(table, space.config)


def costs_of_arch(arch: Architecture) -> Floats:
    """The same of one network, (3,)."""
    return _scale_to_imagenet(_costs(arch), arch)


def _scale_to_imagenet(table: Floats, given: Given) -> Floats:
    if reference.is_imagenet(given):
        return table
    return np.asarray(table / _costs(reference.at(given)) * _costs(PRESETS["smt_t"]))


def cap_costs(table: Floats) -> tuple[Floats, Floats]:
    """Costs (n, 3) without parameters and activations beyond what is usual at their MACs.

    Also how far they lie beyond, in log units, (n,). GMACs, M parameters, M activations.
    """
    usual = _fitted_law().usual
    return usual.cap(table), usual.excess(table).max(axis=-1)


def level_of_costs(table: Floats) -> Floats:
    """The law's top-1 in percent, (n,), of costs (n, 3) as `cap_costs` takes them."""
    return _predict(table).top1_pct


def spread() -> float:
    """Standard deviation of what costs leave open among members of a family, in points.

    Of the mean absolute error in a family left out, as if errors were normal.
    """
    return _fitted_law().mean_error * math.sqrt(math.pi / 2)


def score_elsewhere(top1: Top1Evaluator, space: SearchSpace) -> Evaluator:
    """An evaluator of ImageNet's top-1; for a space of other images or classes, its score."""
    if reference.is_imagenet(space.config):
        return top1
    return RelativeScore(top1, reference.at(space.config), spread())


class CapacityEvaluator:
    """Evaluates networks by capacity alone: the top-1 expected of any SMT of their costs."""

    name = "capacity"
    objective = METRICS["top1_pct"]
    is_final = True
    levels: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Of what is predicted for the probe networks."""
        return _fingerprint()

    @property
    def evidence(self) -> PublishedEvidence:
        """The published networks, and how far off the law is."""
        fit = _fitted_law()
        return PublishedEvidence(
            evaluator=self.name,
            networks=fit.networks,
            families=fit.families,
            mean_error=fit.mean_error,
            known_members=KNOWN_MEMBERS,
            agreement=bench_agreement(self.name),
        )

    def for_space(self, space: SearchSpace) -> Evaluator:
        """Itself for ImageNet's images, a score for others."""
        return score_elsewhere(self, space)

    def predict(self, space: SearchSpace, genes: Genes) -> Estimate:
        """The figures of (n, G) genes; the deviation is that of the interval, as if normal."""
        level = of_genes(space, genes)
        return Estimate(level.top1_pct, (level.high - level.low) / (2 * NORMAL_80))

    def evaluate(self, archs: Sequence[Architecture]) -> list[Evaluation]:
        """Predict each network, with its interval."""
        return [call_guarded(partial(_evaluate, arch), "predicted") for arch in archs]

    def evaluate_genes(self, space: SearchSpace, genes: Genes) -> list[Evaluation]:
        """The same of (n, G) genes."""
        return share_seconds(lambda: _list_evaluations(of_genes(space, genes)))


@cache
def _fingerprint() -> str:
    return fingerprint_by_probes(CapacityEvaluator())


def _evaluate(arch: Architecture) -> Evaluation:
    return _list_evaluations(of_arch(arch))[0]


def _list_evaluations(level: Capacity) -> list[Evaluation]:
    rows = zip(level.top1_pct.tolist(), level.low.tolist(), level.high.tolist(), strict=True)
    return [
        Evaluation(top1, "predicted", interval=(low, high), relative=level.relative)
        for top1, low, high in rows
    ]


@dataclass(frozen=True)
class _FittedLaw:
    """The law, SMT's line beside it, and how far off other families are."""

    score: Score
    line: FamilyLine
    known: Floats  # costs of the published SMTs, (4, 3)
    usual: UsualCosts
    half_width: float  # logits
    mean_error: float  # percentage points
    networks: int
    families: int


@cache
def _fitted_law() -> _FittedLaw:
    rows = PublishedNetworks.load()
    rows = rows.select(rows.hybrid)
    score, errors = LAW.fit(rows), leave_family_out(rows)
    known = np.stack([_costs(PRESETS[name]) for name in PUBLISHED_TOP1])
    line = LAW.line(score(known), np.array(list(PUBLISHED_TOP1.values())))
    families = len(np.unique(rows.family))
    half = errors.half_width(SHARE)
    return _FittedLaw(
        score, line, known, UsualCosts.of(rows, known), half, errors.mean, len(rows.top1), families
    )


def _predict(table: Floats, relative: bool = False) -> Capacity:
    """Predict from costs (n, 3) in the table's units."""
    fit = _fitted_law()
    at = fit.line.at(fit.score(fit.usual.cap(table)))
    beyond = extrapolation(table, fit.known) + fit.usual.excess(table).max(axis=-1)
    half = fit.half_width * (1 + beyond)
    return Capacity(LAW.percent(at), LAW.percent(at - half), LAW.percent(at + half), relative)


def _costs(arch: Architecture) -> Floats:
    """MACs, parameters and activations in the table's units, (3,)."""
    cost = costs.of(arch)
    return np.asarray([cost.macs, cost.params, cost.activations] / UNITS)
