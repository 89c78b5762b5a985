"""Trials in bulk: stored as Optuna stores them, under numbers of their own, all or none."""

import multiprocessing
import os
import signal
import time
from functools import partial

import numpy as np
import optuna
import pytest
import sqlalchemy
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.storages._rdb import models
from optuna.trial import TrialState, create_trial

from smt_nas.evaluators import Evaluation
from smt_nas.files import sqlite_url
from smt_nas.search.storage import trial_insert
from smt_nas.search.storage.database import open_database
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.trial_insert import SCHEMA, TrialInserter
from smt_nas.search.storage.trial_record import describe_trials
from tests.fakes import devices as fakes
from tests.fakes.postgres import postgres  # noqa: F401
from tests.fakes.searches import make_problem, sample

FIELDS = (
    *("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs"),
    *("constraints", "intermediate_values", "datetime_start", "datetime_complete"),
)
RATED = Evaluation(0.5, "function")
START_S, WATCHDOG_S = 60.0, 120.0


@pytest.fixture(scope="module")
def server(postgres):  # noqa: F811
    return postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def make_url(request, tmp_path):
    """URLs of databases, by a name."""
    if request.param == "sqlite":
        return lambda name: sqlite_url(tmp_path / f"{name}.db")
    url = request.getfixturevalue("server").make_empty()

    def make(name):
        engine = sqlalchemy.create_engine(url.replace("://", "+psycopg://"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {name}")
            connection.exec_driver_sql(f"CREATE DATABASE {name}")
        engine.dispose()
        return f"{url.rpartition('/')[0]}/{name}"

    return make


def open_study(url, directions=("minimize", "minimize")):
    """Optuna's study, what adds to it, and its database, which is to be closed."""
    database = open_database(url, "s")
    study = optuna.create_study(
        storage=database.storage, study_name="s", directions=directions, load_if_exists=True
    )
    return study, TrialInserter(study, database.storage), database


@pytest.fixture
def opened():
    """The same; closed when the test ends."""
    databases = []

    def open_and_keep(url, directions=("minimize", "minimize")):
        study, inserter, database = open_study(url, directions)
        databases.append(database)
        return study, inserter, database

    yield open_and_keep
    for database in databases:
        database.close()


def describe(monkeypatch):
    """Trials of all kinds: finished, failed, stopped, waiting, infinite."""
    fakes.install(monkeypatch)
    problem = make_problem("12MMACs", objectives=("score", "latency"))
    evaluations = [
        Evaluation(0.1 + 0.2, "predicted", interval=(0.1, 0.4), components={"ü": 1e-17}),
        Evaluation(None, "function", failure="broke"),
        Evaluation(None, "trained", failure="stopped", stopped=True),
    ]
    infinite = create_trial(
        values=[float("inf"), float("-inf")],
        params={"x": 0.1},
        distributions={"x": FloatDistribution(0, 1)},
    )
    finished = describe_trials(problem, sample(3), evaluations)
    return [*finished, *describe_trials(problem, sample(5)[3:]), infinite]


def test_trials_are_stored_as_optuna_stores_them(make_url, monkeypatch, opened):
    trials = describe(monkeypatch)
    theirs, _, _ = opened(make_url("theirs"))
    theirs.add_trials(trials)
    ours, inserter, _ = opened(make_url("ours"))
    monkeypatch.setattr(inserter, "_add_one", None)
    assert inserter.add(trials[:2]) == [0, 1] and inserter.add(trials[2:]) == [2, 3, 4, 5]
    expected, stored = ([[getattr(t, f) for f in FIELDS] for t in s.trials] for s in (theirs, ours))
    assert stored == expected
    for a, b in zip(theirs.trials, ours.trials, strict=True):
        for kind in ("params", "user_attrs", "system_attrs"):
            assert list(getattr(a, kind)) == list(getattr(b, kind))
    assert [t.state for t in ours.trials][:4] == [
        TrialState.COMPLETE,
        TrialState.FAIL,
        TrialState.PRUNED,
        TrialState.WAITING,
    ]


def test_optuna_goes_on_in_a_study_that_was_filled_in_bulk(make_url, monkeypatch, opened):
    trials = describe(monkeypatch)
    study, inserter, database = opened(make_url("one"))
    assert inserter.add(trials[:1]) == [0]
    study.add_trial(trials[1])
    assert inserter.add(trials[2:3]) == [2]
    waiting = optuna.trial.create_trial(state=TrialState.WAITING)
    assert inserter.add([waiting]) == [3]
    assert study.ask().number == 3 and study.ask().number == 4
    assert [t.number for t in study.trials] == [0, 1, 2, 3, 4]
    assert database.storage.get_n_trials(study._study_id) == 5


def test_another_edition_of_the_tables_is_left_to_optuna(tmp_path, monkeypatch, opened):
    study, inserter, database = opened(sqlite_url(tmp_path / "a.db"))
    assert database.storage.get_current_version() == SCHEMA
    monkeypatch.setattr(database.storage, "get_current_version", lambda: "v9.0.0.a")
    monkeypatch.setattr(inserter, "_insert", None)
    trials = describe(monkeypatch)
    assert inserter.add(trials) == list(range(len(trials))) and len(study.trials) == len(trials)


@pytest.mark.parametrize("is_stored", [False, True])
def test_a_parameter_keeps_its_distribution(tmp_path, is_stored, opened):
    def make(*choices):
        distribution = CategoricalDistribution(choices)
        return create_trial(value=1.0, params={"x": choices[0]}, distributions={"x": distribution})

    study, inserter, _ = opened(sqlite_url(tmp_path / "a.db"), ["minimize"])
    if is_stored:
        study.add_trial(make(1, 2))
    else:
        inserter.add([make(1, 2)])
    with pytest.raises(ValueError, match="does not support dynamic value space"):
        inserter.add([make(1, 2), make(1, 3)])
    assert len(study.trials) == 1  # all or none


def test_a_study_that_is_not_there_is_told(tmp_path, opened):
    _, inserter, database = opened(sqlite_url(tmp_path / "a.db"), ["minimize"])
    optuna.delete_study(study_name="s", storage=database.storage)
    with pytest.raises(KeyError):
        inserter.add([create_trial(value=1.0)])


def test_a_file_that_another_writes_to_is_waited_for(tmp_path, monkeypatch, opened):
    path = tmp_path / "a.db"
    _, inserter, _ = opened(f"{sqlite_url(path)}?timeout=0.01", ["minimize"])
    engine = sqlalchemy.create_engine(sqlite_url(path))
    other = engine.connect()
    other.exec_driver_sql("BEGIN IMMEDIATE")
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            other.rollback()

    monkeypatch.setattr(trial_insert.time, "sleep", wait)
    assert inserter.add([create_trial(value=1.0)]) == [0]
    assert waits == [0.5, 1.0]
    other.close()
    engine.dispose()


def add_many(url, times, size, ready, begin):
    _, inserter, database = open_study(url, ["minimize"])
    ready.set()
    begin.wait(START_S)
    for _ in range(times):
        inserter.add([create_trial(value=1.0) for _ in range(size)])
    database.close()


def test_numbers_stay_unique_while_two_processes_add(make_url, opened):
    url, context = make_url("shared"), multiprocessing.get_context("spawn")
    study, _, database = opened(url, ["minimize"])
    begin, ready = context.Event(), [context.Event() for _ in range(2)]
    workers = [context.Process(target=add_many, args=(url, 12, 7, r, begin)) for r in ready]
    for worker in workers:
        worker.start()
    assert all(r.wait(START_S) for r in ready)
    begin.set()
    for _ in range(12):  # and a third one by Optuna's way
        study.add_trial(create_trial(value=2.0))
    for worker in workers:
        worker.join(WATCHDOG_S)
    assert [w.exitcode for w in workers] == [0, 0]
    with database.storage.engine.connect() as connection:
        numbers = connection.execute(sqlalchemy.select(models.TrialModel.number)).scalars().all()
    assert sorted(numbers) == list(range(2 * 12 * 7 + 12))


def add_and_hang(url, kind, ready):
    """Add trials, and stop for ever beside the first rows of one table."""
    _, inserter, database = open_study(url, ["minimize"])

    def hang(connection, cursor, statement, *rest):
        if statement.startswith(f"INSERT INTO {kind}"):
            ready.set()
            time.sleep(WATCHDOG_S)

    sqlalchemy.event.listen(database.storage.engine, "after_cursor_execute", hang)
    inserter.add([create_trial(value=1.0, user_attrs={"a": 1}) for _ in range(50)])


@pytest.mark.parametrize("kind", ["trials", "trial_user_attributes"])
def test_killed_amid_it_none_is_stored(tmp_path, kind, opened):
    url, context = sqlite_url(tmp_path / "a.db"), multiprocessing.get_context("spawn")
    study, inserter, _ = opened(url, ["minimize"])
    inserter.add([create_trial(value=1.0)])
    ready = context.Event()
    worker = context.Process(target=add_and_hang, args=(url, kind, ready))
    worker.start()
    assert ready.wait(START_S)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join(WATCHDOG_S)
    assert len(study.trials) == 1
    assert inserter.add([create_trial(value=1.0)]) == [1]
    with study._storage._backend.engine.connect() as connection:
        count = sqlalchemy.select(sqlalchemy.func.count(models.TrialUserAttributeModel.trial_id))
        assert connection.execute(count).scalar_one() == 0


def test_what_is_stored_of_many_is_that_of_each(monkeypatch):
    fakes.install(monkeypatch)
    problem, genes = make_problem("12MMACs", objectives=("score", "latency")), sample(40)
    together = describe_trials(problem, genes, [RATED] * 40)
    each = [describe_trials(problem, row[None], [RATED])[0] for row in genes]
    names = ("values", "params", "distributions", "user_attrs", "system_attrs")
    assert [[getattr(t, n) for n in names] for t in together] == [
        [getattr(t, n) for n in names] for t in each
    ]


def test_a_study_adds_and_queues_many_at_once(tmp_path):
    study = Study.create_file(make_problem(), tmp_path / "study.db", "s", {})
    seen = []
    engine = study.database.storage.engine
    count = partial(sqlalchemy.event.listen, engine, "before_cursor_execute")
    study.add_all(sample(1), [RATED])
    count(lambda *given: seen.append(given[2]))
    trials = study.add_all(sample(40)[1:], [RATED] * 39)
    assert [t.number for t in trials] == list(range(1, 40))
    assert len(seen) < 12
    study.enqueue(sample(44)[40:])
    study.enqueue(np.empty((0, 0), dtype=np.int64))
    assert [t.number for t in study.read_open()] == [40, 41, 42, 43]
    assert [t.number for t in study.trials()] == list(range(40))
