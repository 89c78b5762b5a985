"""A resumed search within other budgets: what was tried is judged again, and nothing evaluated.

Optuna keeps what a trial violates with the trial, and a finished trial cannot be changed. So the
search goes on in a new study of the same storage: the trials stand there in their order, with
their evaluations as they are, judged by the new budgets. run.yaml names the study that counts, and
those of before with their budgets; it is written last, so a process that dies on the way has
changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from smt_nas.errors import ConfigError
from smt_nas.evaluators import Evaluation
from smt_nas.search.loop.listener import SearchListener
from smt_nas.search.problem.problem import Problem
from smt_nas.search.problem.region import load_region
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.run_file import EarlierBudgets
from smt_nas.search.setup.evaluator_change import OpenedStudy
from smt_nas.search.storage.study import Study
from smt_nas.search.survey import describe


def read_new_problem(
    directory: RunDirectory, budgets: Sequence[str], listener: SearchListener
) -> Problem:
    """The problem of a run within other budgets; the listener hears what they leave.

    Raises:
        ConfigError: a budget that is none, or that no network meets.
    """
    settings = directory.settings
    if settings.device is None:
        raise ConfigError(
            f"--budget: {directory.path} was begun before searches kept their device (got "
            f"{', '.join(budgets)}). Search anew with another --out."
        )
    problem = Problem.of(directory.space, budgets, settings.objectives, settings.device).within(
        load_region(settings.region)
    )
    listener.surveyed(describe(problem, settings.verify))
    return problem


def change_budgets(
    directory: RunDirectory, problem: Problem, opened: OpenedStudy, budgets: Sequence[str]
) -> OpenedStudy:
    """Go on within other budgets.

    Args:
        directory: of the run.
        problem: with the new budgets.
        opened: its study, with those of before.
        budgets: as the user wrote them.

    Returns: the study to go on in.

    Raises:
        StoreError: another process works on the run, or it cannot be written.
    """
    old = opened.study
    with directory.lock():
        trials = old.trials()
        earlier = EarlierBudgets(
            budgets=directory.settings.budgets, study=old.name, trials=len(trials)
        )
        changed = directory.within(budgets, problem.target_records, earlier)
        notes = old.read_notes()
        study = Study.create_again(
            problem, directory.storage, changed.study_name, notes.identity | changed.identity
        )
        keys = set()
        for trial in trials:
            study.add(trial.genes, trial.evaluation)
            keys.add(trial.key)
        for network in notes.read_open_round():  # evaluated, of a round that was stopped
            if network.key not in keys:
                genes = np.array(network.genes, dtype=np.int64)
                study.add(genes, Evaluation.from_record(network.evaluation))
        notes.copy_results(study.read_notes())
        directory.adopt(changed)
    return replace(opened, study=study)


def describe_change(directory: RunDirectory, budgets: Sequence[str], tried: int) -> str:
    """One line on what becomes of what was tried."""
    before = ", ".join(directory.settings.budgets) or "no budget"
    return (
        f"{directory.path}: from {before} to {', '.join(budgets)}. The {tried} networks that were "
        "tried are judged again, and none is evaluated again."
    )
