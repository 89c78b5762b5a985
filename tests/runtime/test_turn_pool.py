"""Calls that take turns in workers: answers as they come, a failure costs its own call alone."""

import os
import signal
import time
from contextlib import contextmanager

import pytest

from smt_nas.runtime.turn_pool import TurnPool
from smt_nas.runtime.turns import enter_each, finish


def count(argument):
    """Steps, of which its process keeps a log."""
    name, steps = argument
    for _ in range(steps):
        with open(name.parent / f"log-{os.getpid()}", "a") as log:
            log.write(name.name + "\n")
        yield
    return name.name


def fail_at_b(name):
    yield
    if name == "b":
        raise ValueError("no b")
    yield
    return name


def fail_at_once(name):
    """Not yet in steps, as a device that cannot be had."""
    if name == "b":
        raise ValueError("no b")
    return fail_at_b(name)


def die_at_b(name):
    yield
    if name == "b":
        os.kill(os.getpid(), signal.SIGKILL)
    yield
    return name


def save_at_sigterm(path):
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    path.with_suffix(".begun").touch()
    while not stopped:
        time.sleep(0.01)
        yield
    path.touch()
    return "saved"


def wait_for(argument):
    """Answers once another call of its own has made a file."""
    name, other = argument
    while other is not None and not other.exists():
        yield
    name.touch()
    return name.name


def test_calls_of_a_worker_take_turns_and_answer_as_they_end(tmp_path):
    """The first ends only after the third, which begins when the second has ended."""
    a, b, c = (tmp_path / name for name in "abc")
    with TurnPool(1, 2) as pool:
        answers = list(pool.map(wait_for, [(a, c), (b, None), (c, b)], str.upper))
    assert answers == [(1, "b"), (2, "c"), (0, "a")]


def test_workers_are_given_calls_evenly(tmp_path):
    with TurnPool(2, 2) as pool:
        list(pool.map(count, [(tmp_path / f"c{i}", 3) for i in range(4)], str.upper))
    logs = [set(log.read_text().split()) for log in tmp_path.glob("log-*")]
    assert sorted(map(len, logs)) == [2, 2]


@pytest.mark.parametrize("call", [fail_at_b, fail_at_once])
def test_a_call_that_raises_costs_its_own_answer(call):
    with TurnPool(1, 3) as pool:
        answers = dict(pool.map(call, "abc", str.upper))
    assert (answers[0], answers[2]) == ("a", "c")
    assert "NO B" in answers[1]


def test_a_worker_that_dies_costs_the_answers_of_its_calls_and_is_replaced():
    with TurnPool(1, 2) as pool:
        answers = dict(pool.map(die_at_b, "abcd", str.upper))
    assert all("SIGKILL" in answers[i] for i in (0, 1))
    assert (answers[2], answers[3]) == ("c", "d")


def test_a_pool_that_is_left_lets_its_calls_save(tmp_path):
    files = [tmp_path / "a", tmp_path / "b"]
    with pytest.raises(KeyboardInterrupt), TurnPool(2, 1) as pool:
        for _ in pool.map(save_or_answer, ["now", *files], str.upper):
            while not all(file.with_suffix(".begun").exists() for file in files[:1]):
                time.sleep(0.01)
            raise KeyboardInterrupt
    assert files[0].exists()


def save_or_answer(argument):
    yield
    if argument == "now":
        return "now"
    return (yield from save_at_sigterm(argument))


def test_a_context_is_entered_for_each_step_and_left_between_them():
    inside = []

    @contextmanager
    def entered():
        inside.append(True)
        yield
        inside.pop()

    def steps():
        for _ in range(2):
            assert inside
            yield
        assert inside
        return 7

    outer = enter_each(steps(), entered)
    assert next(outer) is None and not inside
    assert finish(outer) == 7 and not inside
