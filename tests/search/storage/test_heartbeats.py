"""Signs of life: who lives, who died, and when that cannot be told yet."""

import os
import time
from datetime import datetime

import pytest

from smt_nas.search.storage import heartbeats
from smt_nas.search.storage.heartbeats import HeartbeatWatch
from smt_nas.search.storage.study_notes import Heartbeat


class Notes:
    """Stands for the notes of a study."""

    def __init__(self):
        self.held = {}

    def read_heartbeats(self):
        return dict(self.held)

    def write_heartbeat(self, worker, heartbeat):
        self.held[worker] = heartbeat


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(heartbeats.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.fixture
def watch(clock):
    """One whose thread is not started: it looks when it is told to."""
    return HeartbeatWatch(Notes(), interval_s=10.0, grace_s=60.0)


def look(watch, clock, seconds, **counts):
    """Let time pass, in steps as the thread makes them, with others' last counts."""
    for worker, count in counts.items():
        watch._study.held[worker] = Heartbeat(count=count, kernel="elsewhere", pid=1)
    for _ in range(int(seconds // 10)):
        clock.now += 10
        watch._look()


def test_a_process_that_counts_on_is_named_and_ended_or_silent_ones_are_not(monkeypatch):
    notes = Notes()
    silent = Heartbeat(count=4, kernel="elsewhere", pid=1)
    notes.held = {"a:1:x": silent, "b:2:x": silent, "c:3:x": silent.model_copy()}
    notes.held["a:1:x"] = silent.model_copy(update={"ended": True})

    def count_on(seconds):
        notes.held["c:3:x"] = silent.model_copy(update={"count": 5})

    monkeypatch.setattr(heartbeats.time, "sleep", count_on)
    assert heartbeats.find_living(notes) == "c:3:x"
    monkeypatch.setattr(heartbeats.time, "sleep", lambda seconds: None)
    assert heartbeats.find_living(notes) is None


def test_who_counts_on_lives_and_who_stops_dies(watch, clock):
    look(watch, clock, 10, other=1)
    assert watch.judge("other") == "unsure"
    look(watch, clock, 10, other=2)
    assert watch.judge("other") == "alive"
    look(watch, clock, 50)
    assert watch.judge("other") == "alive"
    look(watch, clock, 10)
    assert watch.judge("other") == "dead"


def test_who_was_dead_from_the_first_is_told_after_the_grace_period(watch, clock):
    look(watch, clock, 60, other=1)
    assert watch.judge("other") == "unsure"
    look(watch, clock, 10)
    assert watch.judge("other") == "dead"


def test_a_watch_that_slept_itself_takes_nobody_for_dead(watch, clock):
    look(watch, clock, 20, other=1)
    clock.now += 10_000  # a server that was away, a machine that slept
    watch._look()
    assert watch.judge("other") == "unsure"
    look(watch, clock, 10, other=2)
    assert watch.judge("other") == "alive"


def test_a_clock_that_is_set_back_changes_nothing(watch, clock, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    look(watch, clock, 20, other=1)
    look(watch, clock, 10, other=2)
    assert watch.judge("other") == "alive"
    assert datetime.fromtimestamp(time.time()).year < 1971


def test_who_said_goodbye_is_dead_at_once(watch, clock):
    watch._study.held["other"] = Heartbeat(count=3, ended=True)
    assert watch.judge("other") == "dead"
    assert watch.judge("never heard of") == "dead"
    assert watch.judge(watch.worker) == "alive"


@pytest.mark.skipif(heartbeats._name_kernel() is None, reason="only Linux names its boots")
def test_a_process_of_this_system_that_is_gone_is_dead_at_once(watch, clock):
    kernel, free = heartbeats._name_kernel(), 2**22 - 1
    watch._study.held |= {
        "gone": Heartbeat(count=3, kernel=kernel, pid=free),
        "here": Heartbeat(count=3, kernel=kernel, pid=os.getpid()),
    }
    assert watch.judge("gone") == "dead" and watch.judge("here") == "unsure"
