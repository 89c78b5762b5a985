"""How far off the ensemble is in families that it was not fitted to, with some or no members known.

Hyperparameters are those of the fold that the family belongs to, fitted without it; the processes
are then conditioned on all networks but the family's own.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from smt_nas.evaluators.base import NORMAL_80
from smt_nas.evaluators.scaling_law import KNOWN_MEMBERS, LAW, PublishedNetworks
from smt_nas.evaluators.topology.ensemble import (
    REFERENCE_SETS,
    Networks,
    Scaler,
    average_models,
    to_logit,
    to_percent,
)
from smt_nas.evaluators.topology.family_process import Posterior
from smt_nas.evaluators.topology.fits import FOLDS, EnsembleFit, FamilyAgreement, ModelFit
from smt_nas.evaluators.topology.published_table import PublishedTable
from smt_nas.evaluators.topology.shapes import Floats

_MOST_SUBSETS = 35  # of known members, of one network; more are drawn from


def assign_folds(table: PublishedTable) -> dict[str, int]:
    """The fold of each family: dealt out in turn, those with hybrids first, the largest first."""
    families, counts = np.unique(table.family[table.comparable], return_counts=True)
    hybrid = {str(f) for f in np.unique(table.family[table.hybrid])}
    order = sorted(
        zip(families.tolist(), counts.tolist(), strict=True),
        key=lambda row: (row[0] not in hybrid, -row[1], row[0]),
    )
    return {family: i % FOLDS for i, (family, _) in enumerate(order)}


@dataclass(frozen=True)
class LeftOut:
    """Predictions of networks of families left out; each field is (m,).

    Attributes:
        family: that was left out.
        hybrid: it mixes convolution and attention, as SMT does.
        known: how many others of the family were known: KNOWN_MEMBERS or none.
        points: truth minus prediction, in percentage points.
        deviations: the same in standard deviations of the prediction; NaN where it has none.
        weight: sums to 1 over the predictions of one network.
    """

    family: NDArray[np.str_]
    hybrid: NDArray[np.bool_]
    known: NDArray[np.int64]
    points: Floats
    deviations: Floats
    weight: Floats

    def mean_error(self, known: int, hybrids: bool) -> float:
        """Mean absolute error in points, with so many known."""
        keep = self._select(known, hybrids)
        return float(np.average(np.abs(self.points[keep]), weights=self.weight[keep]))

    def coverage(self, known: int, hybrids: bool, factor: float = 1.0) -> float:
        """Share of the networks that an 80 % interval holds, if it is so many times as wide."""
        keep = self._select(known, hybrids)
        inside = np.abs(self.deviations[keep]) <= factor * NORMAL_80
        return float(np.average(inside, weights=self.weight[keep]))

    def calibrate(self, share: float) -> float:
        """The factor by which 80 % intervals hold this share of hybrids, with members known."""
        keep = self._select(KNOWN_MEMBERS, True)
        ratio, weight = np.abs(self.deviations[keep]) / NORMAL_80, self.weight[keep]
        order = np.argsort(ratio)
        return float(np.interp(share, np.cumsum(weight[order]) / weight.sum(), ratio[order]))

    def family_errors(self, known: int) -> dict[str, float]:
        """Mean absolute error in points of each family, with so many known."""
        keep = self._select(known, False)
        family, error, weight = self.family[keep], np.abs(self.points[keep]), self.weight[keep]
        return {
            str(f): float(np.average(error[family == f], weights=weight[family == f]))
            for f in np.unique(family)
        }

    def _select(self, known: int, hybrids: bool) -> NDArray[np.bool_]:
        return np.asarray((self.known == known) & (self.hybrid if hybrids else True))


@dataclass(frozen=True)
class FamilyPrediction:
    """Of a family left out, what models say before any member is known.

    Attributes:
        rows: of the table, (n,).
        models: of each model the mean (n,) and the covariance with noise (n, n) of logits.
    """

    rows: NDArray[np.int64]
    models: tuple[tuple[Floats, Floats], ...]

    def given(self, at: int, known: NDArray[np.int64], logits: Floats) -> tuple[Floats, Floats]:
        """Mean and variance (q,) of one member, each with others known, (q, k)."""
        answers = []
        for mean, covariance in self.models:
            among = covariance[known[:, :, None], known[:, None, :]]  # (q, k, k)
            between = covariance[known, at]  # (q, k)
            weights = np.linalg.solve(among, between[..., None])[..., 0]
            rest = logits[known] - mean[known]
            answers.append(
                (
                    mean[at] + (weights * rest).sum(axis=1),
                    covariance[at, at] - (weights * between).sum(axis=1),
                )
            )
        return average_models(answers)


@dataclass(frozen=True)
class LeaveFamilyOut:
    """The experiment on one table; families of inverted blocks are left out in turn.

    Attributes:
        fit: the ensemble, with hyperparameters of each fold.
        table: of published networks.
    """

    fit: EnsembleFit
    table: PublishedTable

    @cached_property
    def ensemble(self) -> LeftOut:
        """Errors of the whole ensemble."""
        return self._collect(self._predict(self.fit.models))

    @cached_property
    def costs_alone(self) -> LeftOut:
        """Errors of its models that know costs and no topology."""
        return self._collect(self._predict([m for m in self.fit.models if not m.features]))

    @cached_property
    def law(self) -> LeftOut:
        """Errors of the scaling law that `capacity` predicts by, with members known."""
        rows = []
        for family in self._families:
            own = np.flatnonzero(self._targets & (self.table.family == family))
            others = self._targets & (self.table.family != family)
            hybrids = self.table.select(others & self.table.hybrid)
            score = LAW.fit(
                PublishedNetworks(hybrids.family, hybrids.hybrid, hybrids.costs, hybrids.top1)
            )
            scores, top1 = score(self.table.costs[own]), self.table.top1[own]
            for i, known in _list_subsets(len(own)):
                if known.shape[1]:
                    line = LAW.line(scores[known], top1[known])
                    predicted = LAW.percent(line.at(scores[i]))
                    rows += [(own[i], KNOWN_MEMBERS, float(p), np.nan) for p in predicted]
        return self._make_table(rows)

    def compare(self, other: LeftOut, resamples: int = 10_000) -> tuple[float, float, float, int]:
        """Error of the ensemble less another's, mean over families and its 95 % interval.

        By bootstrap over families (percentile). Also how many families there are.
        """
        ours, theirs = (e.family_errors(KNOWN_MEMBERS) for e in (self.ensemble, other))
        differences = np.array([ours[f] - theirs[f] for f in ours])
        rng = np.random.default_rng(0)
        drawn = differences[rng.integers(len(differences), size=(resamples, len(differences)))]
        low, high = np.quantile(drawn.mean(axis=1), (0.025, 0.975))
        return float(differences.mean()), float(low), float(high), len(differences)

    def summarise(self) -> FamilyAgreement:
        """What evaluators say of their evidence."""
        difference, low, high, compared = self.compare(self.costs_alone)
        error, factor = self.ensemble.mean_error, self.fit.interval_factor
        sets = [choose(self.table) for choose in REFERENCE_SETS.values()]
        learnt = np.logical_or.reduce(sets)
        return FamilyAgreement(
            networks=int(learnt.sum()),
            families=len(np.unique(self.table.family[learnt])),
            error=_round(error(KNOWN_MEMBERS, hybrids=True)),
            error_unknown=_round(error(0, hybrids=True)),
            law_error=_round(self.law.mean_error(KNOWN_MEMBERS, hybrids=True)),
            difference=_round(difference),
            low=_round(low),
            high=_round(high),
            compared=compared,
            coverage=_round(self.ensemble.coverage(KNOWN_MEMBERS, hybrids=True, factor=factor)),
        )

    @cached_property
    def _targets(self) -> NDArray[np.bool_]:
        return np.asarray(self.table.comparable & self.table.inverted)

    @cached_property
    def _families(self) -> list[str]:
        return [str(f) for f in np.unique(self.table.family[self._targets])]

    def _predict(self, models: Sequence[ModelFit]) -> Iterator[FamilyPrediction]:
        folds = assign_folds(self.table)
        posteriors = [
            [_FoldPosterior.of(model, fold, self.table) for model in models]
            for fold in range(FOLDS)
        ]
        for family in self._families:
            rows = np.flatnonzero(self._targets & (self.table.family == family))
            answers = [p.leave_out(family, rows, self.table) for p in posteriors[folds[family]]]
            yield FamilyPrediction(rows, tuple(answers))

    def _collect(self, predictions: Iterator[FamilyPrediction]) -> LeftOut:
        rows = []
        for prediction in predictions:
            logits = to_logit(self.table.top1[prediction.rows])
            for i, known in _list_subsets(len(logits)):
                mean, variance = prediction.given(i, known, logits)
                deviations, predicted = (logits[i] - mean) / np.sqrt(variance), to_percent(mean)
                rows += [
                    (prediction.rows[i], known.shape[1], float(p), float(d))
                    for p, d in zip(predicted, deviations, strict=True)
                ]
        return self._make_table(rows)

    def _make_table(self, rows: list[tuple[int, int, float, float]]) -> LeftOut:
        at, known, predicted, deviations = (np.array(column) for column in zip(*rows, strict=True))
        pairs = list(zip(at.tolist(), known.tolist(), strict=True))
        counts = Counter(pairs)
        return LeftOut(
            family=self.table.family[at],
            hybrid=self.table.hybrid[at],
            known=known,
            points=self.table.top1[at] - predicted,
            deviations=deviations,
            weight=np.array([1 / counts[pair] for pair in pairs]),
        )


@dataclass(frozen=True)
class _FoldPosterior:
    """A model with the hyperparameters of a fold, conditioned on all of its reference set.

    Attributes:
        scaler: of its inputs.
        posterior: of all of the set.
        rows: of the table, that are in the set, (n,).
    """

    scaler: Scaler
    posterior: Posterior
    rows: NDArray[np.int64]

    @classmethod
    def of(cls, model: ModelFit, fold: int, table: PublishedTable) -> _FoldPosterior:
        rows = np.flatnonzero(REFERENCE_SETS[model.reference_set](table))
        some = table.select(rows)
        scaler = Scaler.of(model.features, some)
        inputs = scaler.make_inputs(Networks(some.costs, some.shapes), some.family)
        return cls(scaler, Posterior(model.folds[fold], inputs, to_logit(some.top1)), rows)

    def leave_out(
        self, family: str, rows: NDArray[np.int64], table: PublishedTable
    ) -> tuple[Floats, Floats]:
        """Mean (m,) and covariance (m, m) of the logits of a family, by all others.

        Of a family that the set holds by what conditioning on the rest leaves (Rasmussen and
        Williams 2006, sec. 5.4.2, for a block of points).
        """
        at = np.flatnonzero(table.family[self.rows] == family)
        if len(at):
            mean, covariance = self.posterior.leave_out(at)
            keep = np.isin(self.rows[at], rows)
            return mean[keep], covariance[np.ix_(keep, keep)]
        own = table.select(rows)
        inputs = self.scaler.make_inputs(Networks(own.costs, own.shapes), family)
        return self.posterior.predict_jointly(inputs)


def _round(value: float) -> float:
    return round(value, 4)


def _list_subsets(n: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Each of n members, with sets of others that are known, (q, k): none, and KNOWN_MEMBERS.

    Of more than `_MOST_SUBSETS`, as many are drawn, always the same.
    """
    for i in range(n):
        yield i, np.empty((1, 0), dtype=np.int64)
        if n <= KNOWN_MEMBERS:
            continue
        others = [j for j in range(n) if j != i]
        subsets = np.array(list(itertools.combinations(others, KNOWN_MEMBERS)))
        yield i, np.random.default_rng([n, i]).permutation(subsets)[:_MOST_SUBSETS]
