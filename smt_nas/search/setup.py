"""Begin a search, or take one up again: every check comes before anything is written."""

from __future__ import annotations

from pathlib import Path

from smt_nas.errors import ConfigError, MeasurementError, StoreError, UnknownName
from smt_nas.evaluators import Evaluator, Trains, make_evaluator
from smt_nas.metrics import METRICS
from smt_nas.runtime.progress import NullProgress, SearchListener
from smt_nas.search.engine import Search
from smt_nas.search.evaluate import runs_elsewhere
from smt_nas.search.objectives import FROM_LATENCY
from smt_nas.search.problem import COST_OBJECTIVES, Problem
from smt_nas.search.run_directory import DEFAULT_EVALUATOR, TRAININGS, RunDirectory, Settings
from smt_nas.search.strategies import make_strategy
from smt_nas.search.study import Study
from smt_nas.search.survey import introduce
from smt_nas.space import SearchSpace
from smt_nas.yaml import validated


def start(
    settings: Settings,
    out: Path | None = None,
    *,
    rater: Evaluator | None = None,
    listener: SearchListener | None = None,
    workers: int = 1,
) -> Search:
    """Check everything, make the run directory and its study. Nothing is evaluated yet.

    Args:
        settings: what is asked for.
        out: run directory; `runs/<space>-<budget>` by default.
        rater: an evaluator of your own instead of the one that the settings name.
        listener: hears what happens.
        workers: processes that rate and count networks; results do not depend on it.

    Raises:
        ConfigError: a setting that is not allowed, or a budget that nothing can meet.
        StoreError: the run directory or the storage cannot be used.
    """
    space = SearchSpace.load(settings.space)
    problem, rater = _wanted(settings, space, rater)
    settings = settings.model_copy(
        update={
            "objectives": tuple(q.metric.name for q in problem.objectives),
            "evaluator": rater.name if rater else None,
            "device": settings.device or problem.target.place.label,
        }
    )
    listener = listener or NullProgress()
    introduce(problem, listener)
    evidence = None if rater is None else rater.evidence
    directory = RunDirectory.create(out, settings, space, problem.target_records, evidence)
    if evidence is not None:
        listener.say(evidence)
    listener.say(f"Run directory: {directory.path}")
    study, rater = _first_study(problem, directory), _placed(rater, directory)
    return Search(directory, problem, study, rater, listener, workers)


def reopen(
    path: Path,
    *,
    n: int | None = None,
    storage: str | None = None,
    rater: Evaluator | None = None,
    read_only: bool = False,
    listener: SearchListener | None = None,
    workers: int = 1,
) -> Search:
    """Open the search of a run directory, to go on or to read it.

    Args:
        path: the run directory.
        n: another number of networks to try.
        storage: URL of the study, where its password was not written to run.yaml.
        rater: needed where the search was given one that `make_evaluator` cannot make.
        read_only: only `Search.outcome` will be called.
        listener: hears what happens.
        workers: processes that rate and count networks; results do not depend on it.

    Raises:
        StoreError: not a run directory, its study cannot be used, or its device is no longer
            predicted as it was.
    """
    directory = RunDirectory.open(path, storage)
    if n is not None:
        directory.settings = validated(
            Settings, {**directory.settings.model_dump(), "n": n}, f"resume {path}"
        )
    settings = directory.settings
    problem = _recorded(directory) if read_only else _again(directory)
    rater = None if read_only else _placed(_rater(problem, rater or settings.evaluator), directory)
    if settings.storage is None and not _filled(directory.database):
        if read_only:
            raise StoreError(f"{path}: holds no trials yet. Use `smt-nas resume {path}`.")
        study = _create(problem, directory)  # killed between run.yaml and the study
    else:
        study = Study.load(problem, directory.storage, directory.study_name, directory.identity)
    return Search(directory, problem, study, rater, listener or NullProgress(), workers)


_WITHOUT_EVALUATOR = [n for n, m in METRICS.items() if m.formula or n in FROM_LATENCY]


def _recorded(directory: RunDirectory) -> Problem:
    """The problem as run.yaml has it; no device is looked at."""
    settings, targets = directory.settings, directory.targets
    return Problem.of(
        directory.space, settings.budgets, settings.objectives, settings.device, targets
    )


def _again(directory: RunDirectory) -> Problem:
    """The problem with its devices, which must be predicted as they were.

    Raises:
        StoreError: another machine, or another table or sheet.
    """
    settings, path = directory.settings, directory.path
    if settings.device is None:  # begun before searches knew devices
        return _recorded(directory)
    try:
        problem = Problem.of(
            directory.space, settings.budgets, settings.objectives, settings.device
        )
    except (UnknownName, MeasurementError) as error:
        raise StoreError(f"{path}: needs its device. {error}") from error
    for there, here in zip(directory.targets, problem.target_records, strict=True):
        before, now = there.target.place, here.target.place
        if before.device != now.device and (there.forecast or settings.verify):
            raise StoreError(
                f"{path}: is of {before.name} (got {now.name}). Go on there, or search anew with "
                "another --out."
            )
        was, now_is = there.forecast, here.forecast
        if was and now_is and (was.digest, was.basis) != (now_is.digest, now_is.basis):
            raise StoreError(
                f"{path}: what is predicted for {there.target.label} has changed since (digest "
                f"{was.digest} of a {was.basis}, now {now_is.digest} of a {now_is.basis}). Restore "
                "its sheet or table, or search anew with another --out."
            )
    return problem


def _wanted(
    settings: Settings, space: SearchSpace, rater: Evaluator | None
) -> tuple[Problem, Evaluator | None]:
    """The problem, whose objectives are the evaluator's and the costs where none were named."""
    objectives = settings.objectives
    if not objectives:
        rater = rater or make_evaluator(settings.evaluator or DEFAULT_EVALUATOR)
        objectives = (rater.objective.name, *COST_OBJECTIVES)
    problem = Problem.of(space, settings.budgets, objectives, settings.device)
    make_strategy(settings.strategy, problem)
    found = _rater(problem, rater or settings.evaluator)
    if found is None and settings.training is not None:
        raise ConfigError(
            "--data: candidates are trained where an objective asks how good they are (got "
            f"{', '.join(q.name for q in problem.objectives)}). Drop it, or add --objective "
            "val_top1."
        )
    if settings.timeout is not None and (found is None or not runs_elsewhere(found)):
        raise ConfigError(
            "--timeout: is for your own function, mypkg.mymod:fn, and zero-cost (got "
            f"{'no evaluator' if found is None else found.name}). Drop it."
        )
    return problem, found


def _rater(problem: Problem, wanted: Evaluator | str | None) -> Evaluator | None:
    """The evaluator, where an objective needs one."""
    if problem.evaluated_metric is None:
        return None
    if wanted is None or isinstance(wanted, str):
        wanted = make_evaluator(wanted or DEFAULT_EVALUATOR)
    others = [q.name for q in problem.objectives if q.is_evaluated and q.metric != wanted.objective]
    if others:
        raise ConfigError(
            f"--objective {others[0]}: evaluator {wanted.name} rates {wanted.objective.name}. "
            f"Choose it, or one of {', '.join(_WITHOUT_EVALUATOR)}."
        )
    return wanted


def _placed(rater: Evaluator | None, directory: RunDirectory) -> Evaluator | None:
    """An evaluator that trains keeps its trainings in the run directory."""
    return rater.within(directory.path / TRAININGS) if isinstance(rater, Trains) else rater


def _first_study(problem: Problem, directory: RunDirectory) -> Study:
    """Create the study of a new run; where that fails, the run directory goes again."""
    try:
        return _create(problem, directory)
    except StoreError:
        directory.discard()
        raise


def _create(problem: Problem, directory: RunDirectory) -> Study:
    name, identity = directory.study_name, directory.identity
    if directory.settings.storage is not None:
        return Study.create(problem, directory.storage, name, identity)
    with directory.lock():
        return Study.create_file(problem, directory.database, name, identity)


def _filled(file: Path) -> bool:
    """Whether a file holds anything: a full disk leaves empty ones."""
    return file.is_file() and file.stat().st_size > 0
