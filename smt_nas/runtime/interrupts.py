"""A Ctrl-C that is not lost.

Python drops what is raised in a weakref callback or a destructor, Ctrl-C included, and SQLAlchemy
has many of both beside every commit: of searches that were stopped right after a trial was stored,
some went on. So the signal is remembered as well, and asked for between trials.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class InterruptWatch:
    """Remembers a Ctrl-C, beside the KeyboardInterrupt that it raises."""

    def __init__(self) -> None:
        self._pending = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        self._pending = True
        signal.default_int_handler(number, frame)

    def check(self) -> None:
        """Raise KeyboardInterrupt where one was dropped."""
        if self._pending:
            raise KeyboardInterrupt


@contextmanager
def watch_interrupts(watch: InterruptWatch) -> Iterator[None]:
    """Watch for Ctrl-C during a block; not where the caller handles or ignores it itself."""
    in_main_thread = threading.current_thread() is threading.main_thread()  # it alone hears signals
    if not in_main_thread or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, watch.handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
