"""Begin a search, or take one up again: every check comes before anything is written."""

from __future__ import annotations

from pathlib import Path

from smt_nas.accuracy import Evaluator, make_evaluator
from smt_nas.errors import ConfigError, StoreError
from smt_nas.metrics import METRICS
from smt_nas.resources import validated
from smt_nas.search.engine import Search
from smt_nas.search.listener import Listener, Silence
from smt_nas.search.problem import Problem
from smt_nas.search.rundir import DEFAULT_EVALUATOR, RunDirectory, Settings
from smt_nas.search.strategies import make_strategy
from smt_nas.search.study import Study
from smt_nas.search.survey import explain_macs, survey
from smt_nas.space import SearchSpace


def start(
    settings: Settings,
    out: Path | None = None,
    *,
    rater: Evaluator | None = None,
    listener: Listener | None = None,
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
    problem = Problem.of(space, settings.budgets, settings.objectives)
    make_strategy(settings.strategy, problem)
    rater = _rater(problem, rater or settings.evaluator)
    settings = settings.model_copy(
        update={
            "objectives": tuple(m.name for m in problem.objectives),
            "evaluator": rater.name if rater else None,
        }
    )
    listener = listener or Silence()
    _introduce(problem, listener)
    directory = RunDirectory.create(out, settings, space)
    listener.say(f"Run directory: {directory.path}")
    return Search(directory, problem, _first_study(problem, directory), rater, listener, workers)


def reopen(
    path: Path,
    *,
    n: int | None = None,
    storage: str | None = None,
    rater: Evaluator | None = None,
    read_only: bool = False,
    listener: Listener | None = None,
    workers: int = 1,
) -> Search:
    """Open the search of a run directory, to go on or to read it.

    Args:
        path: the run directory.
        n: another number of networks to try.
        storage: URL of the study, where its password was not written to run.yaml.
        rater: needed where the search was given one that has no name in EVALUATORS.
        read_only: only `Search.outcome` will be called.
        listener: hears what happens.
        workers: processes that rate and count networks; results do not depend on it.

    Raises:
        StoreError: not a run directory, or its study cannot be used.
    """
    directory = RunDirectory.open(path, storage)
    if n is not None:
        directory.settings = validated(
            Settings, {**directory.settings.model_dump(), "n": n}, f"resume {path}"
        )
    settings = directory.settings
    problem = Problem.of(directory.space, settings.budgets, settings.objectives)
    rater = None if read_only else _rater(problem, rater or settings.evaluator)
    if settings.storage is None and not _filled(directory.database):
        if read_only:
            raise StoreError(f"{path}: holds no trials yet. Use `smt-nas resume {path}`.")
        study = _create(problem, directory)  # killed between run.yaml and the study
    else:
        study = Study.load(problem, directory.storage, directory.study_name, directory.identity)
    return Search(directory, problem, study, rater, listener or Silence(), workers)


def _rater(problem: Problem, wanted: Evaluator | str | None) -> Evaluator | None:
    """The evaluator, where an objective needs one."""
    if problem.rated is None:
        return None
    if wanted is None or isinstance(wanted, str):
        wanted = make_evaluator(wanted or DEFAULT_EVALUATOR)
    others = [m.name for m in problem.objectives if not m.formula and m != wanted.objective]
    if others:
        raise ConfigError(
            f"--objective {others[0]}: evaluator {wanted.name} rates {wanted.objective.name}. "
            f"Choose it, or one of {', '.join(n for n, m in METRICS.items() if m.formula)}."
        )
    return wanted


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


def _introduce(problem: Problem, listener: Listener) -> None:
    """Step 1: what the space is, what the budget means, what it leaves."""
    found = survey(problem)
    space = problem.space
    listener.say(f"Space {space.name}: {space.size:.2e} networks at {space.config.image_size} px.")
    for name in dict.fromkeys(["macs", "params", *(x.metric for x in problem.limits)]):
        m, span = METRICS[name], found.ranges[name]
        values = (span.low, found.medians[name], span.high)
        low, median, high = (m.show(v) for v in values)
        listener.say(f"  {m.heading}: {low} min, {median} median, {high} max")
    meaning = explain_macs(problem)
    if meaning:
        listener.say(meaning)
    for limit in problem.limits:
        listener.say(f"Must hold: {limit}.")
    if problem.limits:
        share = f"{found.share:.1%}" if found.share >= 0.001 else "less than 0.1%"
        listener.say(f"Share of the space that fits: {share}.")
