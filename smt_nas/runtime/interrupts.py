"""A Ctrl-C that is not lost, and one that lets what runs finish.

Python drops what is raised in a weakref callback or a destructor, Ctrl-C included, and SQLAlchemy
has many of both beside every commit: of searches that were stopped right after a trial was stored,
some went on. So the signal is remembered as well, and asked for between trials. Amid a query
SQLAlchemy would log what a Ctrl-C breaks, traceback and all, so there it is held back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class InterruptWatch:
    """Remembers a Ctrl-C, beside the KeyboardInterrupt that it raises."""

    def __init__(self) -> None:
        self._pending = False
        self._tell: Callable[[], None] | None = None  # while what runs is finished first

    @property
    def is_pending(self) -> bool:
        """Whether there was one."""
        return self._pending

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle the signal."""
        is_first, self._pending = not self._pending, True
        if self._tell is not None and is_first:
            # by a thread: here the lock of what is being printed may be held
            threading.Thread(target=self._tell, daemon=True).start()
            return
        signal.default_int_handler(number, frame)

    def check(self) -> None:
        """Raise KeyboardInterrupt where there was a Ctrl-C that was dropped, or put off."""
        if self._pending:
            raise KeyboardInterrupt

    @contextmanager
    def finish_running(self, tell: Callable[[], None]) -> Iterator[None]:
        """Put the first Ctrl-C of a block off; the second raises at once. Then `check`.

        Args:
            tell: says that what runs is finished first; called in another thread.
        """
        self._tell = tell
        try:
            yield
        finally:
            self._tell = None


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


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Hold a Ctrl-C back until a block has ended, and raise it then; the second raises at once.

    For short blocks that must not be broken off. In other threads, which hear of no signal, and
    where Ctrl-C is ignored, nothing changes.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    held: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append((number, frame))
        if len(held) == 2:
            handler(*held[0])  # else who is told of a Ctrl-C would take the second for the first
        if len(held) > 1:
            handler(number, frame)

    signal.signal(signal.SIGINT, hold)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if len(held) == 1:
            handler(*held[0])
