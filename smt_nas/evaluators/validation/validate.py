"""How far an evaluator can be trusted: its figures beside the trained accuracy of a bench.

What is fitted to the bench is scored by its figures of networks that were held out: in ten folds,
and, as the honest test of extrapolation, on the largest quarter after fitting to the others.
The ablations of one base, which differ in one detail only, are in one fold, and are resampled
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.errors import ConfigError
from smt_nas.evaluators.base import Composite, Evaluation, Evaluator, Fittable, NetworkBound
from smt_nas.evaluators.predictors.training_set import TrainingSet, split_folds
from smt_nas.evaluators.validation.agreement import (
    FEWEST,
    RESAMPLES,
    Agreement,
    PickGap,
    Taus,
    compare_picks,
    compare_taus,
    measure_agreement,
)
from smt_nas.evaluators.validation.noise_ceiling import estimate_noise_ceiling, simulate_best
from smt_nas.nasbench.table import Bench
from smt_nas.runtime.progress import NullProgress, ProgressListener

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Evaluate = Callable[[Evaluator, Sequence[Architecture]], Sequence[Evaluation]]

BASELINES = ("#params", "#MACs", "random")
_SECONDS = "seconds"
REFERENCE = BASELINES[0]  # what every figure must beat


@dataclass(frozen=True)
class EvaluatorScore:
    """How one figure did.

    Attributes:
        name: evaluator, component of it, or baseline.
        figures: one a network, (n,), higher being better; NaN where it failed.
        agreement: with trained accuracy.
        above_params: overall and in-band tau, less those of #params; None for #params itself.
        picks_above_params: recall of the best and regret, less those of #params; None as above.
        largest_quarter: agreement among the largest quarter of the networks, by MACs; of what is
            fitted, after fitting to the others. None where fewer than three have a figure.
        largest_above_params: as `above_params`, among that quarter; None also as that.
        held_out: it was fitted to the bench; its figures are of networks held out.
        seconds: what one network costs, the median; None for baselines.
    """

    name: str
    figures: Floats
    agreement: Agreement
    above_params: Taus | None
    picks_above_params: PickGap | None
    largest_quarter: Agreement | None
    largest_above_params: Taus | None
    held_out: bool
    seconds: float | None

    @property
    def beats_params(self) -> bool:
        """Whether it orders networks of equal MACs better than #params do, beyond doubt."""
        return self.above_params is not None and (self.above_params.in_band.low or -1.0) > 0

    @property
    def picks_better(self) -> bool:
        """Whether it picks the best better than #params do, beyond doubt."""
        return self.picks_above_params is not None and self.picks_above_params.picks_better


@dataclass(frozen=True)
class Validation:
    """Evaluators on a bench.

    Attributes:
        bench: the bench.
        training_set: its networks.
        noise_ceiling: seed-to-seed tau; None where fewer than three networks have two seeds.
        at_best: what knowing the expected accuracy exactly would score; None as `noise_ceiling`.
        rows: evaluators and their components, which say whose they are where two evaluators
            have them; then the baselines.
        left_out: networks of the bench that an evaluator cannot rate; nothing is judged by them.
    """

    bench: Bench
    training_set: TrainingSet
    noise_ceiling: Taus | None
    at_best: Taus | None
    rows: tuple[EvaluatorScore, ...]
    left_out: int = 0

    def row(self, name: str) -> EvaluatorScore:
        """The row of a figure."""
        return next(row for row in self.rows if row.name == name)

    def is_beaten(self, name: str) -> bool:
        """Whether another figure is better beyond doubt, over all networks or at equal MACs."""
        others = (row for row in self.rows if row.name not in (name, *BASELINES))
        gaps = (compare_scores(self.training_set, other, self.row(name)) for other in others)
        return any((e.low or -1.0) > 0 for gap in gaps for e in (gap.kendall, gap.in_band))


def compare_scores(data: TrainingSet, row: EvaluatorScore, other: EvaluatorScore) -> Taus:
    """Taus of one figure less those of another, on the networks that have both."""
    columns = (row.figures, other.figures, data.top1, data.macs)
    return compare_taus(*columns, np.random.default_rng(0), groups=data.groups)


def validate(
    evaluators: Sequence[Evaluator],
    bench: Bench,
    evaluate: Evaluate | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    listener: ProgressListener | None = None,
) -> Validation:
    """Score evaluators by a bench.

    Args:
        evaluators: whose figures are compared with trained accuracy.
        bench: networks that were trained.
        evaluate: how those that are not fitted evaluate; None: in this process.
        seed: of folds, resamples and the random baseline.
        resamples: that intervals rest on.
        listener: hears how far it is, by evaluators; the baselines and the noise are one more.

    Raises:
        ConfigError: too few networks, or all alike; an evaluator fails on nearly all of them.
    """
    whole = len(bench.networks)
    bench = _keep_rated(bench, evaluators)
    data = TrainingSet.of(bench)
    scorer = _Scorer(data, seed, resamples)
    listener, rows = listener or NullProgress(), list[EvaluatorScore]()
    for done, evaluator in enumerate(evaluators):
        listener.step("validate", done, len(evaluators) + 1)
        scores = _score_evaluator(evaluator, scorer, evaluate or _evaluate_here)
        rows += _name_owner(scores, evaluator) if _is_shared(evaluator, evaluators) else scores
    listener.step("validate", len(evaluators), len(evaluators) + 1)
    lot = np.random.default_rng([seed, 0]).permutation(len(data.top1)).astype(float)
    for name, figures in zip(BASELINES, (data.params, data.macs, lot), strict=True):
        rows.append(scorer.score(name, figures, figures))
    ceiling, rng = _estimate_ceiling(bench, scorer), np.random.default_rng([seed, 4])
    best = None if ceiling is None else simulate_best(data.top1, data.label_std, data.macs, rng)
    listener.step("validate", len(evaluators) + 1, len(evaluators) + 1)
    return Validation(bench, data, ceiling, best, tuple(rows), whole - len(bench.networks))


def _keep_rated(bench: Bench, evaluators: Sequence[Evaluator]) -> Bench:
    """The bench with the networks that all evaluators can rate, so that all are judged by those.

    Raises:
        ConfigError: too few are left.
    """
    bound = [evaluator for evaluator in evaluators if isinstance(evaluator, NetworkBound)]
    if not bound:
        return bench
    rows = tuple(row for row in bench.rows if all(e.holds(row.arch) for e in bound))
    kept = replace(bench, rows=rows)
    if len(kept.networks) < FEWEST:
        raise ConfigError(
            f"bench {bench.name}: must hold {FEWEST} networks that {bound[0].name} can rate (got "
            f"{len(kept.networks)} of {len(bench.networks)}). Use a bench of its space: `smt-nas "
            "bench build --space`."
        )
    return kept


def _score_evaluator(
    evaluator: Evaluator, scorer: _Scorer, evaluate: Evaluate
) -> list[EvaluatorScore]:
    data, fitted = scorer.data, isinstance(evaluator, Fittable)
    if isinstance(evaluator, Fittable):
        whole = _predict_held_out(evaluator, data, split_folds(data.groups, scorer.seed))
        largest = _predict_held_out(evaluator, data, [data.large])
    else:
        whole = largest = _tabulate(evaluator, evaluate(evaluator, data.archs))
    seconds = float(np.median(whole.pop(_SECONDS)))
    return [
        scorer.score(name, figures, largest[name], fitted, seconds)
        for name, figures in whole.items()
    ]


def _list_components(evaluator: Evaluator) -> tuple[str, ...]:
    return evaluator.judged_components if isinstance(evaluator, Composite) else ()


def _is_shared(evaluator: Evaluator, evaluators: Sequence[Evaluator]) -> bool:
    """Whether another has components of the same names, as two supernets have."""
    others = (set(_list_components(e)) for e in evaluators if e is not evaluator)
    return any(names & set(_list_components(evaluator)) for names in others)


def _name_owner(rows: list[EvaluatorScore], evaluator: Evaluator) -> list[EvaluatorScore]:
    """Rows of components, with whose they are."""
    own = evaluator.name
    return [r if r.name == own else replace(r, name=f"{r.name} of {own}") for r in rows]


def _evaluate_here(evaluator: Evaluator, archs: Sequence[Architecture]) -> Sequence[Evaluation]:
    return evaluator.evaluate(archs)


def _tabulate(evaluator: Evaluator, evaluations: Sequence[Evaluation]) -> dict[str, Floats]:
    """Figures of n networks, (n,), as a whole and by component, and what they cost.

    Higher is better: a loss comes with the other sign.
    """
    columns: dict[str, list[float | None]] = {evaluator.name: [e.value for e in evaluations]}
    for name in _list_components(evaluator):
        columns[name] = [e.components.get(name) for e in evaluations]
    columns[_SECONDS] = [e.seconds for e in evaluations]
    tables = {name: np.array(values, dtype=float) for name, values in columns.items()}
    if evaluator.objective.direction == "min":
        tables[evaluator.name] = -tables[evaluator.name]
    return tables


def _predict_held_out(
    evaluator: Fittable, data: TrainingSet, masks: Sequence[Bools]
) -> dict[str, Floats]:
    """Figures of the networks held out, each time after fitting to all others; NaN elsewhere.

    What is fitted anew has a level of its own each time; it is the trained accuracy's.
    """
    whole: dict[str, Floats] = {}
    for out in masks:
        fitted = evaluator.fit(data.without(out))
        archs = [arch for arch, tested in zip(data.archs, out, strict=True) if tested]
        for name, figures in _tabulate(fitted, fitted.evaluate(archs)).items():
            whole.setdefault(name, np.full(len(data.archs), np.nan))[out] = figures
    return whole


@dataclass(frozen=True)
class _Scorer:
    """Compares figures of networks with what they were trained to, all on the same resamples."""

    data: TrainingSet
    seed: int
    resamples: int

    def score(
        self,
        name: str,
        figures: Floats,
        largest: Floats,
        held_out: bool = False,
        seconds: float | None = None,
    ) -> EvaluatorScore:
        """Score figures (n,); those of the largest quarter are in another array, (n,)."""
        everywhere, large = np.ones(len(figures), dtype=bool), self.data.large
        some = np.isfinite(largest[large]).sum() >= FEWEST and np.ptp(self.data.top1[large]) > 0
        params = name == REFERENCE
        return EvaluatorScore(
            name=name,
            figures=figures,
            agreement=self._measure(figures, everywhere),
            above_params=None if params else self._compare(figures, everywhere),
            picks_above_params=None if params else self._compare_picks(figures),
            largest_quarter=self._measure(largest, large) if some else None,
            largest_above_params=self._compare(largest, large) if some and not params else None,
            held_out=held_out,
            seconds=seconds,
        )

    def _measure(self, figures: Floats, at: Bools) -> Agreement:
        data, rng = self.data, np.random.default_rng([self.seed, 2])
        columns = (figures[at], data.top1[at], data.macs[at], data.params[at])
        return measure_agreement(*columns, rng, self.resamples, data.groups[at])

    def _compare(self, figures: Floats, at: Bools) -> Taus:
        data, rng = self.data, np.random.default_rng([self.seed, 3])
        columns = (figures[at], data.params[at], data.top1[at], data.macs[at])
        return compare_taus(*columns, rng, self.resamples, data.groups[at])

    def _compare_picks(self, figures: Floats) -> PickGap:
        data, rng = self.data, np.random.default_rng([self.seed, 3])
        columns = (figures, data.params, data.top1, data.macs)
        return compare_picks(*columns, rng, self.resamples, data.groups)


def _estimate_ceiling(bench: Bench, scorer: _Scorer) -> Taus | None:
    """Seed-to-seed tau, where there are seeds to compare."""
    seeds = sorted(bench.seed_effects)
    each = [{row.seed: row.figures["val_top1"] for row in rows} for rows in bench.networks.values()]
    if sum(len(of_seed) > 1 for of_seed in each) < FEWEST:
        return None
    by_seed = [[of_seed.get(s) for s in seeds] for of_seed in each]
    rng = np.random.default_rng([scorer.seed, 2])
    return estimate_noise_ceiling(by_seed, scorer.data.macs, rng, scorer.resamples)
