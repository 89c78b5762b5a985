"""How evaluators agree with published ImageNet networks: their errors in families left out.

`validate` asks an evaluator for figures of a bench's networks, which are SMTs. Published networks
are of other blocks, so here the models behind `joint` and `capacity` are asked themselves, and no
other evaluator can be.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from smt_nas.errors import ConfigError, UnknownName
from smt_nas.evaluators.base import NORMAL_95
from smt_nas.evaluators.scaling_law import KNOWN_MEMBERS
from smt_nas.evaluators.topology.design_region import NEIGHBOUR, DesignRegion
from smt_nas.evaluators.topology.ensemble import REFERENCE_SETS
from smt_nas.evaluators.topology.fits import load_fit
from smt_nas.evaluators.topology.leave_family_out import SHARE, LeaveFamilyOut
from smt_nas.evaluators.topology.left_out import FamilyDifference, LeftOutErrors, TargetCount
from smt_nas.evaluators.topology.published_table import SHIPPED, PublishedTable, load_published
from smt_nas.nasbench import rows
from smt_nas.nasbench.table import bench_names, card_path

IMAGENET = "imagenet"
"""Name of the shipped table."""
LAW, COSTS, JOINT = "law alone", "costs alone", "joint"
MODELS: Mapping[str, tuple[str, ...]] = {"capacity": (LAW,), "joint": (LAW, COSTS, JOINT)}
"""Which models tell of an evaluator."""
_HALVES = 50
_FEWEST_LINES = 10  # of designs, of which halves tell something


@dataclass(frozen=True)
class FamilyError:
    """How far off a model is in families left out; each a figure of hybrids, and of all networks.

    Attributes:
        model: LAW, COSTS or JOINT.
        unknown: mean absolute error in points, no member known.
        known: the same with KNOWN_MEMBERS known.
        coverage: share of the latter that 80 % intervals hold.
    """

    model: str
    unknown: tuple[float | None, float | None]
    known: tuple[float | None, float | None]
    coverage: tuple[float | None, float | None]


@dataclass(frozen=True)
class RegionCheck:
    """The region of designs, fitted to some lines of design and checked on the others.

    Attributes:
        limit: fitted to all.
        networks, lines: there are.
        halves: random halves of the lines, each fitted to and the other half checked.
        inside: mean share of networks of the other half that lie inside.
        lowest, highest: of these shares.
    """

    limit: float
    networks: int
    lines: int
    halves: int
    inside: float
    lowest: float
    highest: float


@dataclass(frozen=True)
class FamilyValidation:
    """Evaluators on published networks.

    Attributes:
        source: `imagenet`, or the file.
        targets: what is predicted: all with none known, then those with KNOWN_MEMBERS known.
        errors: of each model.
        above: error of JOINT less that of others; None where no family has members enough.
        interval_factor: by which the intervals of JOINT and COSTS are widened.
        cross_coverage: share of hybrids that 80 % intervals of JOINT hold, each family by the
            factor of the others; None where there are too few.
        gain_coverage: share of hybrids, and of all, that 95 % intervals of JOINT hold, as gains
            have; None where it was not asked.
        region: None where it was not asked, or there are too few lines.
        with_siblings: errors of JOINT where families alone are left out, and networks of their
            lines stay; None where it was not asked.
        above_costs_with_siblings: its error less that of COSTS then.
    """

    source: str
    targets: tuple[TargetCount, TargetCount]
    errors: tuple[FamilyError, ...]
    above: Mapping[str, FamilyDifference | None]
    interval_factor: float
    cross_coverage: float | None
    gain_coverage: tuple[float | None, float | None] | None
    region: RegionCheck | None
    with_siblings: FamilyError | None = None
    above_costs_with_siblings: FamilyDifference | None = None


def find_published(on: str) -> Path | None:
    """The table of published networks that is meant; None where a bench is.

    A table of the user's own is a `.csv` that is there, without the data card of a bench beside it
    and without a bench's columns.

    Raises:
        UnknownName: a name that is of neither.
    """
    if on == IMAGENET:
        return SHIPPED
    path = Path(on)
    if path.suffix != ".csv" and not path.is_dir() and os.sep not in on:
        _check_name(on)
    own = path.suffix == ".csv" and path.exists() and not card_path(path).exists()
    return path if own and not _begins_like_bench(path) else None


def _check_name(on: str) -> None:
    names = [*bench_names(), IMAGENET]
    if on not in names:
        raise UnknownName("bench", on, names, "A .csv of `bench build` works too.")


def _begins_like_bench(path: Path) -> bool:
    if not path.is_file():
        return False
    columns = ",".join(rows.COLUMNS[:3]).encode()
    with path.open("rb") as file:
        return file.read(len(columns)) == columns


def validate_families(
    evaluators: Sequence[str], on: str, path: Path, seed: int = 0
) -> FamilyValidation:
    """Leave each family of a table out.

    Args:
        evaluators: names, of MODELS.
        on: how the user calls the table.
        path: of it.
        seed: of resamples and of halves.

    Raises:
        ConfigError: an evaluator that cannot be asked; a table that breaks a rule.
    """
    _check_evaluators(evaluators, on)
    models = list(dict.fromkeys(m for name in evaluators for m in MODELS[name]))
    shipped = load_published()
    table = shipped if path == SHIPPED else PublishedTable.read(path)
    experiment = LeaveFamilyOut(load_fit(), table, fitted_to=shipped)
    _check_table(on, table, experiment, JOINT in models)
    with threadpool_limits(1):  # the same figures on any machine
        ours = {model: _PREDICTIONS[model](experiment) for model in models}
        above = {}
        if JOINT in models:
            above = {other: ours[JOINT].compare(ours[other], seed) for other in (COSTS, LAW)}
        region = check_region(table, seed) if JOINT in models else None
        siblings = LeaveFamilyOut(load_fit(), table, shipped, whole_lines=False)
        stay = siblings.ensemble if JOINT in models else None
        above_stay = None if stay is None else stay.compare(siblings.costs_alone, seed)
    factor, first = experiment.fit.interval_factor, ours[models[0]]
    return FamilyValidation(
        source=on,
        targets=(first.count(0), first.count(KNOWN_MEMBERS)),
        errors=tuple(_measure_errors(model, ours[model], factor) for model in models),
        above=above,
        interval_factor=factor,
        cross_coverage=ours[JOINT].cross_coverage(SHARE) if JOINT in models else None,
        gain_coverage=_cover_gains(ours[JOINT], factor) if JOINT in models else None,
        region=region,
        with_siblings=None if stay is None else _measure_errors(JOINT, stay, factor),
        above_costs_with_siblings=above_stay,
    )


_PREDICTIONS: dict[str, Callable[[LeaveFamilyOut], LeftOutErrors]] = {
    LAW: lambda experiment: experiment.law,
    COSTS: lambda experiment: experiment.costs_alone,
    JOINT: lambda experiment: experiment.ensemble,
}


def _check_evaluators(evaluators: Sequence[str], on: str) -> None:
    wrong = [name for name in evaluators if name not in MODELS]
    if wrong:
        raise ConfigError(
            f"validate: only {' and '.join(sorted(MODELS))} can be asked of published networks, "
            f"which are no SMTs (got {wrong[0]} --on {on}). Ask it on a bench: --on smt-bench-mini."
        )


def _check_table(
    on: str, table: PublishedTable, experiment: LeaveFamilyOut, by_ensemble: bool
) -> None:
    """Raises ConfigError where a model would have nothing to learn from, or to predict."""
    needs = {"expansion of 1 or more in every stage": experiment.targets}
    if by_ensemble:
        needs["metaformer 1"] = REFERENCE_SETS["metaformer"](table)
    for rule, chosen in needs.items():
        families = len(np.unique(table.family[chosen]))
        if families < 2:
            raise ConfigError(
                f"{on}: needs two families or more of comparable networks with {rule} (got "
                f"{families}). Add some, e.g. rows of the shipped imagenet_topology.csv."
            )


def _measure_errors(model: str, errors: LeftOutErrors, interval_factor: float) -> FamilyError:
    factor = 1.0 if model == LAW else interval_factor
    return FamilyError(
        model=model,
        unknown=(errors.mean_error(0, True), errors.mean_error(0, False)),
        known=(errors.mean_error(KNOWN_MEMBERS, True), errors.mean_error(KNOWN_MEMBERS, False)),
        coverage=(
            errors.coverage(KNOWN_MEMBERS, True, factor),
            errors.coverage(KNOWN_MEMBERS, False, factor),
        ),
    )


def _cover_gains(errors: LeftOutErrors, factor: float) -> tuple[float | None, float | None]:
    hybrids, every = (
        errors.coverage(KNOWN_MEMBERS, of_hybrids, factor, NORMAL_95)
        for of_hybrids in (True, False)
    )
    return hybrids, every


def check_region(table: PublishedTable, seed: int) -> RegionCheck | None:
    """Fit and check it on halves of the lines of design; None where there are too few."""
    region = DesignRegion.of(table)
    line = region.table.line
    lines, counts = np.unique(line, return_counts=True)
    if len(lines) < _FEWEST_LINES or len(line) - counts.max() < NEIGHBOUR:
        return None
    inside = []
    for half in range(_HALVES):
        drawn = np.random.default_rng([seed, half]).permutation(lines)[: len(lines) // 2]
        fitted = np.isin(line, drawn)
        own, others = (DesignRegion(region.table.select(rows)) for rows in (fitted, ~fitted))
        inside.append((own.measure(others.table.shapes) <= own.limit).mean())
    return RegionCheck(
        limit=region.limit,
        networks=len(line),
        lines=len(lines),
        halves=_HALVES,
        inside=float(np.mean(inside)),
        lowest=float(min(inside)),
        highest=float(max(inside)),
    )
