"""An ensemble of Gaussian processes over published networks, and what it says of one more family.

Which published networks are like SMT, and which features matter, no data decide. So several answers
are averaged: two sets of networks, each with four sets of features, one of them none. What they
disagree on is part of the variance. Their hyperparameters are in `fits`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smt_nas.evaluators.base import Estimate
from smt_nas.evaluators.scaling_law import LAW, shortfall
from smt_nas.evaluators.topology.family_process import Inputs, Posterior
from smt_nas.evaluators.topology.fits import EnsembleFit, ReferenceSet
from smt_nas.evaluators.topology.published_table import PublishedTable
from smt_nas.evaluators.topology.shapes import Floats, Shapes, measure_features

REFERENCE_SETS: dict[ReferenceSet, Callable[[PublishedTable], NDArray[np.bool_]]] = {
    "metaformer": lambda table: table.comparable & table.metaformer,
    "inverted": lambda table: table.comparable & table.inverted,
}
"""Which published networks a model learns from, by name."""
FEATURE_SETS: tuple[tuple[str, ...], ...] = (
    (),
    ("depth", "blocks"),
    ("depth", "macs"),
    ("depth", "blocks", "macs", "widths", "expansion"),
)
"""Features of topology that a model knows beside costs."""


@dataclass(frozen=True)
class Networks:
    """Networks of one family.

    Attributes:
        costs: GMACs, M parameters, M activations, (n, 3).
        shapes: of their stages.
    """

    costs: Floats
    shapes: Shapes

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Networks:
        """Some of them."""
        return Networks(self.costs[keep], self.shapes.select(keep))


@dataclass(frozen=True)
class Scaler:
    """Standardises costs and features by the networks of a reference set."""

    features: tuple[str, ...]
    cost_mean: Floats
    cost_std: Floats
    topology_mean: Floats
    topology_std: Floats

    @classmethod
    def of(cls, features: tuple[str, ...], table: PublishedTable) -> Scaler:
        """Learn it from the networks of a table."""
        costs, topology = shortfall(table.costs), measure_features(features, table.shapes)
        return cls(
            features, costs.mean(axis=0), costs.std(axis=0), topology.mean(axis=0),
            topology.std(axis=0),
        )  # fmt: skip

    def make_inputs(self, networks: Networks, family: NDArray[np.str_] | str) -> Inputs:
        """Inputs of the process, of networks that are of one family or each of its own."""
        n = len(networks.costs)
        return Inputs(
            costs=(shortfall(networks.costs) - self.cost_mean) / self.cost_std,
            topology=(measure_features(self.features, networks.shapes) - self.topology_mean)
            / self.topology_std,
            family=np.broadcast_to(family, n),
        )


@dataclass(frozen=True)
class FamilyEnsemble:
    """The models, conditioned on all published networks and on those known of one family.

    Attributes:
        family: whose further networks are predicted.
        members: of each model, its scaler and posterior.
        interval_factor: see `EnsembleFit`.
    """

    family: str
    members: tuple[tuple[Scaler, Posterior], ...]
    interval_factor: float

    @classmethod
    def condition(
        cls, fit: EnsembleFit, table: PublishedTable, family: str, known: Networks, top1: Floats
    ) -> FamilyEnsemble:
        """Condition on the known networks of a family, with their top-1 in percent, (m,)."""
        members = []
        for model in fit.models:
            rows = table.select(REFERENCE_SETS[model.reference_set](table))
            scaler = Scaler.of(model.features, rows)
            published = scaler.make_inputs(Networks(rows.costs, rows.shapes), rows.family)
            own = scaler.make_inputs(known, family)
            inputs = Inputs(
                np.concatenate([published.costs, own.costs]),
                np.concatenate([published.topology, own.topology]),
                np.concatenate([published.family, own.family]),
            )
            logits = LAW.scale(np.concatenate([rows.top1, top1]))
            members.append((scaler, Posterior(model.hyperparameters, inputs, logits)))
        return cls(family, tuple(members), fit.interval_factor)

    def predict(self, at: Networks, base: Networks) -> tuple[Estimate, Estimate]:
        """Logit of the top-1 of networks (n,), and by how much it is above that of others."""
        answers = [
            posterior.predict_beside(
                scaler.make_inputs(at, self.family), scaler.make_inputs(base, self.family)
            )
            for scaler, posterior in self.members
        ]
        levels, rises = [a.level for a in answers], [a.rise for a in answers]
        return self._average(levels), self._average(rises)

    def _average(self, answers: Sequence[tuple[Floats, Floats]]) -> Estimate:
        mean, variance = average_models(answers)
        return Estimate(mean, self.interval_factor * np.sqrt(variance))


def average_models(answers: Sequence[tuple[Floats, Floats]]) -> tuple[Floats, Floats]:
    """Mean and variance of the mixture of models, each with a mean and a variance (n,)."""
    means, variances = (np.array(columns) for columns in zip(*answers, strict=True))
    return means.mean(axis=0), variances.mean(axis=0) + means.var(axis=0)
