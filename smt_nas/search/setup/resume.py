"""Resume a search, or open it to be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smt_nas.errors import MeasurementError, StoreError, UnknownName
from smt_nas.evaluators import Evaluator, EvaluatorChoice, default_evaluator, make_evaluator
from smt_nas.evaluators.base import SpaceBound
from smt_nas.evaluators.relative_score import RelativeScore
from smt_nas.files import shell_word
from smt_nas.runtime.engines.engine_choice import Workers
from smt_nas.search.loop.listener import NullSearchProgress, SearchListener
from smt_nas.search.loop.search_loop import Search
from smt_nas.search.problem.problem import Problem
from smt_nas.search.problem.region import choose_region, load_region
from smt_nas.search.run_directory import RunDirectory, find_other_machine
from smt_nas.search.setup.assemble import (
    adapt_to_space,
    check_engine,
    check_objective,
    create_study,
    make_search,
)
from smt_nas.search.setup.budget_change import (
    change_budgets,
    describe_change,
    read_new_problem,
)
from smt_nas.search.setup.evaluator_change import OpenedStudy, check_evaluator, open_study
from smt_nas.search.setup.wishes import Wishes
from smt_nas.search.stop_rule import count_wanted
from smt_nas.search.storage.database import wait_for_server
from smt_nas.search.storage.study import Study


def resume_search(
    path: Path,
    *,
    n: int | None = None,
    wishes: Wishes | None = None,
    budgets: Sequence[str] = (),
    storage: str | None = None,
    evaluator: Evaluator | None = None,
    accept_changed_evaluator: bool = False,
    read_only: bool = False,
    listener: SearchListener | None = None,
    workers: Workers = 1,
) -> Search:
    """Open the search of a run directory, to go on or to read it.

    Args:
        path: the run directory.
        n: another number of networks to try; short for `Wishes(n=n)`.
        wishes: how long to go on.
        budgets: what must hold from now on, instead of what did; empty leaves that.
        storage: URL of the study, where its password was not written to run.yaml.
        evaluator: needed where `create_search` was given one.
        accept_changed_evaluator: go on where the evaluator is not what it was: the networks that
            were tried are then evaluated again.
        read_only: only `Search.outcome` will be called.
        listener: hears what happens.
        workers: processes that evaluate and count networks; None for as many as this machine has
            cores for; or another engine that evaluates. Results do not depend on it.

    Raises:
        ConfigError: a wish or a budget that cannot be met.
        StoreError: not a run directory, its study cannot be used, or its device is no longer
            predicted as it was, or its evaluator has changed.
    """
    directory = RunDirectory.open(path, storage)
    listener = listener or NullSearchProgress()
    wishes = wishes or Wishes(n=n)
    wishes.apply(directory.settings, 0, 0.0, None)  # raises before anything else is looked at
    problem = _read_problem(directory) if read_only else _predict_again(directory)
    evaluator = None if read_only else _recorded_evaluator(directory, problem, evaluator)
    check_engine(workers, evaluator, directory.settings.evaluator)
    new_problem = None
    if budgets and tuple(budgets) != directory.settings.budgets:
        new_problem = read_new_problem(directory, budgets, listener)
    if not read_only:
        _tell_differences(directory, evaluator, listener)
        wait_for_server(directory.storage, listener.say)
    opened = _open_study(directory, problem, read_only, evaluator, accept_changed_evaluator)
    if new_problem is not None:
        listener.say(describe_change(directory, budgets, len(opened.study.trials())))
        problem, opened = new_problem, change_budgets(directory, new_problem, opened, budgets)
    search = make_search(directory, problem, opened, evaluator, listener, workers)
    if not read_only:
        _adopt_wishes(directory, search, wishes)
        listener.resumed(len(search.read_trials()), count_wanted(directory.settings.n))
    return search


def _open_study(
    directory: RunDirectory,
    problem: Problem,
    read_only: bool,
    evaluator: Evaluator | None,
    accept_change: bool,
) -> OpenedStudy:
    """The study to go on in, or to read. Raises StoreError."""
    _check_study(directory, problem, read_only)
    opened = open_study(directory, problem)
    if evaluator is None:
        return opened
    return check_evaluator(directory, problem, opened, evaluator, accept_change)


def _check_study(directory: RunDirectory, problem: Problem, read_only: bool) -> None:
    """Create the study of a run that was killed between run.yaml and it, wherever it is to be.

    On a server that may be the moment, too, in which another process creates it. A run that has
    worked is left alone: its study is elsewhere, or lost.
    """
    if read_only and not directory.holds_study:
        raise StoreError(
            f"{directory.path}: holds no trials yet. Use `smt-nas resume "
            f"{shell_word(directory.path)}`."
        )
    settings, name = directory.settings, directory.study_name
    is_new = settings.storage is not None and not directory.has_worked and not read_only
    if not directory.holds_study or (is_new and not Study.is_created(directory.storage, name)):
        create_study(problem, directory, again=True)


def _tell_differences(
    directory: RunDirectory, evaluator: Evaluator | None, listener: SearchListener
) -> None:
    """Tell in what this start differs from the first."""
    path, other = directory.path, find_other_machine(directory)
    if other is not None:
        listener.say(
            f"{path}: was begun on another machine ({directory.machine}; this is {other}). Its "
            "predictions are the same here; what is measured from now on is of this one."
        )
    if _is_without_region(directory, evaluator):
        listener.say(
            f"{path}: was begun before searches kept to the region of published designs, and goes "
            "on without it. A new search keeps to it."
        )


def _adopt_wishes(directory: RunDirectory, search: Search, wishes: Wishes) -> None:
    """Keep how long the search goes on from now on; what was tried stays."""
    trials = search.study.trials()
    reached = search.find_stop(trials)
    wished = wishes.apply(directory.settings, len(trials), search.worked_s, reached)
    if wished != directory.settings:
        with directory.lock():
            directory.adopt_wishes(wished)


def _is_without_region(directory: RunDirectory, evaluator: Evaluator | None) -> bool:
    """Whether a run has no region of designs, where the same search would keep to it today."""
    settings = directory.settings
    if evaluator is None or settings.region is not None:
        return False
    handed_in = settings.evaluator is not None and settings.evaluator.handed_in
    return choose_region(None, directory.space, evaluator, handed_in) == "published"


def _read_problem(directory: RunDirectory) -> Problem:
    """The problem as run.yaml has it; no device is looked at."""
    settings, targets = directory.settings, directory.targets
    return Problem.of(
        directory.space, settings.budgets, settings.objectives, settings.device, targets
    ).within(load_region(settings.region))


def _predict_again(directory: RunDirectory) -> Problem:
    """The problem with its devices, which must be predicted as they were.

    Raises:
        StoreError: another machine, or another table or sheet.
    """
    settings, path = directory.settings, directory.path
    if settings.device is None:  # begun before searches knew devices
        return _read_problem(directory)
    try:
        problem = Problem.of(
            directory.space, settings.budgets, settings.objectives, settings.device
        ).within(load_region(settings.region))
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
            other = find_other_machine(directory) if there.target.place.is_own else None
            if other is not None:
                raise StoreError(
                    f"{path}: {there.target.place.label} is another device here ({other}) than "
                    f"where it was begun ({directory.machine}), and is predicted otherwise. Go on "
                    "there, or search anew with another --out."
                )
            raise StoreError(
                f"{path}: what is predicted for {there.target.label} has changed since (digest "
                f"{was.digest} of a {was.basis}, now {now_is.digest} of a {now_is.basis}). Restore "
                "its sheet or table, or search anew with another --out."
            )
    return problem


def _recorded_evaluator(
    directory: RunDirectory, problem: Problem, evaluator: Evaluator | None
) -> Evaluator | None:
    """The evaluator of a run, where an objective needs one."""
    choice = directory.settings.evaluator
    if problem.evaluated_metric is None:
        return None
    if evaluator is None:
        choice = choice or EvaluatorChoice(name=default_evaluator())
        if choice.handed_in:
            raise StoreError(
                f"{directory.path}: its evaluator {choice.name} was handed in by a program (got "
                "none). Go on there: smt_nas.search.resume_search(path, evaluator=...)."
            )
        evaluator = make_evaluator(choice)
    evaluator = adapt_to_space(evaluator, directory.space)
    if isinstance(evaluator, RelativeScore) and (
        problem.evaluated_metric.metric == evaluator.top1.objective
    ):
        evaluator = evaluator.top1  # of a run of before there were scores
    check_objective(problem, evaluator)
    if isinstance(evaluator, SpaceBound):
        evaluator.check_space(directory.space)
    return evaluator
