"""Fit the ensemble that says what topology is worth on ImageNet, and write it beside its data.

    python -m tools.topology

Each model's hyperparameters maximise the marginal likelihood (Rasmussen and Williams 2006, sec.
5.4) times a wide prior, for all networks of its reference set and for each fold without its
families. Writes smt_nas/data/reference/imagenet_topology.json of this checkout; about two minutes.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from smt_nas.cli import console
from smt_nas.evaluators.scaling_law import LAW
from smt_nas.evaluators.topology.ensemble import (
    FEATURE_SETS,
    REFERENCE_SETS,
    Networks,
    Scaler,
)
from smt_nas.evaluators.topology.family_process import JITTER, MEAN_VARIANCE, Inputs
from smt_nas.evaluators.topology.fits import (
    FITS,
    FOLDS,
    EnsembleFit,
    Hyperparameters,
    ModelFit,
    ReferenceSet,
)
from smt_nas.evaluators.topology.leave_family_out import SHARE, LeaveFamilyOut, assign_folds
from smt_nas.evaluators.topology.published_table import PublishedTable, load_published
from smt_nas.files import write_atomic

PRIORS = {  # mean and deviation of each logarithm: wide, so that data decide where they can
    "level": (-2.5, 1.5),
    "steepness": (-3.0, 2.0),
    "cost_slopes": (-2.0, 2.0),
    "cost_length": (0.3, 0.7),
    "cost_departure": (-4.5, 1.5),
    "family_departure": (-7.0, 1.5),
    "noise": (-7.0, 1.0),
    "topology_slopes": (-5.0, 1.5),
    "topology_length": (1.0, 0.6),
    "topology_departure": (-5.0, 1.5),
}
_OF_TOPOLOGY = ("topology_slopes", "topology_length", "topology_departure")


class Likelihood:
    """The negative log posterior of hyperparameters, with its gradient by torch."""

    def __init__(self, inputs: Inputs, logits: NDArray[np.float64]) -> None:
        """Of networks (n,) and the logits of their top-1, (n,)."""
        tensor = torch.as_tensor
        costs, topology = tensor(inputs.costs), tensor(inputs.topology)
        self.costs, self.topology = costs, topology
        self.logits = tensor(logits - logits.mean())
        self.same = tensor(inputs.family[:, None] == inputs.family[None, :]).double()
        self.steep = torch.outer(costs.mean(1), costs.mean(1)) * self.same
        self.cost_squares = ((costs[:, None] - costs[None]) ** 2).sum(-1)
        self.topology_squares = ((topology[:, None] - topology[None]) ** 2).sum(-1)
        sizes = {name: 1 for name in PRIORS} | {"cost_slopes": costs.shape[1]}
        sizes["topology_slopes"] = topology.shape[1]
        self.sizes = {n: s for n, s in sizes.items() if topology.shape[1] or n not in _OF_TOPOLOGY}
        spread = [PRIORS[n] for n, size in self.sizes.items() for _ in range(size)]
        self.prior_mean, self.prior_std = tensor(np.array(spread)).T

    def __call__(self, x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Value and gradient at logarithms (p,)."""
        point = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        p = dict(zip(self.sizes, torch.split(point, list(self.sizes.values())), strict=True))
        near = torch.exp(-0.5 * self.cost_squares / torch.exp(2 * p["cost_length"]))
        own = torch.exp(p["level"]) + torch.exp(p["family_departure"]) * near
        covariance = MEAN_VARIANCE + self.same * own + torch.exp(p["steepness"]) * self.steep
        covariance = covariance + (self.costs * torch.exp(p["cost_slopes"])) @ self.costs.T
        covariance = covariance + torch.exp(p["cost_departure"]) * near
        if "topology_slopes" in p:
            weighted = self.topology * torch.exp(p["topology_slopes"])
            near = torch.exp(-0.5 * self.topology_squares / torch.exp(2 * p["topology_length"]))
            covariance = covariance + weighted @ self.topology.T
            covariance = covariance + torch.exp(p["topology_departure"]) * near
        eye = torch.eye(len(self.logits), dtype=torch.float64)
        factor = torch.linalg.cholesky(covariance + (torch.exp(p["noise"]) + JITTER) * eye)
        solved = torch.cholesky_solve(self.logits[:, None], factor)[:, 0]
        fit = 0.5 * self.logits @ solved + torch.log(torch.diagonal(factor)).sum()
        loss = fit + 0.5 * (((point - self.prior_mean) / self.prior_std) ** 2).sum()
        loss.backward()
        assert point.grad is not None
        return loss.item(), point.grad.numpy()

    def maximise(self) -> Hyperparameters:
        """The most likely hyperparameters, to four decimals."""
        start = self.prior_mean.numpy()
        result = minimize(self, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
        ends = np.cumsum(list(self.sizes.values()))[:-1]
        values = {
            name: tuple(round(float(v), 4) for v in part)
            for name, part in zip(self.sizes, np.split(result.x, ends), strict=True)
        }
        several = ("cost_slopes", "topology_slopes")
        return Hyperparameters.model_validate(
            {name: v if name in several else v[0] for name, v in values.items()}
        )


def fit_model(
    table: PublishedTable, reference_set: ReferenceSet, features: tuple[str, ...]
) -> ModelFit:
    """Fit one model of the ensemble, and once more without the families of each fold."""
    rows = table.select(REFERENCE_SETS[reference_set](table))
    scaler = Scaler.of(features, rows)
    fold = np.array([assign_folds(table)[f] for f in rows.family])

    def fit(keep: NDArray[np.bool_]) -> Hyperparameters:
        some = rows.select(keep)
        inputs = scaler.make_inputs(Networks(some.costs, some.shapes), some.family)
        return Likelihood(inputs, LAW.scale(some.top1)).maximise()

    return ModelFit(
        reference_set=reference_set,
        features=features,
        hyperparameters=fit(np.ones(len(fold), bool)),
        folds=tuple(fit(fold != i) for i in range(FOLDS)),
    )


def main() -> None:
    """Fit, calibrate and write."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    table, models = load_published(), []
    for reference_set in REFERENCE_SETS:
        for features in FEATURE_SETS:
            models.append(fit_model(table, reference_set, features))
            console.say(f"{reference_set}, {', '.join(features) or 'costs alone'}: fitted")
    raw = EnsembleFit(models=tuple(models), interval_factor=1.0)
    errors = LeaveFamilyOut(raw, table, table).ensemble
    fit = EnsembleFit(models=tuple(models), interval_factor=round(errors.calibrate(SHARE), 3))
    agreement = LeaveFamilyOut(fit, table, table).summarise()
    fit = fit.model_copy(update={"agreement": agreement})
    text = json.dumps(fit.model_dump(mode="json"), indent=1) + "\n"
    write_atomic(FITS, text)
    console.say(f"interval factor {fit.interval_factor}; {FITS}")


if __name__ == "__main__":
    main()
