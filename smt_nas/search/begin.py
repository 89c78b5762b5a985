"""Begin a search, or take one up again: every check comes before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smt_nas.accuracy import Evaluator, evaluator
from smt_nas.errors import ConfigError, StoreError
from smt_nas.metrics import METRICS
from smt_nas.resources import validated
from smt_nas.search.engine import Search
from smt_nas.search.listener import Listener
from smt_nas.search.problem import Problem
from smt_nas.search.rundir import RunDirectory, Settings
from smt_nas.search.strategies import strategy
from smt_nas.search.study import Study
from smt_nas.search.survey import explain_macs, survey
from smt_nas.space import SearchSpace

DEFAULT_EVALUATOR = "zero-cost"


def start(
    budgets: Sequence[str] = (),
    *,
    space: str | Path = "smt",
    strategy_name: str = "nsga2",
    evaluator_: Evaluator | str = DEFAULT_EVALUATOR,
    objectives: Sequence[str] = (),
    n: int = 128,
    seed: int = 0,
    out: Path | None = None,
    storage: str | None = None,
    prove: bool = True,
    listener: Listener | None = None,
) -> Search:
    """Check everything, make the run directory and its study. Nothing is evaluated yet.

    Args:
        budgets: what must hold, e.g. `["2.4GFLOPs", "12Mparams"]`.
        space: name of a shipped space or path of a YAML.
        strategy_name: of STRATEGIES.
        evaluator_: of EVALUATORS, or one of your own.
        objectives: names of METRICS; score up, MACs down, params down by default.
        n: networks to try.
        seed: the same seed gives the same search.
        out: run directory; `runs/<space>-<budget>` by default.
        storage: URL for Optuna; a SQLite file in the run directory by default.
        prove: build, count, run and time the front.
        listener: hears what happens.

    Raises:
        ConfigError: an argument that is not allowed, or a budget that nothing can meet.
        StoreError: the run directory or the storage cannot be used.
    """
    listener = listener or Listener()
    loaded = SearchSpace.load(space)
    problem = Problem.of(loaded, budgets, objectives)
    strategy(strategy_name, problem)
    rater = _rater(problem, evaluator_)
    settings = validated(
        Settings,
        {
            "space": str(space),
            "budgets": tuple(budgets),
            "objectives": tuple(m.name for m in problem.objectives),
            "strategy": strategy_name,
            "evaluator": rater.name if rater else None,
            "n": n,
            "seed": seed,
            "storage": storage,
            "prove": prove,
        },
        "search",
    )
    _introduce(problem, listener)
    directory = RunDirectory.create(out, settings, loaded)
    study = _create(problem, directory)
    return Search(directory, problem, study, rater, listener)


def reopen(
    path: Path,
    *,
    n: int | None = None,
    storage: str | None = None,
    evaluator_: Evaluator | None = None,
    read_only: bool = False,
    listener: Listener | None = None,
) -> Search:
    """Open the search of a run directory, to go on or to read it.

    Args:
        path: the run directory.
        n: another number of networks to try.
        storage: URL of the study, where its password was not written to run.yaml.
        evaluator_: needed where the search was given one that has no name in EVALUATORS.
        read_only: only `Search.outcome` will be called.
        listener: hears what happens.

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
    name = settings.evaluator
    rater = None
    if name is not None and not read_only:
        rater = evaluator_ or evaluator(name)
    if settings.storage is None and not directory.database.exists():
        if read_only:
            raise StoreError(f"{path}: holds no trials yet. Use `smt-nas resume {path}`.")
        study = _create(problem, directory)  # killed between run.yaml and the study
    else:
        study = Study.load(problem, directory.storage, directory.study_name)
    return Search(directory, problem, study, rater, listener or Listener())


def _rater(problem: Problem, wanted: Evaluator | str) -> Evaluator | None:
    """The evaluator, where an objective needs one."""
    if problem.rated is None:
        return None
    rater = evaluator(wanted) if isinstance(wanted, str) else wanted
    others = [m.name for m in problem.objectives if not m.formula and m != rater.objective]
    if others:
        raise ConfigError(
            f"--objective {others[0]}: evaluator {rater.name} rates {rater.objective.name}. "
            f"Choose it, or one of {', '.join(n for n, m in METRICS.items() if m.formula)}."
        )
    return rater


def _create(problem: Problem, directory: RunDirectory) -> Study:
    if directory.settings.storage is not None:
        return Study.create(problem, directory.storage, directory.study_name)
    return Study.create_file(problem, directory.database, directory.study_name)


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
