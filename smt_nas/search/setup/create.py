"""Create a search: every check comes before anything is written."""

from __future__ import annotations

from pathlib import Path

from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators import (
    EVALUATORS,
    Evaluator,
    EvaluatorChoice,
    default_evaluator,
    list_evaluators,
    make_evaluator,
)
from smt_nas.evaluators.base import BatchEvaluator, SpaceBound
from smt_nas.metrics import ACCURACIES, ACCURACY_WORDS
from smt_nas.runtime.engines.engine_choice import Workers
from smt_nas.search.loop.listener import NullSearchProgress, SearchListener
from smt_nas.search.loop.search_loop import Search
from smt_nas.search.problem.problem import COST_OBJECTIVES, Problem
from smt_nas.search.problem.region import Region, choose_region, load_region
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.settings import Settings
from smt_nas.search.setup.assemble import (
    adapt_to_space,
    check_engine,
    check_objective,
    create_study,
    make_search,
)
from smt_nas.search.setup.evaluator_change import OpenedStudy
from smt_nas.search.setup.resume import resume_search
from smt_nas.search.stop_rule import count_wanted
from smt_nas.search.storage.database import (
    check_url,
    is_connection_lost,
    is_shared_url,
    make_absolute,
    wait_for_server,
)
from smt_nas.search.storage.study import Study
from smt_nas.search.strategies import choose_batch, make_strategy
from smt_nas.search.survey import describe
from smt_nas.space import SearchSpace


def create_search(
    settings: Settings,
    out: Path | None = None,
    *,
    evaluator: Evaluator | None = None,
    go_on: bool = False,
    listener: SearchListener | None = None,
    workers: Workers = 1,
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
            cores for; or another engine that evaluates. Results do not depend on it.

    Raises:
        ConfigError: a setting that is not allowed, or a budget that nothing can meet.
        StoreError: the run directory or the storage cannot be used.
    """
    if settings.storage is not None:
        check_url(settings.storage)
        settings = settings.model_copy(update={"storage": make_absolute(settings.storage)})
    space = SearchSpace.load(settings.space)
    choice = _choose(settings, evaluator)
    problem, evaluator = _resolve(settings, space, choice, evaluator)
    check_engine(workers, evaluator, choice)
    settings = _complete_settings(settings, problem, evaluator, out)
    settings = settings.model_copy(update={"evaluator": None if evaluator is None else choice})
    listener = listener or NullSearchProgress()
    if settings.storage is not None:
        wait_for_server(settings.storage, listener.say)
    own = evaluator if choice.handed_in else None
    if out is not None and RunDirectory.is_same(out, settings, go_on):
        return _go_on(out, settings, own, listener, workers)
    _check_server(settings, out)
    listener.surveyed(describe(problem, settings.verify))
    try:
        directory = _create_directory(out, settings, space, problem, evaluator)
    except StoreError:
        is_shared = go_on and is_shared_url(settings.storage)
        if out is None or not (is_shared and RunDirectory.is_same(out, settings, go_on)):
            raise
        return _go_on(out, settings, own, listener, workers)  # another process was first
    listener.say(f"Run directory: {directory.path}")
    _say_where_it_repeats(problem, directory, listener)
    opened = OpenedStudy(_first_study(problem, directory))
    return make_search(directory, problem, opened, evaluator, listener, workers)


def _complete_settings(
    settings: Settings, problem: Problem, evaluator: Evaluator | None, out: Path | None
) -> Settings:
    """With what follows where nothing was asked for; a run that is there goes on as it began."""
    region: Region = "none" if problem.region is None else "published"
    if settings.region is None and out is not None:
        region = RunDirectory.read_region(out) or region
    batch = settings.batch or (None if out is None else RunDirectory.read_batch(out))
    return settings.model_copy(
        update={
            "objectives": tuple(q.metric.name for q in problem.objectives),
            "device": settings.device or str(problem.default),
            "region": region,
            "batch": batch or choose_batch(settings.strategy, _is_costly(evaluator), settings.n),
        }
    )


def _create_directory(
    out: Path | None,
    settings: Settings,
    space: SearchSpace,
    problem: Problem,
    evaluator: Evaluator | None,
) -> RunDirectory:
    """The run directory. Raises StoreError: there is one, or it cannot be written."""
    evidence, fingerprint = None, None
    if evaluator is not None:
        evidence, fingerprint = evaluator.evidence, evaluator.fingerprint
    targets = problem.target_records
    return RunDirectory.create(out, settings, space, targets, evidence, fingerprint)


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
    workers: Workers,
) -> Search:
    """Resume the search of these settings that a folder holds; its networks stay."""
    listener.say(f"{out}: holds this very search already. Going on with it.")
    directory = RunDirectory.open(out, settings.storage)
    before = count_wanted(directory.settings.n) or 0
    wished = settings.model_copy(update={"n": max(settings.n, before)})
    with directory.lock():
        directory.adopt_wishes(wished)
    return resume_search(
        out, storage=settings.storage, evaluator=evaluator, listener=listener, workers=workers
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
        evaluator = adapt_to_space(evaluator or make_evaluator(choice), space)
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
        evaluator = adapt_to_space(evaluator or make_evaluator(choice), space)
        check_objective(problem, evaluator)
    if evaluator is None and choice.options:
        wanted = adapt_to_space(make_evaluator(choice), space).objective.name
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


def _check_server(settings: Settings, out: Path | None) -> None:
    """Raise StoreError where a server cannot be used, before anything is written."""
    if settings.storage is not None and is_shared_url(settings.storage):
        Study.exists(settings.storage, (out or Path(settings.space)).resolve().name)


def _first_study(problem: Problem, directory: RunDirectory) -> Study:
    """Create the study of a new run; where that fails, the run directory goes again.

    One whose server is lost at that moment stays: others may have joined it, and `smt-nas resume`
    begins it.
    """
    try:
        return create_study(problem, directory)
    except StoreError as error:
        if not (is_shared_url(directory.settings.storage) and is_connection_lost(error)):
            directory.discard()
        raise
