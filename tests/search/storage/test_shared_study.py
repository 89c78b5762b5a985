"""One study on a PostgreSQL server, and several processes that search in it."""

import subprocess
import threading
import time

import numpy as np
import pytest
import sqlalchemy

from smt_nas.errors import StoreError
from smt_nas.evaluators import Evaluation, FunctionEvaluator
from smt_nas.search import Settings, create_search, resume_search
from smt_nas.search.loop.listener import NullSearchProgress
from smt_nas.search.storage import database
from smt_nas.search.storage.heartbeats import HeartbeatWatch
from smt_nas.search.storage.trial_queue import TrialQueue
from tests.fakes.postgres import PASSWORD, postgres  # noqa: F401

WATCHDOG_S = 240.0


class Rater:
    """Remembers what it rated, and may be told to wait or to do something on the way."""

    def __init__(self, seconds=0.0, at=None, action=None):
        self.rated = []
        self._seconds, self._at, self._action = seconds, at, action

    def __call__(self, arch):
        self.rated.append(arch.key)
        time.sleep(self._seconds)
        if len(self.rated) == self._at:
            self._action()
        return float(arch.stages[2].dim + arch.stages[0].depth)


def settings(storage, n=6, **more):
    asked = {"space": "smt_micro", "objectives": ("score", "macs"), "strategy": "random"}
    return Settings(**(asked | {"n": n, "verify": False, "storage": storage} | more))


class Hearer(NullSearchProgress):
    """Remembers what is said, and the phases in the order in which they began first."""

    def __init__(self):
        self.lines, self.phases = [], []

    def say(self, text):
        self.lines.append(text)

    def step(self, phase, done, total):
        self.phases += [phase] * (phase not in self.phases)


def begin(folder, rater, storage, listener=None, **more):
    folder.mkdir(exist_ok=True)
    own = FunctionEvaluator(rater)
    out = folder / "run"
    return create_search(
        settings(storage, **more), out, evaluator=own, go_on=True, listener=listener
    )


def go_on(folder, rater, storage):
    return resume_search(folder / "run", evaluator=FunctionEvaluator(rater), storage=storage)


@pytest.fixture
def url(postgres):  # noqa: F811
    return postgres.make_empty()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(database, "WAITS_S", (0.2, 0.4))


def rows(outcome):
    return [(t.number, t.key, t.evaluation.value) for t in outcome.trials]


def test_one_process_gives_the_study_that_a_file_gives(tmp_path, url):
    here = begin(tmp_path / "a", Rater(), None).run()
    hearer = Hearer()
    there = begin(tmp_path / "b", Rater(), url, hearer).run()
    assert rows(there) == rows(here) and there.finished
    assert hearer.phases == ["screen", "evaluate"]
    front = tmp_path / "b" / "run" / "front.csv"
    assert front.read_text() == (tmp_path / "a" / "run" / "front.csv").read_text()


def test_several_processes_rate_each_network_once(tmp_path, url):
    raters = [Rater(seconds=0.05) for _ in range(3)]
    searches = [begin(tmp_path / str(i), r, url, n=12) for i, r in enumerate(raters)]
    outcomes = {}

    def run(number):
        outcomes[number] = searches[number].run()

    threads = [threading.Thread(target=run, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WATCHDOG_S)
    rated = [key for rater in raters for key in rater.rated]
    presets = 4
    assert len(rated) == len(set(rated)) == 12 + presets
    assert all(len(rater.rated) > 0 for rater in raters)
    assert rows(outcomes[0]) == rows(outcomes[1]) == rows(outcomes[2])
    assert [t.number for t in outcomes[0].trials] == list(range(12))


def test_another_search_of_that_name_is_refused(tmp_path, url):
    begin(tmp_path / "a", Rater(), url).run()
    with pytest.raises(StoreError, match=r"belongs to a search with seed 0 \(got 1\)"):
        begin(tmp_path / "b", Rater(), url, seed=1)
    assert not (tmp_path / "b" / "run").exists()


def ended_process():
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def end_abruptly(watch):
    """What a SIGKILL leaves: no more signs of life, and a process that is not there."""
    watch._end.set()
    watch._thread.join(WATCHDOG_S)
    heartbeat = watch._study.read_heartbeats()[watch.worker]
    gone = heartbeat.model_copy(update={"pid": ended_process()})
    watch._study.write_heartbeat(watch.worker, gone)


def sample_network(search):
    """Genes (G,) of one."""
    return search.problem.space.sample(np.random.default_rng(0), 1)[0]


def test_a_trial_whose_process_died_runs_once_more_and_then_fails(tmp_path, url):
    search = begin(tmp_path, Rater(), url)
    genes = sample_network(search)
    study = search.study
    for attempt in (1, 2):
        watch = HeartbeatWatch(study)
        watch.__enter__()
        [trial] = TrialQueue(study, watch).take(lambda _: genes[None])
        assert (trial.number, trial.attempt) == (0, attempt)
        end_abruptly(watch)
    with HeartbeatWatch(study) as watch:
        assert TrialQueue(study, watch).take(lambda _: []) == []
    [failed] = study.trials()
    assert "the processes that evaluated it died, 2 times" in failed.evaluation.failure
    assert not study.read_open()


def test_what_was_evaluated_when_its_process_died_is_kept(tmp_path, url, monkeypatch):
    search = begin(tmp_path, Rater(), url)
    study, storage = search.study, search.study.database.storage
    genes = sample_network(search)
    watch = HeartbeatWatch(study)
    watch.__enter__()
    queue = TrialQueue(study, watch)
    [trial] = queue.take(lambda _: genes[None])
    monkeypatch.setattr(storage, "set_trial_state_values", None)  # dies before the last step
    with pytest.raises(StoreError):
        queue.finish(trial, Evaluation(7.0, "function"))
    monkeypatch.undo()
    end_abruptly(watch)
    with HeartbeatWatch(study) as other:
        assert TrialQueue(study, other).take(lambda _: []) == []
    [kept] = study.trials()
    assert kept.evaluation.value == 7.0


def test_who_was_taken_for_dead_changes_nothing_afterwards(tmp_path, url):
    search = begin(tmp_path, Rater(), url)
    study = search.study
    genes = sample_network(search)
    watch = HeartbeatWatch(study)
    watch.__enter__()
    queue = TrialQueue(study, watch)
    [trial] = queue.take(lambda _: genes[None])
    end_abruptly(watch)
    with HeartbeatWatch(study) as other:
        rescuer = TrialQueue(study, other)
        [again] = rescuer.take(lambda _: [])
        queue.finish(trial, Evaluation(1.0, "function"))
        assert not study.trials()
        rescuer.finish(again, Evaluation(2.0, "function"))
    assert [t.evaluation.value for t in study.trials()] == [2.0]


def test_a_process_that_joins_before_the_study_is_there_creates_it(tmp_path, url, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("smt_nas.search.setup.create._first_study", None)  # killed, or at it
        with pytest.raises(TypeError):
            begin(tmp_path, Rater(), url)
    outcome = begin(tmp_path, Rater(), url).run()
    assert outcome.finished and len(outcome.trials) == 6


def test_a_study_that_is_lost_is_not_begun_anew(tmp_path, postgres, url):  # noqa: F811
    begin(tmp_path, Rater(), url).run()
    postgres.make_empty()
    with pytest.raises(StoreError, match=r"is not there\. Check --storage"):
        go_on(tmp_path, Rater(), url)


def test_what_an_evaluator_gives_up_waits_for_others(tmp_path, url, monkeypatch):
    def give_up(runner, archs):
        raise StoreError("trainings: another process is working in it.")

    search = begin(tmp_path, Rater(), url)
    monkeypatch.setattr("smt_nas.evaluators.runner.EvaluationRunner.evaluate", give_up)
    with pytest.raises(StoreError, match="trainings"):
        search.run()
    waiting = search.study.read_open()
    assert waiting and all((t.is_running, t.attempt) == (False, 0) for t in waiting)


def test_a_lock_that_is_interrupted_while_it_is_taken_is_free_again(tmp_path, url, monkeypatch):
    def interrupt(connection):
        raise KeyboardInterrupt

    here = begin(tmp_path, Rater(), url).study.database
    other = database.open_database(url, here.study_name)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(sqlalchemy.Connection, "commit", interrupt)
        here.locked("queue").__enter__()
    for _ in range(200):  # the server takes a moment to see that the connection is closed
        with other.locked("queue") as is_held:
            if is_held:
                break
        time.sleep(0.05)
    assert is_held
    other.close()


def test_a_server_that_is_restarted_is_waited_for(tmp_path, postgres, url):  # noqa: F811
    def restart():
        postgres.stop()
        threading.Timer(0.5, postgres.start).start()

    rater, hearer = Rater(at=3, action=restart), Hearer()
    outcome = begin(tmp_path, rater, url, hearer).run()
    assert outcome.finished and len(rater.rated) == len(set(rater.rated)) == 6 + 4
    assert sum("does not answer. Trying again" in line for line in hearer.lines) == 1
    assert PASSWORD not in "".join(hearer.lines)


def test_a_server_that_starts_later_than_the_search_is_waited_for(
    tmp_path,
    postgres,  # noqa: F811
    url,
):
    postgres.stop()
    threading.Timer(0.7, postgres.start).start()
    hearer = Hearer()
    assert begin(tmp_path, Rater(), url, hearer, n=1).run().finished
    assert sum("does not answer. Trying again" in line for line in hearer.lines) == 1


def test_a_server_that_stays_away_stops_the_search_which_goes_on_later(
    tmp_path,
    postgres,  # noqa: F811
    url,
    impatient,
):
    expected = rows(begin(tmp_path / "a", Rater(), None).run())
    rater = Rater(at=3, action=postgres.stop)
    search = begin(tmp_path / "b", rater, url)
    with pytest.raises(StoreError) as caught:
        search.run()
    postgres.start()
    message = str(caught.value)
    assert "\n" not in message and "start the same again" in message and PASSWORD not in message
    again = go_on(tmp_path / "b", rater, url)
    for worker, heartbeat in again.study.read_heartbeats().items():  # this process is still there
        again.study.write_heartbeat(worker, heartbeat.model_copy(update={"pid": ended_process()}))
    assert len(again.study.trials()) == 2  # the third was rated, and could not be stored
    assert rows(again.run()) == expected


@pytest.mark.parametrize("wrong", ["password", "port"])
def test_a_server_that_refuses_is_told_in_one_line(tmp_path, postgres, wrong, impatient):  # noqa: F811
    url = postgres.url(password="Wr0ng") if wrong == "password" else postgres.url()
    url = url.replace(f":{postgres.port}/", ":1/") if wrong == "port" else url
    with pytest.raises(StoreError) as caught:
        begin(tmp_path, Rater(), url)
    message = str(caught.value)
    assert "\n" not in message and PASSWORD not in message and "Wr0ng" not in message
    assert not (tmp_path / "run").exists()
