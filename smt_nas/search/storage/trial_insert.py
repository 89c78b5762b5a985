"""Adding trials to a study, many in one transaction: all of them, or none.

Optuna adds them one by one, each with a query for every parameter and attribute, which takes a
hundred times as long. Here the same rows are written through its own tables: the study is locked as
Optuna locks it, so that numbers stay unique whoever else adds, and what it checks is checked. That
holds for one edition of its tables; of any other, and of servers that do not tell the ids of many
rows, Optuna adds them itself.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial

SCHEMA = "v3.2.0.a"
"""The edition of Optuna's tables that is known; `alembic_version` of the database names it."""
_DIALECTS = ("sqlite", "postgresql")
_WAITS_S = (0.5, 1.0, 2.0, 4.0)  # before each further try of a locked file; the driver waits too
_Rows = list[dict[str, Any]]


class TrialInserter:
    """Adds trials to one study.

    Args:
        study: Optuna's.
        storage: where it is.
    """

    def __init__(self, study: optuna.Study, storage: RDBStorage) -> None:
        self._study, self._storage = study, storage
        self._distributions: dict[str, str] = {}  # by parameter, those that the study holds
        self._knows_tables: bool | None = None

    def add(self, trials: Sequence[FrozenTrial]) -> list[int]:
        """Add trials without intermediate values; their numbers, in order.

        Raises:
            SQLAlchemyError, StorageInternalError: the database cannot be used; none is added.
            KeyError: the study is not there.
            ValueError: a parameter has another distribution than in the study.
        """
        for trial in trials:
            trial._validate()
            assert not trial.intermediate_values
        if not self._can_insert():
            return [self._add_one(trial) for trial in trials]
        for wait_s in _WAITS_S:
            try:
                return self._insert(trials)
            except sqlalchemy.exc.OperationalError as error:
                if not _is_locked(error.orig):
                    raise
            time.sleep(wait_s)
        return self._insert(trials)

    def _can_insert(self) -> bool:
        if self._knows_tables is None:
            is_known = self._storage.engine.dialect.name in _DIALECTS
            self._knows_tables = is_known and self._storage.get_current_version() == SCHEMA
        return self._knows_tables

    def _add_one(self, trial: FrozenTrial) -> int:
        """By Optuna. `Study.add_trial` does not tell the number; to count is to read all others."""
        added = self._study._storage.create_new_trial(self._study._study_id, template_trial=trial)
        return self._study._storage.get_trial_number_from_id(added)

    def _insert(self, trials: Sequence[FrozenTrial]) -> list[int]:
        texts = _DistributionTexts()
        with self._storage.engine.begin() as connection:
            first = _lock_and_count(connection, self._study._study_id)
            used = self._check_distributions(connection, trials, texts)
            numbers = list(range(first, first + len(trials)))
            rows = [
                _describe_row(self._study._study_id, number, trial)
                for number, trial in zip(numbers, trials, strict=True)
            ]
            numbered = list(zip(_insert_trials(connection, rows), trials, strict=True))
            for model, parts in (
                (models.TrialValueModel, _list_values(numbered)),
                (models.TrialParamModel, _list_parameters(numbered, texts)),
                (models.TrialUserAttributeModel, _list_attributes(numbered, "user_attrs")),
                (models.TrialSystemAttributeModel, _list_attributes(numbered, "system_attrs")),
            ):
                if parts:
                    connection.execute(sqlalchemy.insert(model.__table__), parts)
        self._distributions = used  # not before they are stored
        return numbers

    def _check_distributions(
        self,
        connection: sqlalchemy.Connection,
        trials: Iterable[FrozenTrial],
        texts: _DistributionTexts,
    ) -> dict[str, str]:
        """As JSON by parameter. Raises ValueError where one is not that of the study."""
        used = dict(self._distributions)
        if not used:
            used = _read_distributions(connection, self._study._study_id)
        for trial in trials:
            for name, distribution in trial.distributions.items():
                text = texts[distribution]
                if name not in used:
                    stored = _read_distribution(connection, self._study._study_id, name)
                    used[name] = stored or text
                if text != used[name]:
                    before = json_to_distribution(used[name])
                    check_distribution_compatibility(before, distribution)
        return used


class _DistributionTexts:
    """Distributions as JSON; trials of a space share them. Those asked for must be kept alive."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def __getitem__(self, distribution: BaseDistribution) -> str:
        text = self._texts.get(id(distribution))
        if text is None:
            text = self._texts[id(distribution)] = distribution_to_json(distribution)
        return text


def _is_locked(error: BaseException | None) -> bool:
    """Whether another process writes to the SQLite file, so that nothing was written here."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def _lock_and_count(connection: sqlalchemy.Connection, study: int) -> int:
    """Let nobody else add to a study until the transaction ends; how many trials it has."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver would begin at the first INSERT
    column = models.StudyModel.study_id
    lock = sqlalchemy.select(column).where(column == study).with_for_update()
    if connection.execute(lock).one_or_none() is None:
        raise KeyError(study)
    of_study = models.TrialModel.study_id == study
    count = sqlalchemy.select(sqlalchemy.func.count(models.TrialModel.trial_id)).where(of_study)
    return int(connection.execute(count).scalar_one())


def _read_distributions(connection: sqlalchemy.Connection, study: int) -> dict[str, str]:
    """Those of the first trial of a study, as JSON by parameter."""
    model, trial = models.TrialParamModel, models.TrialModel
    first = sqlalchemy.select(sqlalchemy.func.min(trial.trial_id)).where(trial.study_id == study)
    query = sqlalchemy.select(model.param_name, model.distribution_json)
    rows = connection.execute(query.where(model.trial_id == first.scalar_subquery()))
    return {name: text for name, text in rows}


def _read_distribution(connection: sqlalchemy.Connection, study: int, name: str) -> str | None:
    """What any trial of a study has for a parameter, as JSON; None where there is none."""
    model = models.TrialParamModel
    query = sqlalchemy.select(model.distribution_json).join(models.TrialModel)
    query = query.where(models.TrialModel.study_id == study, model.param_name == name).limit(1)
    return connection.execute(query).scalar_one_or_none()


def _insert_trials(connection: sqlalchemy.Connection, rows: _Rows) -> list[int]:
    """Their ids, in order."""
    table = models.TrialModel.__table__
    statement = sqlalchemy.insert(table).returning(table.c.number, table.c.trial_id)
    ids = {number: i for number, i in connection.execute(statement, rows)}
    return [ids[row["number"]] for row in rows]


def _describe_row(study: int, number: int, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "study_id": study,
        "number": number,
        "state": trial.state,
        "datetime_start": _to_utc(trial.datetime_start),
        "datetime_complete": _to_utc(trial.datetime_complete),
    }


def _to_utc(time: datetime | None) -> datetime | None:
    """Optuna stores local times so."""
    return None if time is None else time.astimezone(UTC).replace(tzinfo=None)


_Numbered = Sequence[tuple[int, FrozenTrial]]


def _list_values(numbered: _Numbered) -> _Rows:
    to_stored = models.TrialValueModel.value_to_stored_repr
    return [
        dict(zip(("trial_id", "objective", "value", "value_type"), row, strict=True))
        for i, trial in numbered
        for row in ((i, at, *to_stored(value)) for at, value in enumerate(trial.values or ()))
    ]


def _list_parameters(numbered: _Numbered, texts: _DistributionTexts) -> _Rows:
    return [
        {
            "trial_id": i,
            "param_name": name,
            "param_value": trial.distributions[name].to_internal_repr(value),
            "distribution_json": texts[trial.distributions[name]],
        }
        for i, trial in numbered
        for name, value in trial.params.items()
    ]


def _list_attributes(numbered: _Numbered, kind: str) -> _Rows:
    return [
        {"trial_id": i, "key": key, "value_json": json.dumps(value)}
        for i, trial in numbered
        for key, value in getattr(trial, kind).items()
    ]
