"""Thousands of trials: queries are counted, not seconds."""

import sqlite3

import pytest
import sqlalchemy

from smt_nas.evaluators import Evaluation
from smt_nas.files import sqlite_url
from smt_nas.search.results.results import select_front
from smt_nas.search.storage.study import Study
from tests.fakes.searches import make_problem, sample

MANY = 3_000
RATED = Evaluation(0.5, "function")


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A study of `MANY` trials: copies of a few."""
    path = tmp_path_factory.mktemp("many") / "study.db"
    study = Study.create_file(make_problem(), path, "s", {})
    few = sample(4)
    for genes in few:
        study.add(genes, RATED)
    with sqlite3.connect(path) as database:
        copied = f"SELECT number FROM trials UNION SELECT n + 1 FROM more WHERE n < {MANY - 1}"
        database.execute(
            f"WITH RECURSIVE more(n) AS ({copied}) INSERT INTO trials (number, study_id, state) "
            "SELECT n, 1, 'COMPLETE' FROM more WHERE n >= 4"
        )
        for table, columns in (
            ("trial_user_attributes", "key, value_json"),
            ("trial_params", "param_name, param_value, distribution_json"),
            ("trial_values", "objective, value, value_type"),
        ):
            database.execute(
                f"INSERT INTO {table} (trial_id, {columns}) SELECT t.trial_id, {columns} FROM "
                f"trials t JOIN {table} a ON a.trial_id = t.number % 4 + 1 WHERE t.number >= 4"
            )
    return path


@pytest.fixture
def study(file, tmp_path):
    copy = tmp_path / "study.db"
    copy.write_bytes(file.read_bytes())
    return Study.load(make_problem(), sqlite_url(copy), "s", {})


@pytest.fixture
def queries(study):
    """Statements that were executed, each with the rows it may have read unknown."""
    seen = []
    engine = study.database.storage.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    return seen


def test_all_trials_are_read_by_a_few_queries_and_none_twice(study, queries):
    trials = study.trials()
    assert [t.number for t in trials] == list(range(MANY))
    assert all((t.genes == sample(4)[t.number % 4]).all() for t in trials)
    assert len(queries) <= 4
    queries.clear()
    assert study.trials() == trials
    assert len(queries) <= 1


def test_adding_a_trial_takes_as_many_queries_as_in_a_small_study(study, queries, tmp_path):
    study.add(sample(5)[3], RATED)  # the first one reads what parameters the study has
    queries.clear()
    study.add(sample(5)[4], RATED)
    large = len(queries)
    small = Study.create_file(make_problem(), tmp_path / "small.db", "s", {})
    small.add(sample(5)[3], RATED)
    seen = []
    engine = small.database.storage.engine
    sqlalchemy.event.listen(engine, "before_cursor_execute", lambda *given: seen.append(given[2]))
    small.add(sample(5)[4], RATED)
    assert large == len(seen)
    assert not any(
        "IN (SELECT" in text or "trial_user_attributes.value_json" in text for text in seen
    )


def test_a_trial_that_is_added_has_its_number_and_is_read_alone(study, queries):
    before = study.trials()
    added = study.add(sample(5)[4], RATED)
    assert added.number == MANY
    queries.clear()
    after = study.trials()
    assert after[:-1] == before and (after[-1].genes == added.genes).all()
    assert len(queries) <= 2


def test_trials_of_before_are_read_from_their_parameters(study):
    expected = [t.genes.tolist() for t in study.trials()]
    with study.database.storage.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "DELETE FROM trial_user_attributes WHERE trial_user_attributes.key = 'genes'"
            )
        )
    url = str(study.database.storage.url)
    again = Study.load(make_problem(), url, "s", {})
    assert [t.genes.tolist() for t in again.trials()] == expected


def test_a_front_of_thousands_is_that_of_the_few_they_are_copies_of(study):
    front = select_front(study.problem, study.trials())
    few = select_front(study.problem, study.trials()[:4])
    assert {r.arch.key for r in front} == {r.arch.key for r in few}
