"""How far an evaluator can be trusted: its figures beside the trained accuracy of a bench.

Whatever learnt from the bench is judged by figures of networks that were held out: in ten folds,
and, as the honest test of extrapolation, on the largest quarter after learning from the others.
The ablations of one base, which differ in one detail only, are in one fold, and are resampled
together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smt_nas.arch import Architecture
from smt_nas.evaluators.base import Composite, Evaluation, Evaluator, Fittable
from smt_nas.evaluators.training_set import Known, folds
from smt_nas.evaluators.validation.agreement import FEWEST, Agreement, Taus, agreement, difference
from smt_nas.evaluators.validation.noise_ceiling import at_best, ceiling
from smt_nas.nasbench.table import Bench

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Rate = Callable[[Evaluator, Sequence[Architecture]], Sequence[Evaluation]]

BASELINES = ("#params", "#MACs", "random")
_SECONDS = "seconds"
REFERENCE = BASELINES[0]  # what every figure must beat


@dataclass(frozen=True)
class Judged:
    """One figure, judged.

    Attributes:
        name: evaluator, part of it, or baseline.
        figures: one a network, (n,); NaN where it failed.
        agreement: with trained accuracy.
        above: in-band and overall tau, less those of #params; None for #params itself.
        largest: among the largest quarter of the networks, by MACs; of what learnt, after learning
            from the others. None where fewer than three of them have a figure.
        above_largest: the taus of that, less those of #params; None as `above` and `largest`.
        learnt: it learnt from the bench; its figures are of networks held out.
        seconds: what one network costs, the median; None for baselines.
    """

    name: str
    figures: Floats
    agreement: Agreement
    above: Taus | None
    largest: Agreement | None
    above_largest: Taus | None
    learnt: bool
    seconds: float | None

    @property
    def beats_params(self) -> bool:
        """Whether it orders networks of equal MACs better than #params do, beyond doubt."""
        return self.above is not None and (self.above.in_band.low or -1.0) > 0


@dataclass(frozen=True)
class Validation:
    """Evaluators on a bench.

    Attributes:
        bench: the bench.
        known: its networks.
        ceiling: seed-to-seed tau; None where fewer than three networks have two seeds.
        at_best: what knowing the expected accuracy exactly would score; None as `ceiling`.
        rows: evaluators and their parts, then the baselines.
    """

    bench: Bench
    known: Known
    ceiling: Taus | None
    at_best: Taus | None
    rows: tuple[Judged, ...]

    def row(self, name: str) -> Judged:
        """The row of a figure."""
        return next(row for row in self.rows if row.name == name)

    def beaten(self, name: str) -> bool:
        """Whether another figure is better beyond doubt, over all networks or at equal MACs."""
        others = (row.name for row in self.rows if row.name not in (name, *BASELINES))
        gaps = (above(self.known, self.row(other), self.row(name)) for other in others)
        return any((e.low or -1.0) > 0 for gap in gaps for e in (gap.kendall, gap.in_band))


def above(known: Known, row: Judged, other: Judged) -> Taus:
    """Taus of one figure less those of another, on the networks that have both."""
    columns = (row.figures, other.figures, known.top1, known.macs)
    return difference(*columns, np.random.default_rng(0), groups=known.groups)


def validate(
    evaluators: Sequence[Evaluator], bench: Bench, rate: Rate | None = None, seed: int = 0
) -> Validation:
    """Judge evaluators by a bench.

    Args:
        evaluators: whose figures are compared with trained accuracy.
        bench: networks that were trained.
        rate: how those that do not learn are asked; None asks them here.
        seed: of folds, resamples and the random baseline.

    Raises:
        ConfigError: too few networks, or all alike; an evaluator fails on nearly all of them.
    """
    known = Known.of(bench)
    rows = [row for evaluator in evaluators for row in _rows(evaluator, known, rate or _here, seed)]
    rng = np.random.default_rng([seed, 0])
    baselines = (known.params, known.macs, rng.permutation(len(known.top1)).astype(float))
    for name, figures in zip(BASELINES, baselines, strict=True):
        rows.append(_judged(name, figures, figures, known, seed))
    again, rng = _ceiling(bench, known, seed), np.random.default_rng([seed, 4])
    best = None if again is None else at_best(known.top1, known.off, known.macs, rng)
    return Validation(bench, known, again, best, tuple(rows))


def _rows(evaluator: Evaluator, known: Known, rate: Rate, seed: int) -> list[Judged]:
    learns = isinstance(evaluator, Fittable)
    if isinstance(evaluator, Fittable):
        everywhere = _held_out(evaluator, known, folds(known.groups, seed))
        beyond = _held_out(evaluator, known, [known.large])
    else:
        everywhere = beyond = _figures(evaluator, rate(evaluator, known.archs))
    seconds = float(np.median(everywhere.pop(_SECONDS)))
    return [
        _judged(name, figures, beyond[name], known, seed, learns, seconds)
        for name, figures in everywhere.items()
    ]


def _here(evaluator: Evaluator, archs: Sequence[Architecture]) -> Sequence[Evaluation]:
    return evaluator.evaluate(archs)


def _figures(evaluator: Evaluator, found: Sequence[Evaluation]) -> dict[str, Floats]:
    """What was said of n networks, (n,), as a whole and by part, and what it cost."""
    columns: dict[str, list[float | None]] = {evaluator.name: [e.value for e in found]}
    for part in evaluator.judged_components if isinstance(evaluator, Composite) else ():
        columns[part] = [e.components.get(part) for e in found]
    columns[_SECONDS] = [e.seconds for e in found]
    return {name: np.array(values, dtype=float) for name, values in columns.items()}


def _held_out(
    evaluator: Fittable, known: Known, held: Sequence[NDArray[np.bool_]]
) -> dict[str, Floats]:
    """Figures of the networks held out, each time after learning from all others; NaN elsewhere.

    What is learnt anew has a level of its own each time; it is the trained accuracy's.
    """
    whole: dict[str, Floats] = {}
    for out in held:
        taught = evaluator.fit(known.without(out))
        archs = [arch for arch, tested in zip(known.archs, out, strict=True) if tested]
        for name, figures in _figures(taught, taught.evaluate(archs)).items():
            whole.setdefault(name, np.full(len(known.archs), np.nan))[out] = figures
    return whole


def _judged(
    name: str,
    figures: Floats,
    beyond: Floats,
    known: Known,
    seed: int,
    learnt: bool = False,
    seconds: float | None = None,
) -> Judged:
    def alike(figures: Floats, at: Bools) -> Agreement:
        rng = np.random.default_rng([seed, 2])  # the same resamples for every row
        columns = (figures[at], known.top1[at], known.macs[at], known.params[at])
        return agreement(*columns, rng, groups=known.groups[at])

    def ahead(figures: Floats, at: Bools) -> Taus | None:
        if name == REFERENCE:
            return None
        rng = np.random.default_rng([seed, 3])
        columns = (figures[at], known.params[at], known.top1[at], known.macs[at])
        return difference(*columns, rng, groups=known.groups[at])

    everywhere, large = np.ones(len(known.top1), dtype=bool), known.large
    some = np.isfinite(beyond[large]).sum() >= FEWEST and np.ptp(known.top1[large]) > 0
    return Judged(
        name=name,
        figures=figures,
        agreement=alike(figures, everywhere),
        above=ahead(figures, everywhere),
        largest=alike(beyond, large) if some else None,
        above_largest=ahead(beyond, large) if some else None,
        learnt=learnt,
        seconds=seconds,
    )


def _ceiling(bench: Bench, known: Known, seed: int) -> Taus | None:
    """Seed-to-seed tau, where there are seeds to compare."""
    seeds = sorted(bench.seed_effects)
    each = [{row.seed: row.figures["val_top1"] for row in rows} for rows in bench.networks.values()]
    if sum(len(found) > 1 for found in each) < FEWEST:
        return None
    by_seed = [[found.get(s) for s in seeds] for found in each]
    return ceiling(by_seed, known.macs, np.random.default_rng([seed, 2]))
