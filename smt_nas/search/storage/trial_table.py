"""The finished trials of a study, read by columns: a few queries for all, and none is read twice.

Optuna makes an object of every trial with all that is stored of it, of which a search needs a
tenth: 100,000 trials of a space of 27 genes are 2.7 million parameters. A trial that is finished
never changes, so what was read is kept by who reads.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy
from optuna.storages import RDBStorage
from optuna.trial import TrialState

KEY, GENES, EVALUATION, PREDICTIONS = "key", "genes", "evaluation", "predictions"
"""Names of what is read of a trial; studies of before have no genes beside their parameters."""
_CHUNK = 10_000  # trials that are held at a time
_FEW = 500  # trials that are asked for by their ids; more, by the range these span
_FINISHED = frozenset(s.name for s in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
_TRIALS = "SELECT trial_id, number, state FROM trials WHERE study_id = :study AND trial_id {which}"
_ATTRIBUTES = (
    "SELECT trial_id, a.key, value_json FROM trial_user_attributes a "  # MySQL reserves `key`
    "WHERE a.key IN ('key', 'genes', 'evaluation', 'predictions') AND trial_id {which}"
)
_PARAMETERS = "SELECT trial_id, param_name, param_value FROM trial_params WHERE trial_id {which}"


@dataclass(frozen=True)
class StoredTrial:
    """What a search needs of a finished trial.

    Attributes:
        number: order in the study.
        attributes: by name, those that are there.
        parameters: place of the option by name of the gene; empty where `GENES` is there.
    """

    number: int
    attributes: dict[str, Any]
    parameters: dict[str, float]


class TrialTable:
    """Reads the trials of one study.

    Args:
        storage: where it is.
        study: its id there.
    """

    def __init__(self, storage: RDBStorage, study: int) -> None:
        self._engine, self._study = storage.engine, study
        self._last = -1
        self._open: frozenset[int] = frozenset()

    def read_new(self, keep: Callable[[StoredTrial], None]) -> None:
        """Hand over trials that are finished and were not at the last call, by ascending ids.

        Some thousands are held at a time: what is stored of a hundred thousand takes gigabytes.

        Raises:
            SQLAlchemyError: the database cannot be read; the next call reads the same.
        """
        with self._engine.connect() as connection, _without_collector():
            rows = _select(connection, _TRIALS, "> :low", study=self._study, low=self._last)
            if self._open:
                rows += _select_ids(connection, _TRIALS, sorted(self._open), study=self._study)
            finished = {i: number for i, number, state in rows if state in _FINISHED}
            ids = sorted(finished)
            for start in range(0, len(ids), _CHUNK):
                for i, stored in _read_trials(connection, ids[start : start + _CHUNK]):
                    keep(StoredTrial(finished[i], *stored))
            self._open = frozenset(i for i, _, _ in rows) - finished.keys()
            self._last = max((self._last, *(i for i, _, _ in rows)))


def _read_trials(
    connection: sqlalchemy.Connection, ids: Sequence[int]
) -> Iterator[tuple[int, tuple[dict[str, Any], dict[str, float]]]]:
    """Ids of trials, with their attributes and parameters."""
    attributes = _gather(_parse(_select_ids(connection, _ATTRIBUTES, ids)), ids)
    bare = [i for i in ids if GENES not in attributes[i]]
    parameters = _gather(_select_ids(connection, _PARAMETERS, bare), bare)
    return ((i, (attributes[i], parameters.get(i, {}))) for i in ids)


@contextmanager
def _without_collector() -> Iterator[None]:
    """While it lasts, nothing looks for cycles, of which a million plain values have none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse(rows: list[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """The same with JSON as values; parsed at once, which takes a fifth of one by one."""
    values = json.loads(f"[{','.join([row[2] for row in rows])}]")
    return ((i, name, value) for (i, name, _), value in zip(rows, values, strict=True))


def _select(
    connection: sqlalchemy.Connection, query: str, which: str, **values: Any
) -> list[tuple[Any, ...]]:
    statement = sqlalchemy.text(query.format(which=which))
    if "ids" in values:
        statement = statement.bindparams(sqlalchemy.bindparam("ids", expanding=True))
    result = connection.execute(statement, values)
    assert result.cursor is not None
    driver_error = connection.dialect.loaded_dbapi.Error
    try:
        return list(result.cursor.fetchall())  # of the driver: a row of SQLAlchemy's costs more
    except driver_error as error:
        raise sqlalchemy.exc.DBAPIError.instance(query, values, error, driver_error) from error


def _select_ids(
    connection: sqlalchemy.Connection, query: str, ids: Sequence[int], **values: Any
) -> list[tuple[Any, ...]]:
    """Rows of trials of ascending ids; of many, those between are among them."""
    if not ids:
        return []
    if len(ids) <= _FEW:
        return _select(connection, query, "IN :ids", ids=list(ids), **values)
    return _select(connection, query, "BETWEEN :low AND :high", low=ids[0], high=ids[-1], **values)


def _gather(rows: Iterable[tuple[Any, ...]], ids: Iterable[int]) -> dict[int, dict[str, Any]]:
    """Values by trial and name."""
    table: dict[int, dict[str, Any]] = {i: {} for i in ids}
    for i, name, value in rows:
        if i in table:
            table[i][name] = value
    return table
