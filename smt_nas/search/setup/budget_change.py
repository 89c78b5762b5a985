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

from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators import Evaluation
from smt_nas.search.loop.listener import SearchListener
from smt_nas.search.problem.problem import Problem
from smt_nas.search.problem.region import load_region
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.run_file import EarlierBudgets
from smt_nas.search.setup.evaluator_change import OpenedStudy
from smt_nas.search.storage.heartbeats import find_living
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.trial import OpenTrial, Trial
from smt_nas.search.survey import describe
from smt_nas.space import Genes

_CHUNK = 1_000  # trials that are stored together


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
    _check_idle(directory, old)
    with directory.lock(), old.database.wait_for_lock("budgets"):
        _check_unchanged(directory)
        earlier = EarlierBudgets(
            budgets=directory.settings.budgets, study=old.name, trials=len(old.trials())
        )
        changed = directory.within(budgets, problem.target_records, earlier)
        study = _find_changed(problem, changed, old) or _judge_again(problem, changed, old)
        directory.adopt(changed)
    return replace(opened, study=study)


def _find_changed(problem: Problem, changed: RunDirectory, old: Study) -> Study | None:
    """The study of these budgets that a process with a folder of its own has made already.

    None where there is none, or one that was left half made.

    Raises:
        StoreError: on a server, one of other budgets: another process may work on it.
    """
    storage, name = changed.storage, changed.study_name
    if not Study.is_created(storage, name):
        return None
    notes = Study.load(problem, storage, name, {}).read_notes()
    identity = old.read_notes().identity | changed.identity
    is_same = notes.identity == identity
    if not notes.is_judged_again or not (is_same or old.database.is_shared):
        return None
    return Study.load(problem, storage, name, identity)


def _judge_again(problem: Problem, changed: RunDirectory, old: Study) -> Study:
    """A new study with all that was evaluated in the old one."""
    notes = old.read_notes()
    study = Study.create_again(
        problem, changed.storage, changed.study_name, notes.identity | changed.identity
    )
    evaluated = _list_evaluated(old)
    for start in range(0, len(evaluated), _CHUNK):
        genes, evaluations = zip(*evaluated[start : start + _CHUNK], strict=True)
        study.add_all(np.array(genes), evaluations)
    notes.copy_results(study.read_notes())
    study.read_notes().write_judged_again()
    return study


def _list_evaluated(study: Study) -> list[tuple[Genes, Evaluation]]:
    """Genes (G,) and evaluations of a study, in the order of its trials; none is evaluated twice.

    Also of trials whose process was killed when they were evaluated and not ended yet, and of a
    round that was stopped.
    """
    trials: list[Trial | OpenTrial] = [*study.trials(), *study.read_open()]
    trials.sort(key=lambda trial: trial.number)
    evaluated = [(t.genes, t.evaluation) for t in trials if t.evaluation is not None]
    keys = {t.key for t in trials if t.evaluation is not None}
    for network in study.read_notes().read_open_round():
        if network.key not in keys:
            genes = np.array(network.genes, dtype=np.int64)
            evaluated.append((genes, Evaluation.from_record(network.evaluation)))
    return evaluated


def _check_idle(directory: RunDirectory, study: Study) -> None:
    """Raise StoreError where another process works on a shared study: it would go on in the old."""
    worker = find_living(study) if study.database.is_shared else None
    if worker is not None:
        host, pid, _ = worker.rsplit(":", 2)
        raise StoreError(
            f"{directory.path}: another process works on its study (got process {pid} on {host}). "
            "Stop it, change the budgets, and start it again."
        )


def _check_unchanged(directory: RunDirectory) -> None:
    """Raise StoreError where another process changed the budgets since this one read them."""
    now = RunDirectory.open(directory.path, directory.settings.storage)
    if now.study_name != directory.study_name:
        raise StoreError(
            f"{directory.path}: was given other budgets by another process (got "
            f"{', '.join(now.settings.budgets)}). Start the same again to go on from these."
        )


def describe_change(directory: RunDirectory, budgets: Sequence[str], tried: int) -> str:
    """One line on what becomes of what was tried."""
    before = ", ".join(directory.settings.budgets) or "no budget"
    return (
        f"{directory.path}: from {before} to {', '.join(budgets)}. The {tried} networks that were "
        "tried are judged again, and none is evaluated again."
    )
