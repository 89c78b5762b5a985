"""A resumed search and its evaluator: is it the one of before, and what if it is not.

A study holds the fingerprint of the evaluator that its trials are of. Where the evaluator has
changed and the user accepts that, the search goes on in a new study of the same storage: the
networks that were tried come first there, in their order, and are evaluated again. So trial i stays
the i-th proposal, and no figure of the old evaluator is beside one of the new. run.yaml names the
study that counts; the old one stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from smt_nas.errors import StoreError
from smt_nas.evaluators import Evaluator
from smt_nas.files import shell_word
from smt_nas.search.problem.problem import Problem
from smt_nas.search.run_directory import DEVICES, FINGERPRINT, TRAININGS, RunDirectory
from smt_nas.search.storage.study import Study
from smt_nas.space import Genes

_SUPERSEDES = "supersedes"  # in what a study's trials depend on: name of the study before it


@dataclass(frozen=True)
class OpenedStudy:
    """The study of a run directory.

    Attributes:
        study: the one that counts.
        superseded: genes (G,) of the networks that were tried before its evaluator changed.
        trainings: name of the folder for the trainings of an evaluator that trains.
    """

    study: Study
    superseded: tuple[Genes, ...] = ()
    trainings: str = TRAININGS


def open_study(directory: RunDirectory, problem: Problem) -> OpenedStudy:
    """Open the study that run.yaml names. Raises StoreError."""
    may_differ = (FINGERPRINT, DEVICES)
    depends_on = {k: v for k, v in directory.identity.items() if k not in may_differ}
    study = Study.load(problem, directory.storage, directory.study_name, depends_on)
    genes: list[Genes] = []
    older = study
    while (name := older.read_notes().identity.get(_SUPERSEDES)) is not None:
        older = Study.load(problem, directory.storage, name, {})
        genes += [trial.genes for trial in older.trials()][len(genes) :]
    own = older is not study
    folder = f"{TRAININGS}-{study.read_notes().identity[FINGERPRINT]}" if own else TRAININGS
    return OpenedStudy(study, tuple(genes), folder)


def check_evaluator(
    directory: RunDirectory,
    problem: Problem,
    opened: OpenedStudy,
    evaluator: Evaluator,
    accept_change: bool,
) -> OpenedStudy:
    """Compare an evaluator with the one that the trials are of.

    A run of before fingerprints is held to the evaluator that it is first resumed with.

    Args:
        directory: the run.
        problem: what it searches for.
        opened: its study.
        evaluator: as it is now.
        accept_change: go on with another one; its trials are then evaluated again.

    Returns: the study to go on in.

    Raises:
        StoreError: it has changed, and that is not accepted.
    """
    now, notes = evaluator.fingerprint, opened.study.read_notes()
    before = notes.identity.get(FINGERPRINT)
    if before == directory.fingerprint == now:
        return opened
    if before in (None, now):
        with directory.lock():
            notes.write_identity(notes.identity | {FINGERPRINT: now})
            directory.adopt_evaluator(now)
        return opened
    if not accept_change:
        raise StoreError(
            f"{directory.path}: evaluator {evaluator.name} has changed since (fingerprint "
            f"{before}, now {now}). Restore what it was, or go on with all trials evaluated again: "
            f"smt-nas resume {shell_word(directory.path)} --accept-changed-evaluator."
        )
    with directory.lock():
        name = _create_successor(directory, problem, opened.study, now)
        directory.adopt_evaluator(now, name, evaluator.evidence)
    return open_study(directory, problem)


def _create_successor(
    directory: RunDirectory, problem: Problem, study: Study, fingerprint: str
) -> str:
    """The study that goes on from another one; its name. One that is there already is taken."""
    first = study.name.partition(", evaluator ")[0]
    name = f"{first}, evaluator {fingerprint}"
    identity = study.read_notes().identity | {FINGERPRINT: fingerprint, _SUPERSEDES: study.name}
    if not Study.exists(directory.storage, name):
        Study.create(problem, directory.storage, name, identity)
    successor = Study.load(problem, directory.storage, name, {})
    if not successor.read_notes().identity:  # killed before `create` could write it
        successor.read_notes().write_identity(identity)
    study.read_notes().copy_verifications(successor.read_notes())
    return name
