"""Signals that tests raise in their own process."""

import signal
from contextlib import contextmanager


@contextmanager
def raised_interrupts():
    """Python's own handler of Ctrl-C for a block; one that escapes from it fails the test.

    A shell starts what it puts in the background with Ctrl-C ignored.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt as error:
        raise AssertionError("a Ctrl-C escaped") from error
    finally:
        signal.signal(signal.SIGINT, before)
