"""Trials that are taken, ended and put back; what ended meanwhile is left alone."""

import pytest

from smt_nas.evaluators import Evaluation
from smt_nas.search.storage.study import Study
from smt_nas.search.storage.trial_queue import TrialQueue
from tests.fakes.searches import make_problem, sample


@pytest.fixture
def study(tmp_path):
    return Study.create_file(make_problem(), tmp_path / "study.db", "test", {"seed": 0})


def take_one(queue):
    [trial] = queue.take(lambda _: sample(1))
    return trial


def test_a_trial_that_ended_meanwhile_is_neither_put_back_nor_taken(study):
    queue = TrialQueue(study)
    trial = take_one(queue)
    study.finish(trial, Evaluation(1.0, "function"))
    assert not study.put_back(trial, 0)
    assert not study.take(trial, "another")
    queue.release()
    assert [t.evaluation.value for t in study.trials()] == [1.0]
    assert not study.read_open()


def test_a_trial_that_another_process_has_taken_is_not_put_back(study):
    trial = take_one(TrialQueue(study))
    study.put_back(trial, 1)
    [again] = TrialQueue(study).take(lambda _: [])
    assert not study.put_back(trial, 0)
    [running] = study.read_open()
    assert (running.worker, running.is_running) == (again.worker, True)


def test_what_is_released_waits_as_if_it_had_not_been_taken(study):
    queue = TrialQueue(study)
    take_one(queue)
    queue.release()
    [waiting] = study.read_open()
    assert (waiting.attempt, waiting.is_running) == (0, False)
