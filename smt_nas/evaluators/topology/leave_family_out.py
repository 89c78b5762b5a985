"""How far off the ensemble is in families that it was not fitted to, with some or no members known.

Hyperparameters are those of the fold that the family belongs to, fitted without it; the processes
are then conditioned on all networks of the table but the family's own. So in a table of a user's
own too, whose networks they were not fitted to: a family of a name that they know has its fold
there, and others have the first.
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
from smt_nas.evaluators.scaling_law import (
    KNOWN_MEMBERS,
    LAW,
    PublishedNetworks,
    extrapolation,
    leave_family_out,
)
from smt_nas.evaluators.topology.ensemble import (
    REFERENCE_SETS,
    Networks,
    Scaler,
    average_models,
)
from smt_nas.evaluators.topology.family_process import Posterior
from smt_nas.evaluators.topology.fits import FOLDS, EnsembleFit, FamilyAgreement, ModelFit
from smt_nas.evaluators.topology.left_out import LeftOutErrors
from smt_nas.evaluators.topology.published_table import PublishedTable
from smt_nas.evaluators.topology.shapes import Floats

SHARE = 0.8  # of networks that an interval is to hold
_MOST_SUBSETS = 35  # of known members, of one network; more are drawn from
_Row = tuple[int, int, float, float]  # of the table, members known, prediction, deviations


def assign_folds(table: PublishedTable) -> dict[str, int]:
    """The fold of each family: lines are dealt out in turn, those with hybrids and large first."""
    lines, counts = np.unique(table.line[table.comparable], return_counts=True)
    hybrid = {str(line) for line in np.unique(table.line[table.hybrid])}
    order = sorted(
        zip(lines.tolist(), counts.tolist(), strict=True),
        key=lambda row: (row[0] not in hybrid, -row[1], row[0]),
    )
    fold = {line: i % FOLDS for i, (line, _) in enumerate(order)}
    rated = table.select(table.comparable)
    pairs = zip(rated.family.tolist(), rated.line.tolist(), strict=True)
    return {family: fold[line] for family, line in pairs}


@dataclass(frozen=True)
class FamilyPrediction:
    """Of a family left out, what models say before any member is known.

    Attributes:
        rows: of the table, (n,).
        models: of each model the mean (n,) and the covariance with noise (n, n) of logits.
    """

    rows: NDArray[np.int64]
    models: tuple[tuple[Floats, Floats], ...]

    def condition_on(
        self, at: int, known: NDArray[np.int64], logits: Floats
    ) -> tuple[Floats, Floats]:
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

    With a family its whole line of design goes, as SMT has no siblings either: a Swin is not to be
    told by other Swins.

    Attributes:
        fit: the ensemble, with hyperparameters of each fold.
        table: of published networks.
        fitted_to: what the ensemble was fitted to: its scales and its folds are of this table.
        whole_lines: with a family all of its line of design goes.
    """

    fit: EnsembleFit
    table: PublishedTable
    fitted_to: PublishedTable
    whole_lines: bool = True

    @cached_property
    def ensemble(self) -> LeftOutErrors:
        """Errors of the whole ensemble."""
        return self._collect(self._predict(self.fit.models))

    @cached_property
    def costs_alone(self) -> LeftOutErrors:
        """Errors of its models that know costs and no topology."""
        return self._collect(self._predict([m for m in self.fit.models if not m.features]))

    @cached_property
    def law(self) -> LeftOutErrors:
        """Errors of the scaling law that `capacity` predicts by.

        With none known a family is laid at the mean level of the other hybrids. Intervals, with
        members known, are as wide as errors in the other families of hybrids have it.
        """
        hybrids = _list_hybrids(self.fitted_to)
        errors, rows = leave_family_out(hybrids), list[_Row]()
        for family in self._families:
            own = np.flatnonzero(self.targets & (self.table.family == family))
            gone = np.unique(self.table.family[np.isin(self._groups, self._groups[own])])
            others = hybrids.select(~np.isin(hybrids.family, gone))
            score = LAW.fit(others)
            left = LAW.scale(others.top1) - score(others.costs)
            level = np.mean([left[others.family == f].mean() for f in np.unique(others.family)])
            half = errors.select(errors.family != family).half_width(SHARE)
            costs, top1 = self.table.costs[own], self.table.top1[own]
            scores, truth = score(costs), LAW.scale(top1)
            for i, known in _list_subsets(len(own)):
                if not known.shape[1]:
                    rows.append((own[i], 0, float(LAW.percent(scores[i] + level)), np.nan))
                    continue
                logits = LAW.line(scores[known], top1[known]).at(scores[i])
                width = half * (1 + extrapolation(costs[i], costs[known]))
                deviations = NORMAL_80 * (truth[i] - logits) / width
                rows += [
                    (own[i], KNOWN_MEMBERS, float(p), float(d))
                    for p, d in zip(LAW.percent(logits), deviations, strict=True)
                ]
        return self._make_table(rows)

    def summarise(self) -> FamilyAgreement:
        """What evaluators say of their evidence."""
        difference, factor = self.ensemble.compare(self.costs_alone), self.fit.interval_factor
        assert difference is not None
        error, costs_error = self.ensemble.mean_error, self.costs_alone.mean_error
        sets = [choose(self.table) for choose in REFERENCE_SETS.values()]
        learnt = np.logical_or.reduce(sets)
        return FamilyAgreement(
            networks=int(learnt.sum()),
            families=len(np.unique(self.table.family[learnt])),
            error=_round(error(KNOWN_MEMBERS, hybrids=True)),
            error_unknown=_round(error(0, hybrids=True)),
            costs_error=_round(costs_error(KNOWN_MEMBERS, hybrids=True)),
            costs_error_unknown=_round(costs_error(0, hybrids=True)),
            law_error=_round(self.law.mean_error(KNOWN_MEMBERS, hybrids=True)),
            difference=_round(difference.mean),
            low=_round(difference.low),
            high=_round(difference.high),
            compared=difference.families,
            coverage=_round(self.ensemble.coverage(KNOWN_MEMBERS, hybrids=True, factor=factor)),
        )

    @cached_property
    def targets(self) -> NDArray[np.bool_]:
        """Networks whose families are left out: inverted blocks, top-1 that counts; (n,)."""
        return np.asarray(self.table.comparable & self.table.inverted)

    @property
    def _groups(self) -> NDArray[np.str_]:
        """What goes together, of each row of the table."""
        return self.table.line if self.whole_lines else self.table.family

    @cached_property
    def _families(self) -> list[str]:
        return [str(f) for f in np.unique(self.table.family[self.targets])]

    def _predict(self, models: Sequence[ModelFit]) -> Iterator[FamilyPrediction]:
        folds = assign_folds(self.fitted_to)
        posteriors = [
            [_FoldPosterior.of(model, fold, self.table, self.fitted_to) for model in models]
            for fold in range(FOLDS)
        ]
        for family in self._families:
            rows = np.flatnonzero(self.targets & (self.table.family == family))
            fold = posteriors[folds.get(family, 0)]
            gone = np.isin(self._groups, self._groups[rows])
            answers = [p.leave_out(family, rows, gone, self.table) for p in fold]
            yield FamilyPrediction(rows, tuple(answers))

    def _collect(self, predictions: Iterator[FamilyPrediction]) -> LeftOutErrors:
        rows = list[_Row]()
        for prediction in predictions:
            logits = LAW.scale(self.table.top1[prediction.rows])
            for i, known in _list_subsets(len(logits)):
                mean, variance = prediction.condition_on(i, known, logits)
                deviations, predicted = (logits[i] - mean) / np.sqrt(variance), LAW.percent(mean)
                rows += [
                    (prediction.rows[i], known.shape[1], float(p), float(d))
                    for p, d in zip(predicted, deviations, strict=True)
                ]
        return self._make_table(rows)

    def _make_table(self, rows: list[_Row]) -> LeftOutErrors:
        at, known, predicted, deviations = (np.array(column) for column in zip(*rows, strict=True))
        pairs = list(zip(at.tolist(), known.tolist(), strict=True))
        counts = Counter(pairs)
        return LeftOutErrors(
            family=self.table.family[at],
            line=self.table.line[at],
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
    def of(
        cls, model: ModelFit, fold: int, table: PublishedTable, fitted_to: PublishedTable
    ) -> _FoldPosterior:
        choose = REFERENCE_SETS[model.reference_set]
        rows, scaler = (
            np.flatnonzero(choose(table)),
            Scaler.of(model.features, fitted_to.select(choose(fitted_to))),
        )
        some = table.select(rows)
        inputs = scaler.make_inputs(Networks(some.costs, some.shapes), some.family)
        return cls(scaler, Posterior(model.folds[fold], inputs, LAW.scale(some.top1)), rows)

    def leave_out(
        self,
        family: str,
        rows: NDArray[np.int64],
        gone: NDArray[np.bool_],
        table: PublishedTable,
    ) -> tuple[Floats, Floats]:
        """Mean (m,) and covariance (m, m) of the logits of a family, by what is not gone, (n,).

        Of a family that the set holds by what conditioning on the rest leaves (Rasmussen and
        Williams 2006, sec. 5.4.2, for a block of points).
        """
        left_out = gone[self.rows]
        at = np.flatnonzero(left_out)
        if np.isin(rows, self.rows[at]).all():
            mean, covariance = self.posterior.leave_out(at)
            keep = np.isin(self.rows[at], rows)
            return mean[keep], covariance[np.ix_(keep, keep)]
        own, known = table.select(rows), self.posterior.known
        others = Posterior(
            self.posterior.hyperparameters,
            known.select(~left_out),
            self.posterior.logits[~left_out],
        )
        inputs = self.scaler.make_inputs(Networks(own.costs, own.shapes), family)
        return others.predict_jointly(inputs)


def _list_hybrids(table: PublishedTable) -> PublishedNetworks:
    """Those that the law is fitted to."""
    some = table.select(table.comparable & table.inverted & table.hybrid)
    return PublishedNetworks(some.family, some.hybrid, some.costs, some.top1)


def _round(value: float | None) -> float:
    assert value is not None, "the table has families of hybrids with members known"
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
