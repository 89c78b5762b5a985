"""Waiting for another thread, without a time by which it must be there."""

import time

WATCHDOG_S = 600  # ends a test that would hang; no machine is that slow


def wait_until(condition):
    """Return once a condition holds."""
    end = time.monotonic() + WATCHDOG_S
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.001)
