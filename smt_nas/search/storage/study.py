"""`Study`: trials in an Optuna study. Genes are named parameters, budgets are constraints.

Optuna's own words (best trials, values, states, dashboard) are not repeated here: use
`Study.optuna`. Trial i is always the i-th proposal. One that is evaluated in this process is stored
whole when it is finished (`add`); one that workers evaluate is stored when it is proposed
(`enqueue`), and ends with its evaluation (`finish`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from smt_nas.evaluators import Evaluation
from smt_nas.files import check_same, sqlite_url
from smt_nas.search.problem.problem import Problem
from smt_nas.search.storage.database import Database, guard, open_database
from smt_nas.search.storage.study_notes import Heartbeat, StudyNotes
from smt_nas.search.storage.trial import OpenTrial, Trial
from smt_nas.search.storage.trial_insert import TrialInserter
from smt_nas.search.storage.trial_record import (
    WORKER,
    choose_state,
    describe_trial,
    describe_trials,
    read_claim,
    read_open_trial,
    read_trial,
)
from smt_nas.search.storage.trial_table import EVALUATION, KEY, PREDICTIONS, StoredTrial, TrialTable
from smt_nas.space import Genes

optuna.logging.set_verbosity(optuna.logging.ERROR)  # one line a trial on stderr otherwise
Identity = dict[str, Any]
_DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"min": "minimize", "max": "maximize"}


class Study:
    """The trials of one search. Made by `create`, `create_file` or `load`.

    Attributes:
        problem: what is searched for.
        optuna: the Optuna study.
        database: where it is.
    """

    def __init__(self, problem: Problem, optuna_study: optuna.Study, database: Database) -> None:
        self.problem = problem
        self.optuna = optuna_study
        self.database = database
        self._metric_names: list[str] | None = None  # as far as this process has set them
        self._finished: dict[int, Trial] = {}  # by number, as far as this process has read them
        self._table = TrialTable(database.storage, optuna_study._study_id)
        self._inserter = TrialInserter(optuna_study, database.storage)

    @classmethod
    def create(cls, problem: Problem, storage: str, name: str, identity: Identity) -> Study:
        """Create a study in a storage.

        Args:
            problem: what is searched for.
            storage: a URL that Optuna understands.
            name: of the study.
            identity: what its trials depend on; `load` compares it.

        Raises:
            ConfigError: not a URL.
            StoreError: there is such a study already, or the storage cannot be used.
        """
        database = open_database(storage, name)
        with guard(database.where):
            study = optuna.create_study(
                storage=database.storage,
                study_name=name,
                directions=[_DIRECTIONS[m.direction] for m in problem.objectives],
            )
        created = cls(problem, study, database)
        with guard(database.where):
            created._set_metric_names([m.name for m in problem.objectives])
        created.read_notes().write_identity(identity)
        return created

    @classmethod
    def create_or_join(cls, problem: Problem, storage: str, name: str, identity: Identity) -> Study:
        """Create a study on a server, or open it where another process was first.

        Raises:
            ConfigError: not a URL.
            StoreError: it is of another search, or the storage cannot be used.
        """
        database = open_database(storage, name)
        with closing(database), database.wait_for_lock("create"):
            if not cls.exists(storage, name):
                return cls.create(problem, storage, name, identity)
            notes = cls.load(problem, storage, name, {}).read_notes()
            if not notes.identity:  # who made it was killed before that
                notes.write_identity(identity)
            return cls.load(problem, storage, name, identity)

    @classmethod
    def create_file(cls, problem: Problem, path: Path, name: str, identity: Identity) -> Study:
        """Create a study in a SQLite file, which appears under its name only when complete."""
        unfinished = path.with_name(f".{path.name}.new")
        with guard(f"{path}"):
            unfinished.unlink(missing_ok=True)
            cls.create(problem, sqlite_url(unfinished), name, identity)
            unfinished.replace(path)
        return cls.load(problem, sqlite_url(path), name, identity)

    @classmethod
    def create_again(cls, problem: Problem, storage: str, name: str, identity: Identity) -> Study:
        """Create a study in the place of one that was left half made. Raises StoreError."""
        if cls.exists(storage, name):
            with closing(open_database(storage, name)) as database, guard(database.where):
                optuna.delete_study(study_name=name, storage=database.storage)
        return cls.create(problem, storage, name, identity)

    @classmethod
    def load(cls, problem: Problem, storage: str, name: str, identity: Identity) -> Study:
        """Open a study. Raises StoreError: there is none, or it is of another search."""
        database = open_database(storage, name)
        with guard(database.where):
            study = optuna.load_study(storage=database.storage, study_name=name)
        loaded = cls(problem, study, database)
        stored = loaded.read_notes().identity
        old = {word: stored.get(word) for word in identity}
        way_out = "Restore what was there before, or search anew with another --out."
        check_same(database.where, "belongs to a search", old, identity, way_out)
        return loaded

    @staticmethod
    def exists(storage: str, name: str) -> bool:
        """Whether a storage holds a study of a name. Raises StoreError."""
        with closing(open_database(storage, name)) as database, guard(database.where):
            return name in optuna.get_all_study_names(database.storage)

    @staticmethod
    def is_created(storage: str, name: str) -> bool:
        """Whether it is there, and says what its trials depend on. Raises StoreError."""
        with closing(open_database(storage, name)) as database, guard(database.where):
            if name not in optuna.get_all_study_names(database.storage):
                return False
            study = optuna.load_study(storage=database.storage, study_name=name)
            return bool(StudyNotes(study.user_attrs, study.set_user_attr).identity)

    @staticmethod
    def find_number(storage: str, name: str) -> int:
        """The number of a study in its storage, as a dashboard names it. Raises StoreError."""
        with closing(open_database(storage, name)) as database, guard(database.where):
            return int(database.storage.get_study_id_from_name(name))

    @property
    def name(self) -> str:
        """In its storage."""
        return self.optuna.study_name

    def add(self, genes: Genes, evaluation: Evaluation) -> Trial:
        """Store one finished trial; `genes` is (G,). Raises StoreError."""
        return self.add_all(genes[None], [evaluation])[0]

    def add_all(self, genes: Genes, evaluations: Sequence[Evaluation]) -> list[Trial]:
        """Store finished trials, all or none; `genes` is (n, G). Raises StoreError."""
        described = describe_trials(self.problem, genes, evaluations)
        with guard(self.database.where):
            numbers = self._inserter.add(described)
            for evaluation in evaluations:
                self._name_figures(evaluation)
        return [
            Trial(number, row, trial.user_attrs[KEY], evaluation, trial.user_attrs[PREDICTIONS])
            for number, row, trial, evaluation in zip(
                numbers, genes, described, evaluations, strict=True
            )
        ]

    def enqueue(self, genes: Genes) -> None:
        """Store trials that are to be evaluated, all or none; (n, G). Raises StoreError."""
        if not len(genes):
            return
        waiting = describe_trials(self.problem, genes)
        self.database.call(lambda: self._inserter.add(waiting))

    def take(self, trial: OpenTrial, worker: str) -> bool:
        """Evaluate a trial that waits from now on; False where another took it. Raises StoreError.

        Args:
            trial: as it was read.
            worker: name of the process that takes it.
        """

        def write(storage: RDBStorage) -> bool:
            storage.set_trial_user_attr(trial.id, WORKER, [worker, trial.attempt + 1])
            return storage.set_trial_state_values(trial.id, TrialState.RUNNING)

        return self._write_open(write)

    def put_back(self, trial: OpenTrial, attempt: int, retry: bool = True) -> bool:
        """Let a trial wait again, that `attempt` processes took so far.

        Args:
            trial: as it was read, or taken.
            attempt: how many took it that count.
            retry: wait for a server that is lost.

        Returns: False where another process ended it meanwhile, or has taken it.

        Raises:
            StoreError: the database cannot be used.
        """

        def write(storage: RDBStorage) -> bool:
            if not _is_claimed(storage, trial):
                return False
            storage.set_trial_user_attr(trial.id, WORKER, [trial.worker, attempt])
            return storage.set_trial_state_values(trial.id, TrialState.WAITING)

        return self._write_open(write, retry)

    def finish(self, trial: OpenTrial, evaluation: Evaluation) -> bool:
        """End an open trial; False where another process did, or has taken it. Raises StoreError.

        The evaluation is stored first, so that who dies between has not evaluated in vain.
        """

        def write(storage: RDBStorage) -> bool:
            if not _is_claimed(storage, trial):
                return False
            storage.set_trial_user_attr(trial.id, EVALUATION, evaluation.to_record())
            objectives = describe_trial(self.problem, trial.genes, evaluation).values
            storage.set_trial_state_values(trial.id, choose_state(evaluation), objectives)
            self._name_figures(evaluation)
            return True

        return self._write_open(write)

    def _write_open(self, write: Callable[[RDBStorage], bool], retry: bool = True) -> bool:
        """Write to an open trial; False where another process ended it at that moment.

        That can be: who was taken for dead may end its trial after all, and holds no lock.
        """

        def attempt() -> bool:
            try:
                return write(self.database.storage)
            except optuna.exceptions.UpdateFinishedTrialError:
                return False

        return self.database.call(attempt, retry)

    def read_open(self) -> list[OpenTrial]:
        """All trials that are not finished, in order. Raises StoreError."""
        states = (TrialState.WAITING, TrialState.RUNNING)
        frozen = self.database.call(lambda: self.optuna.get_trials(deepcopy=False, states=states))
        return [read_open_trial(self.problem.space, t) for t in frozen if "key" in t.user_attrs]

    def _name_figures(self, evaluation: Evaluation) -> None:
        metric = self.problem.evaluated_metric
        if evaluation.by_lower_bound and metric is not None:
            self._name_lower_bound(metric.name)

    def _name_lower_bound(self, rated: str) -> None:
        """What a dashboard shows as the objective is the low end of the interval: name it so."""
        names = [f"{rated}_low" if m.name == rated else m.name for m in self.problem.objectives]
        if names != self._metric_names:
            self._set_metric_names(names)

    def _set_metric_names(self, names: list[str]) -> None:
        """Names in the dashboard."""
        with warnings.catch_warnings():  # Optuna calls them experimental
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.optuna.set_metric_names(names)
        self._metric_names = names

    def trials(self) -> list[Trial]:
        """All finished trials, in order. Raises StoreError."""
        self.database.call(lambda: self._table.read_new(self._keep))
        return [self._finished[number] for number in sorted(self._finished)]

    def _keep(self, stored: StoredTrial) -> None:
        if KEY in stored.attributes:
            self._finished[stored.number] = read_trial(self.problem.space, stored)

    def read_notes(self) -> StudyNotes:
        """What is kept beside the trials, as it is now. Raises StoreError, also when written to."""
        attributes = self.database.call(lambda: self.optuna.user_attrs)
        return StudyNotes(attributes, self._store)

    def read_heartbeats(self) -> dict[str, Heartbeat]:
        """As of the notes; not waiting for a server that is lost. Raises StoreError."""
        attributes = self.database.call(lambda: self.optuna.user_attrs, retry=False)
        return StudyNotes(attributes, self._store).read_heartbeats()

    def write_heartbeat(self, worker: str, heartbeat: Heartbeat) -> None:
        """Into the notes; not waiting for a server that is lost. Raises StoreError."""

        def store(name: str, value: Any) -> None:
            self.database.call(lambda: self.optuna.set_user_attr(name, value), retry=False)

        StudyNotes({}, store).write_heartbeat(worker, heartbeat)

    def _store(self, name: str, value: Any) -> None:
        self.database.call(lambda: self.optuna.set_user_attr(name, value))


def _is_claimed(storage: RDBStorage, trial: OpenTrial) -> bool:
    """Whether an open trial is still of the process that took it."""
    stored = storage.get_trial(trial.id)
    return not stored.state.is_finished() and read_claim(stored)[0] == trial.worker
