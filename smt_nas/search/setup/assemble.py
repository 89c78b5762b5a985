"""The parts of a search put together: its evaluator, its study, the loop."""

from __future__ import annotations

from smt_nas.errors import ConfigError
from smt_nas.evaluators import Evaluator, EvaluatorChoice, TrainingEvaluator
from smt_nas.evaluators.base import InputBound
from smt_nas.evaluators.relative_score import RelativeScore
from smt_nas.metrics import METRICS
from smt_nas.runtime.engines.engine_choice import (
    DEFAULT,
    Workers,
    check_installed,
    choose_engine,
)
from smt_nas.runtime.engines.process_pool import default_workers
from smt_nas.search.loop.listener import SearchListener
from smt_nas.search.loop.search_loop import Search
from smt_nas.search.problem.objectives import FROM_LATENCY
from smt_nas.search.problem.problem import Problem
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.setup.evaluator_change import OpenedStudy
from smt_nas.search.storage.database import is_shared_url
from smt_nas.search.storage.study import Study
from smt_nas.space import SearchSpace

WITHOUT_EVALUATOR = [n for n, m in METRICS.items() if m.formula or n in FROM_LATENCY]


def make_search(
    directory: RunDirectory,
    problem: Problem,
    opened: OpenedStudy,
    evaluator: Evaluator | None,
    listener: SearchListener,
    workers: Workers,
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


def check_engine(
    workers: Workers, evaluator: Evaluator | None, choice: EvaluatorChoice | None
) -> None:
    """Raise ConfigError where other machines would have nothing to do, or cannot be asked."""
    engine = choose_engine(workers).name
    named = choice is not None and not choice.handed_in
    in_workers = choice is not None and named and choice.entry.in_worker
    if engine == DEFAULT or in_workers or (named and isinstance(evaluator, TrainingEvaluator)):
        check_installed(choose_engine(workers))
        return
    name = "no evaluator" if evaluator is None else evaluator.name
    raise ConfigError(
        f"--engine {engine}: is for evaluators that run in workers, as short-train and your own "
        f"function do (got {name}). Drop it."
    )


def adapt_to_space(evaluator: Evaluator, space: SearchSpace) -> Evaluator:
    """The evaluator, by a figure that has a meaning for the images of a space."""
    return evaluator.for_space(space) if isinstance(evaluator, InputBound) else evaluator


def check_objective(problem: Problem, evaluator: Evaluator) -> None:
    """Raise ConfigError where an objective is another evaluator's figure."""
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
            f"{where}. Choose it, or one of {', '.join(WITHOUT_EVALUATOR)}."
        )


def create_study(problem: Problem, directory: RunDirectory, again: bool = False) -> Study:
    """Create the study of a run directory; `again`: what was left half made. Raises StoreError."""
    name, identity = directory.study_name, directory.identity
    if is_shared_url(directory.settings.storage):
        return Study.create_or_join(problem, directory.storage, name, identity)
    if directory.settings.storage is not None:
        create = Study.create_again if again else Study.create
        return create(problem, directory.storage, name, identity)
    with directory.lock():
        return Study.create_file(problem, directory.database, name, identity)
