"""Create a search, or resume one: every check comes before anything is written."""

from __future__ import annotations

from pathlib import Path

from smt_nas.errors import ConfigError, MeasurementError, StoreError, UnknownName
from smt_nas.evaluators import (
    EVALUATORS,
    Evaluator,
    EvaluatorChoice,
    TrainingEvaluator,
    default_evaluator,
    list_evaluators,
    make_evaluator,
)
from smt_nas.evaluators.base import BatchEvaluator, InputBound, SpaceBound
from smt_nas.evaluators.relative_score import RelativeScore
from smt_nas.files import shell_word
from smt_nas.metrics import ACCURACIES, ACCURACY_WORDS, METRICS
from smt_nas.runtime.process_pool import default_workers
from smt_nas.search.evaluator_change import OpenedStudy, check_evaluator, open_study
from smt_nas.search.listener import NullSearchProgress, SearchListener
from smt_nas.search.objectives import FROM_LATENCY
from smt_nas.search.problem import COST_OBJECTIVES, Problem
from smt_nas.search.proposal.strategies import choose_batch, make_strategy
from smt_nas.search.region import Region, choose_region, load_region
from smt_nas.search.run_directory import RunDirectory, Settings, find_other_machine
from smt_nas.search.search_loop import Search
from smt_nas.search.study import Study
from smt_nas.search.survey import describe
from smt_nas.search.watch.stopping import count_wanted
from smt_nas.space import SearchSpace
from smt_nas.yaml import validated


def create_search(
    settings: Settings,
    out: Path | None = None,
    *,
    evaluator: Evaluator | None = None,
    go_on: bool = False,
    listener: SearchListener | None = None,
    workers: int | None = 1,
) -> Search:
    """Check everything, make the run directory and its study. Nothing is evaluated yet.

    Args:
        settings: what is asked for.
        out: run directory; `runs/<space>-<budget>` by default.
        evaluator: one of your own instead of the one that the settings name; it is asked in this
            process, and `resume_search` needs it handed in again.
        go_on: where `out` holds this very search already, resume it.
        listener: hears what happens.
        workers: processes that evaluate and count networks; None for as many as this machine has
            cores for. Results do not depend on it.

    Raises:
        ConfigError: a setting that is not allowed, or a budget that nothing can meet.
        StoreError: the run directory or the storage cannot be used.
    """
    space = SearchSpace.load(settings.space)
    choice = _choose(settings, evaluator)
    problem, evaluator = _resolve(settings, space, choice, evaluator)
    region: Region = "none" if problem.region is None else "published"
    if settings.region is None and out is not None:
        region = RunDirectory.read_region(out) or region  # a run that is there goes on as it began
    batch = settings.batch or (None if out is None else RunDirectory.read_batch(out))
    settings = settings.model_copy(
        update={
            "objectives": tuple(q.metric.name for q in problem.objectives),
            "evaluator": None if evaluator is None else choice,
            "device": settings.device or str(problem.default),
            "region": region,
            "batch": batch or choose_batch(settings.strategy, _is_costly(evaluator)),
        }
    )
    listener = listener or NullSearchProgress()
    if out is not None and RunDirectory.is_same(out, settings, go_on):
        return _go_on(out, settings, evaluator if choice.handed_in else None, listener, workers)
    listener.surveyed(describe(problem))
    evidence, fingerprint = None, None
    if evaluator is not None:
        evidence, fingerprint = evaluator.evidence, evaluator.fingerprint
    directory = RunDirectory.create(
        out, settings, space, problem.target_records, evidence, fingerprint
    )
    listener.say(f"Run directory: {directory.path}")
    _say_where_it_repeats(problem, directory, listener)
    opened = OpenedStudy(_first_study(problem, directory))
    return _search(directory, problem, opened, evaluator, listener, workers)


def _is_costly(evaluator: Evaluator | None) -> bool:
    """Whether evaluations tell what was not known before: they are then worth small rounds."""
    if evaluator is None:
        return False
    return not (isinstance(evaluator, BatchEvaluator) and evaluator.is_final)


def _go_on(
    out: Path,
    settings: Settings,
    evaluator: Evaluator | None,
    listener: SearchListener,
    workers: int | None,
) -> Search:
    """Resume the search of these settings that a folder holds; its networks stay."""
    listener.say(f"{out}: holds this very search already. Going on with it.")
    stored = RunDirectory.open(out, settings.storage).settings
    return resume_search(
        out,
        n=max(settings.n, stored.n),
        storage=settings.storage,
        evaluator=evaluator,
        listener=listener,
        workers=workers,
    )


def _say_where_it_repeats(
    problem: Problem, directory: RunDirectory, listener: SearchListener
) -> None:
    """A seed gives the same search again where latencies are of the same device only."""
    own = [t.place for t in problem.predicted_targets if t.place.is_own]
    if own:
        listener.say(
            f"Seed {directory.settings.seed} gives this search again where {own[0].label} is "
            f"{own[0].name} too ({directory.machine}); --device NAME makes it of one device "
            "everywhere."
        )


def resume_search(
    path: Path,
    *,
    n: int | None = None,
    storage: str | None = None,
    evaluator: Evaluator | None = None,
    accept_changed_evaluator: bool = False,
    read_only: bool = False,
    listener: SearchListener | None = None,
    workers: int | None = 1,
) -> Search:
    """Open the search of a run directory, to go on or to read it.

    Args:
        path: the run directory.
        n: another number of networks to try.
        storage: URL of the study, where its password was not written to run.yaml.
        evaluator: needed where `create_search` was given one.
        accept_changed_evaluator: go on where the evaluator is not what it was: the networks that
            were tried are then evaluated again.
        read_only: only `Search.outcome` will be called.
        listener: hears what happens.
        workers: processes that evaluate and count networks; None for as many as this machine has
            cores for. Results do not depend on it.

    Raises:
        StoreError: not a run directory, its study cannot be used, or its device is no longer
            predicted as it was, or its evaluator has changed.
    """
    directory = RunDirectory.open(path, storage)
    listener = listener or NullSearchProgress()
    if n is not None:
        changed = {**directory.settings.model_dump(), "n": n}
        n = validated(Settings, changed, f"resume {path}").n
    problem = _read_problem(directory) if read_only else _predict_again(directory)
    evaluator = None if read_only else _recorded_evaluator(directory, problem, evaluator)
    if directory.settings.storage is None and not _holds_data(directory.database):
        if read_only:
            raise StoreError(
                f"{path}: holds no trials yet. Use `smt-nas resume {shell_word(path)}`."
            )
        _create(problem, directory)  # killed between run.yaml and the study
    other = None if read_only else find_other_machine(directory)
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
    opened = open_study(directory, problem)
    if evaluator is not None:
        opened = check_evaluator(directory, problem, opened, evaluator, accept_changed_evaluator)
    if not read_only:
        _choose_n(directory, n, len(opened.study.trials()))
    search = _search(directory, problem, opened, evaluator, listener, workers)
    if not read_only:
        listener.resumed(len(search.read_trials()), count_wanted(directory.settings.n))
    return search


def _is_without_region(directory: RunDirectory, evaluator: Evaluator | None) -> bool:
    """Whether a run has no region of designs, where the same search would keep to it today."""
    settings = directory.settings
    if evaluator is None or settings.region is not None:
        return False
    handed_in = settings.evaluator is not None and settings.evaluator.handed_in
    return choose_region(None, directory.space, evaluator, handed_in) == "published"


def _choose_n(directory: RunDirectory, n: int | None, tried: int) -> None:
    """How many networks the search tries from now on; what was tried stays."""
    before = directory.settings.n
    if n is not None and (n := max(n, tried)) != before:
        with directory.lock():
            directory.adopt_wishes(n, directory.settings.stop)


def _search(
    directory: RunDirectory,
    problem: Problem,
    opened: OpenedStudy,
    evaluator: Evaluator | None,
    listener: SearchListener,
    workers: int | None,
) -> Search:
    """The search; an evaluator that trains keeps its trainings in the run directory."""
    if isinstance(evaluator, TrainingEvaluator):
        folder, choice = directory.path / opened.trainings, directory.settings.evaluator
        named_here = choice is not None and not choice.handed_in
        evaluator = (
            evaluator.in_workdir(folder, workers, listener)
            if named_here
            else evaluator.in_workdir(folder)
        )
    return Search(
        directory=directory,
        problem=problem,
        study=opened.study,
        evaluator=evaluator,
        listener=listener,
        workers=workers or default_workers(),
        superseded=opened.superseded,
    )


_WITHOUT_EVALUATOR = [n for n, m in METRICS.items() if m.formula or n in FROM_LATENCY]


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


def _choose(settings: Settings, evaluator: Evaluator | None) -> EvaluatorChoice:
    """The evaluator by its name: of one that is handed in, or of the settings, or the default."""
    if evaluator is not None:
        return EvaluatorChoice(name=evaluator.name, handed_in=True)
    return settings.evaluator or EvaluatorChoice(name=default_evaluator())


def _resolve(
    settings: Settings, space: SearchSpace, choice: EvaluatorChoice, evaluator: Evaluator | None
) -> tuple[Problem, Evaluator | None]:
    """The problem, whose objectives are the evaluator's and the costs where none were named."""
    objectives = settings.objectives
    if not objectives or set(map(str.casefold, objectives)) & ACCURACY_WORDS:
        evaluator = _for_space(evaluator or make_evaluator(choice), space)
        rated = evaluator.objective.name
        objectives = tuple(
            rated if word.casefold() in ACCURACY_WORDS and rated in ACCURACIES else word
            for word in objectives or (rated, *COST_OBJECTIVES)
        )
    problem = Problem.of(space, settings.budgets, objectives, settings.device)
    make_strategy(settings.strategy, problem)
    if problem.evaluated_metric is None:
        evaluator = None
    else:
        evaluator = _for_space(evaluator or make_evaluator(choice), space)
        _check_objective(problem, evaluator)
    if evaluator is None and choice.options:
        wanted = _for_space(make_evaluator(choice), space).objective.name
        raise ConfigError(
            f"{choice.options[0]}: is for evaluator {choice.name}, which is asked where an "
            f"objective needs it (got {', '.join(q.name for q in problem.objectives)}). Drop it, "
            f"or add --objective {wanted}."
        )
    if settings.timeout is not None and (
        evaluator is None or choice.handed_in or not choice.entry.in_worker
    ):
        in_workers = list_evaluators(n for n, entry in EVALUATORS.items() if entry.in_worker)
        raise ConfigError(
            f"--timeout: is for {in_workers} (got "
            f"{'no evaluator' if evaluator is None else evaluator.name}). Drop it."
        )
    if isinstance(evaluator, SpaceBound):
        evaluator.check_space(space)
    region = choose_region(settings.region, space, evaluator, choice.handed_in)
    return problem.within(load_region(region)), evaluator


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
    evaluator = _for_space(evaluator, directory.space)
    if isinstance(evaluator, RelativeScore) and (
        problem.evaluated_metric.metric == evaluator.top1.objective
    ):
        evaluator = evaluator.top1  # of a run of before there were scores
    _check_objective(problem, evaluator)
    if isinstance(evaluator, SpaceBound):
        evaluator.check_space(directory.space)
    return evaluator


def _for_space(evaluator: Evaluator, space: SearchSpace) -> Evaluator:
    """The evaluator, by a figure that has a meaning for the images of a space."""
    return evaluator.for_space(space) if isinstance(evaluator, InputBound) else evaluator


def _check_objective(problem: Problem, evaluator: Evaluator) -> None:
    others = [
        q.name for q in problem.objectives if q.is_evaluated and q.metric != evaluator.objective
    ]
    if others:
        c = problem.space.config
        because = (
            f" at {c.image_size} px, {c.num_classes} classes and {c.in_channels} channels, where "
            "ImageNet's top-1 has no meaning"
        )
        where = because if isinstance(evaluator, RelativeScore) else ""
        raise ConfigError(
            f"--objective {others[0]}: evaluator {evaluator.name} rates {evaluator.objective.name}"
            f"{where}. Choose it, or one of {', '.join(_WITHOUT_EVALUATOR)}."
        )


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


def _holds_data(file: Path) -> bool:
    """Whether a file holds anything: a full disk leaves empty ones."""
    return file.is_file() and file.stat().st_size > 0
