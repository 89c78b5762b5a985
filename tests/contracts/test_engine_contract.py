"""Every engine: answers in order, a lost worker costs one answer, nothing outlives it."""

import os
import time
from contextlib import ExitStack
from functools import cache, partial

import psutil
import pytest

from smt_nas.errors import UnknownName
from smt_nas.runtime.engines.engine_choice import ENGINES, EngineChoice, open_engine
from smt_nas.runtime.engines.ray_engine import RayOptions
from tests.fakes.ray_cluster import open_cluster

# of Ray, whose log files and sockets stay open until its processes end
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
every_engine = pytest.mark.parametrize("name", ENGINES)


@pytest.fixture(scope="module")
def make_engine():
    """Opens an engine of so many workers; those of Ray are on one cluster of one node."""
    with ExitStack() as stack:

        @cache
        def start_ray():
            pytest.importorskip("ray", reason="ray is not installed")
            return stack.enter_context(open_cluster(num_cpus=2)).address

        def make(workers, name):
            options = RayOptions(start_ray()) if name == "ray" else RayOptions()
            return open_engine(EngineChoice(name, workers, ray=options))

        yield make


def slow_first(number):
    """The first answer comes last."""
    time.sleep(0.2 if number == 0 else 0.0)
    return number * number


def fall(number, at):
    if number == at:
        os._exit(3)
    return number


def hang(number, at):
    if number == at:
        time.sleep(600)
    return number


def worker(_):
    return os.getpid()


@every_engine
@pytest.mark.parametrize("workers", [1, 2])
def test_answers_come_in_the_order_of_what_was_asked(make_engine, name, workers):
    with make_engine(workers, name) as engine:
        assert list(engine.map(slow_first, range(5), lost=str)) == [0, 1, 4, 9, 16]
        assert list(engine.map(slow_first, [], lost=str)) == []


@every_engine
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("timeout", [None, 60.0])
def test_once_told_to_stop_what_runs_is_answered_and_no_more_is_begun(
    make_engine, name, workers, timeout
):
    begun = []

    def proceed():
        begun.append(len(begun) < 4)
        return begun[-1]

    with make_engine(workers, name) as engine:
        answers = list(engine.map(slow_first, range(9), str, timeout, proceed=proceed))
        assert answers == [0, 1, 4, 9]
        assert list(engine.map(slow_first, range(3), str, timeout)) == [0, 1, 4]


@every_engine
def test_a_worker_that_dies_costs_one_answer(make_engine, name):
    with make_engine(2, name) as engine:
        answers = list(engine.map(partial(fall, at=1), range(4), lost=lambda reason: reason))
    assert [answers[0], *answers[2:]] == [0, 2, 3]
    assert "exit 3" in answers[1]


@every_engine
def test_what_takes_too_long_is_given_up(make_engine, name):
    with make_engine(2, name) as engine:
        call = partial(hang, at=0)
        answers = list(engine.map(call, range(3), lost=lambda reason: reason, timeout=5.0))
    assert "took more than 5 s" in answers[0]
    assert answers[1:] == [1, 2]


@every_engine
def test_no_worker_outlives_its_engine(make_engine, name):
    with make_engine(2, name) as engine:
        pids = set(engine.map(worker, range(4), lost=str, timeout=60.0))
    assert os.getpid() not in pids
    left = psutil.wait_procs([p for p in psutil.process_iter() if p.pid in pids], timeout=600)[1]
    assert not left


def test_an_unknown_engine_names_those_there_are(make_engine):
    with pytest.raises(UnknownName, match="local"):
        make_engine(1, "locl")
