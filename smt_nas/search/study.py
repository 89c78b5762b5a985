"""`Study`: trials in an Optuna study. Genes are named parameters, budgets are constraints.

Optuna's own words (best trials, values, states, dashboard) are not repeated here: use
`Study.optuna`. A trial is stored whole when it is finished, so a process that dies leaves none half
done, and trial i is always the i-th proposal.
"""

from __future__ import annotations

import re
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import sqlalchemy.exc
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from smt_nas.costs import COSTS
from smt_nas.errors import ConfigError, StoreError
from smt_nas.evaluators import Evaluation
from smt_nas.files import check_same, sqlite_url
from smt_nas.search.problem import Problem
from smt_nas.search.proposal.strategy import History
from smt_nas.search.study_notes import StudyNotes
from smt_nas.space import Gene, Genes

optuna.logging.set_verbosity(optuna.logging.ERROR)  # one line a trial on stderr otherwise
HIDDEN = "***"  # stands for a password
_CONSTRAINTS = "constraints"
"""Optuna 5 keeps a value a constraint; optuna-dashboard 0.21 reads only the list of before, under
this name (`_serializer.py` there), and shows a trial without it as feasible."""
Identity = dict[str, Any]
_DIRECTIONS: dict[str, Literal["minimize", "maximize"]] = {"min": "minimize", "max": "maximize"}


@dataclass(frozen=True)
class Trial:
    """One network that was tried.

    Attributes:
        number: order in the study.
        genes: (G,).
        key: `Architecture.key`.
        evaluation: what the evaluator said.
        predictions: value, low and high of each predicted metric, by its name.
    """

    number: int
    genes: Genes
    key: str
    evaluation: Evaluation
    predictions: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)


class Study:
    """The trials of one search. Made by `create`, `create_file` or `load`.

    Attributes:
        problem: what is searched for.
        optuna: the Optuna study.
    """

    def __init__(self, problem: Problem, optuna_study: optuna.Study, where: str) -> None:
        self.problem = problem
        self.optuna = optuna_study
        self._where = where
        self._genes = [g for g in problem.space.genes if len(g.options) > 1]
        self._metric_names: list[str] | None = None  # as far as this process has set them

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
        check_url(storage)
        where = f"study {name!r} in {hide_password(storage)}"
        with _guard(where):
            study = optuna.create_study(
                storage=optuna.storages.RDBStorage(storage),
                study_name=name,
                directions=[_DIRECTIONS[m.direction] for m in problem.objectives],
            )
        created = cls(problem, study, where)
        with _guard(where):
            created._set_metric_names([m.name for m in problem.objectives])
        created.read_notes().write_identity(identity)
        return created

    @classmethod
    def create_file(cls, problem: Problem, path: Path, name: str, identity: Identity) -> Study:
        """Create a study in a SQLite file, which appears under its name only when complete."""
        unfinished = path.with_name(f".{path.name}.new")
        with _guard(f"{path}"):
            unfinished.unlink(missing_ok=True)
            cls.create(problem, sqlite_url(unfinished), name, identity)
            unfinished.replace(path)
        return cls.load(problem, sqlite_url(path), name, identity)

    @classmethod
    def create_again(cls, problem: Problem, storage: str, name: str, identity: Identity) -> Study:
        """Create a study in the place of one that was left half made. Raises StoreError."""
        if cls.exists(storage, name):
            with _guard(f"study {name!r} in {hide_password(storage)}"):
                optuna.delete_study(study_name=name, storage=optuna.storages.RDBStorage(storage))
        return cls.create(problem, storage, name, identity)

    @classmethod
    def load(cls, problem: Problem, storage: str, name: str, identity: Identity) -> Study:
        """Open a study. Raises StoreError: there is none, or it is of another search."""
        check_url(storage)
        where = f"study {name!r} in {hide_password(storage)}"
        with _guard(where):
            backend = optuna.storages.RDBStorage(storage)
            study = optuna.load_study(storage=backend, study_name=name)
        loaded = cls(problem, study, where)
        stored = loaded.read_notes().identity
        old = {word: stored.get(word) for word in identity}
        way_out = "Restore what was there before, or search anew with another --out."
        check_same(where, "belongs to a search", old, identity, way_out)
        return loaded

    @staticmethod
    def exists(storage: str, name: str) -> bool:
        """Whether a storage holds a study of a name. Raises StoreError."""
        with _guard(f"study {name!r} in {hide_password(storage)}"):
            return name in optuna.get_all_study_names(optuna.storages.RDBStorage(storage))

    @staticmethod
    def find_number(storage: str, name: str) -> int:
        """The number of a study in its storage, as a dashboard names it. Raises StoreError."""
        check_url(storage)
        with _guard(f"study {name!r} in {hide_password(storage)}"):
            return int(optuna.storages.RDBStorage(storage).get_study_id_from_name(name))

    @property
    def name(self) -> str:
        """In its storage."""
        return self.optuna.study_name

    def add(self, genes: Genes, evaluation: Evaluation) -> Trial:
        """Store one finished trial; `genes` is (G,). Raises StoreError."""
        problem, row = self.problem, genes[None]
        arch = problem.space.decode(row)[0]
        values = {k: v[0].item() for k, v in problem.evaluate_formulas(row).items()}
        predictions = predict_network(problem, genes)
        values |= {name: interval[0] for name, interval in predictions.items()}
        violations = {name: float(by) for name, by in problem.violations(values).items()}
        costs = {name: values[name] for name in COSTS}
        metric, objectives = problem.evaluated_metric, None
        if evaluation.failure is None:
            values |= {} if metric is None else {metric.name: evaluation.compared}
            objectives = [values[q.name] for q in problem.objectives]
        trial = create_trial(
            state=_choose_state(evaluation),
            values=objectives,
            params={g.name: _make_label(g, int(i)) for g, i in self._free(genes)},
            distributions={g.name: _make_distribution(g) for g in self._genes},
            constraints=violations,
            system_attrs={_CONSTRAINTS: list(violations.values())},
            user_attrs={
                "key": arch.key,
                "architecture": arch.model_dump(mode="json"),
                "costs": costs,
                "predictions": predictions,
                "evaluation": evaluation.to_record(),
            },
        )
        with _guard(self._where):
            number = len(self.optuna.get_trials(deepcopy=False))
            self.optuna.add_trial(trial)
            if evaluation.by_lower_bound and metric is not None:
                self._name_lower_bound(metric.name)
        return Trial(number, genes, arch.key, evaluation, predictions)

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

    def _free(self, genes: Genes) -> Iterator[tuple[Gene, Any]]:
        pairs = zip(self.problem.space.genes, genes, strict=True)
        return ((g, i) for g, i in pairs if len(g.options) > 1)

    def trials(self) -> list[Trial]:
        """All finished trials, in order. Raises StoreError."""
        with _guard(self._where):
            frozen = self.optuna.get_trials(deepcopy=False)
            finished = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
            return [
                self._read_trial(t) for t in frozen if t.state in finished and "key" in t.user_attrs
            ]

    def _read_trial(self, frozen: FrozenTrial) -> Trial:
        row = [
            [_make_label(g, i) for i in range(len(g.options))].index(frozen.params[g.name])
            if g.name in frozen.params
            else 0
            for g in self.problem.space.genes
        ]
        attributes = frozen.user_attrs
        predictions = {k: (v[0], v[1], v[2]) for k, v in attributes.get("predictions", {}).items()}
        return Trial(
            frozen.number,
            np.array(row, dtype=np.int64),
            attributes["key"],
            Evaluation.from_record(attributes["evaluation"]),
            predictions,
        )

    def read_notes(self) -> StudyNotes:
        """What is kept beside the trials, as it is now. Raises StoreError, also when written to."""
        with _guard(self._where):
            return StudyNotes(self.optuna.user_attrs, self._store)

    def _store(self, name: str, value: Any) -> None:
        with _guard(self._where):
            self.optuna.set_user_attr(name, value)


@contextmanager
def _guard(where: str) -> Iterator[None]:
    """Tell what a storage complains of in one line."""
    try:
        yield
    except optuna.exceptions.DuplicatedStudyError as error:
        raise StoreError(
            f"{where}: exists already. Use `smt-nas resume`, or another --out."
        ) from error
    except KeyError as error:
        raise StoreError(
            f"{where}: is not there. Check --storage, or search anew with another --out."
        ) from error
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
        ImportError,
        RuntimeError,
        OSError,
        ValueError,  # of a database whose text was overwritten
        TypeError,
    ) as error:
        cause = error.__cause__ or error
        cause = getattr(cause, "orig", cause)
        reason = " ".join(str(cause).split())[:200]
        raise StoreError(f"{where}: cannot be used ({reason}). {_find_way_out(cause)}") from error


def _choose_state(evaluation: Evaluation) -> TrialState:
    if evaluation.failure is None:
        return TrialState.COMPLETE
    return TrialState.PRUNED if evaluation.stopped else TrialState.FAIL


def _find_way_out(cause: object) -> str:
    if isinstance(cause, ImportError):
        return "Install that database driver, or drop --storage."
    if type(cause) is sqlite3.DatabaseError or isinstance(cause, ValueError | TypeError):
        return "The file is damaged: restore a copy of it, or search anew with another --out."
    return "What was stored is kept; mend the cause, then `smt-nas resume`."


def predict_network(problem: Problem, genes: Genes) -> dict[str, tuple[float, float, float]]:
    """Value, low and high of each predicted metric of one network, from its genes (G,)."""
    return {
        name: (float(value[0]), float(low[0]), float(high[0]))
        for name, (value, low, high) in problem.predict(genes[None]).items()
    }


def make_history(problem: Problem, trials: Sequence[Trial]) -> History:
    """What strategies see of trials."""
    genes = [t.genes for t in trials]
    empty = np.empty((0, len(problem.space.genes)), dtype=np.int64)
    return History(np.array(genes) if genes else empty, [t.evaluation.compared for t in trials])


def check_url(storage: str) -> None:
    """Raise ConfigError where a storage is no URL; what was written is not repeated."""
    try:
        sqlalchemy.make_url(storage).get_dialect()
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ConfigError(
            "--storage: must be the URL of a database. Write e.g. postgresql://user:password@host"
            "/name, with special characters of the password as %40."
        ) from None  # the cause may show a part of the password
    except ImportError:
        pass  # a missing driver is told where it is used


def hide_password(storage: str) -> str:
    """A storage URL that may be shown or written down."""
    text = sqlalchemy.make_url(storage).render_as_string(hide_password=True)
    return re.sub(r"((?:pass\w*|pwd|sslpassword|token)=)[^&]*", rf"\1{HIDDEN}", text, flags=re.I)


def _make_distribution(gene: Gene) -> CategoricalDistribution:
    return CategoricalDistribution([_make_label(gene, i) for i in range(len(gene.options))])


def _make_label(gene: Gene, index: int) -> Any:
    """An option as Optuna stores it: numbers and words as they are, kernel sets as `3,5,7,9`."""
    option = gene.options[index]
    return ",".join(map(str, option)) if isinstance(option, tuple) else option
