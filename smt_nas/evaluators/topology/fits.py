"""What was fitted to published networks: hyperparameters, width of intervals, errors.

`python -m tools.topology` writes it as `reference/imagenet_topology.json`: for all networks, and
for each fold without its families, so that the errors in families left out can be computed again.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Literal

from pydantic import BaseModel, ConfigDict

from smt_nas.files import shipped

FITS = shipped("reference") / "imagenet_topology.json"
FOLDS = 5  # of families
ReferenceSet = Literal["metaformer", "inverted"]


class Hyperparameters(BaseModel):
    """Logarithms of variances and lengths, each found by marginal likelihood.

    Attributes:
        level: variance of the level of families.
        steepness: variance of the steepness of families.
        cost_slopes: variances of the slope of each cost, (3,).
        cost_length: length of departures from these, in standard deviations of the costs.
        cost_departure: variance of these departures, which all families share.
        family_departure: the same, of one family alone.
        noise: variance of one network.
        topology_slopes: variances of the slope of each feature, (K,).
        topology_length, topology_departure: as of the costs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: float
    steepness: float
    cost_slopes: tuple[float, ...]
    cost_length: float
    cost_departure: float
    family_departure: float
    noise: float
    topology_slopes: tuple[float, ...] = ()
    topology_length: float = 0.0
    topology_departure: float = 0.0


class ModelFit(BaseModel):
    """One model of the ensemble.

    Attributes:
        reference_set: what it learns from.
        features: of topology, that it knows beside costs.
        hyperparameters: fitted to all of the set.
        folds: fitted without the families of each fold, for the errors in a family left out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    reference_set: ReferenceSet
    features: tuple[str, ...]
    hyperparameters: Hyperparameters
    folds: tuple[Hyperparameters, ...]


class FamilyAgreement(BaseModel):
    """How the ensemble agreed with families that it was not fitted to, in points of top-1.

    Attributes:
        networks, families: it was conditioned on.
        error: mean absolute error of hybrids, four members of whose family are known.
        error_unknown: the same with none known.
        costs_error, costs_error_unknown: of costs alone, four known and none.
        law_error: of the scaling law alone, four known.
        difference, low, high: error less that of costs alone, mean over families, 95 % interval.
        compared: families that this is the mean of.
        coverage: share of the same hybrids that the 80 % intervals hold.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: int
    families: int
    error: float
    error_unknown: float
    costs_error: float
    costs_error_unknown: float
    law_error: float
    difference: float
    low: float
    high: float
    compared: int
    coverage: float


class EnsembleFit(BaseModel):
    """What `tools.topology` found.

    Attributes:
        models: of the ensemble.
        interval_factor: of standard deviations, so that 80 % intervals hold 80 % of the members
            of hybrid families that were left out, four others of which are known.
        agreement: with families left out; None while it is being found out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    models: tuple[ModelFit, ...]
    interval_factor: float
    agreement: FamilyAgreement | None = None


@cache
def load_fit() -> EnsembleFit:
    """The shipped one."""
    return EnsembleFit.model_validate(json.loads(FITS.read_text(encoding="utf-8")))
