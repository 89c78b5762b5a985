"""Ctrl-C is raised at once, and again where it was dropped."""

import signal
import weakref

import pytest

from smt_nas.runtime.interrupts import InterruptWatch, hold_interrupts, watch_interrupts
from tests.fakes.interrupts import raised_interrupts


@pytest.fixture(autouse=True)
def _default_handler():
    with raised_interrupts():
        yield


class Thing:
    """Something that can be referred to weakly."""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_that_python_drops_is_raised_by_the_next_check():
    thing, watch = Thing(), InterruptWatch()
    with watch_interrupts(watch):
        watch.check()
        reference = weakref.ref(thing, lambda _: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):  # Python may also raise it here, once it is asked
            del thing
            watch.check()
    assert reference() is None


def test_an_interrupt_is_raised_at_once_and_the_handler_of_before_comes_back():
    with watch_interrupts(InterruptWatch()), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_caller_that_handles_it_is_left_alone():
    heard, watch = [], InterruptWatch()
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))
    try:
        with watch_interrupts(watch):
            signal.raise_signal(signal.SIGINT)
            watch.check()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert heard == [signal.SIGINT]


@pytest.mark.parametrize("fails", [False, True])
def test_one_that_is_held_back_is_raised_after_the_block(fails):
    done, watch = [], InterruptWatch()
    with watch_interrupts(watch), pytest.raises(KeyboardInterrupt), hold_interrupts():
        signal.raise_signal(signal.SIGINT)
        done.append(watch.is_pending)
        if fails:
            raise ValueError("it failed by itself")
    assert done == [False] and watch.is_pending
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_second_is_not_held_back():
    done = []
    with pytest.raises(KeyboardInterrupt), hold_interrupts():
        signal.raise_signal(signal.SIGINT)
        done.append("the first")
        signal.raise_signal(signal.SIGINT)
        done.append("the second")
    assert done == ["the first"]


def test_the_second_raises_where_the_first_would_be_put_off_and_through_blocks_in_blocks():
    done, watch = [], InterruptWatch()
    with (
        watch_interrupts(watch),
        pytest.raises(KeyboardInterrupt),
        watch.finish_running(lambda: None),
        hold_interrupts(),
        hold_interrupts(),
    ):
        signal.raise_signal(signal.SIGINT)
        done.append("the first")
        signal.raise_signal(signal.SIGINT)
        done.append("the second")
    assert done == ["the first"] and watch.is_pending


def test_the_first_is_put_off_after_blocks_in_blocks():
    done, watch = [], InterruptWatch()
    with watch_interrupts(watch), pytest.raises(KeyboardInterrupt):
        with watch.finish_running(lambda: None):
            with hold_interrupts(), hold_interrupts():
                signal.raise_signal(signal.SIGINT)
            done.append(watch.is_pending)
        watch.check()
    assert done == [True]


def test_nothing_is_held_where_nothing_was_heard():
    with hold_interrupts():
        pass
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
