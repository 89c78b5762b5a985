"""Process pool: functions of one argument on several processes of this machine.

A worker is a plain child that reads (function, argument) from a socket and answers. When this
process ends, however it ends, the worker ends too. A worker that dies (out of memory, a crash in a
library) or takes too long costs one answer, not the search. What it prints goes to stderr.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from multiprocessing.connection import Connection, Pipe, wait
from threading import Thread
from typing import Any, TypeVar

from smt_nas.runtime.host import available_cores

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")
MOST = 8
_STDERR = 2
_NAP_S = 3600.0  # the longest wait in one go: the system's own limit is some days
_LOOK_MS = 1000
DYING_S = 5.0  # from the end of a worker's socket to the end of its process


def default_workers() -> int:
    """Worker processes worth having: a core each, at most `MOST`."""
    return min(MOST, available_cores())


class ProcessPool:
    """A number of workers; with one, what can be trusted to end runs in this process.

    A context manager. Workers start when they are first needed.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._children: dict[Connection, subprocess.Popen[bytes]] = {}
        self._busy: dict[Connection, int] = {}  # with which argument
        self._began: dict[Connection, float] = {}  # at what time, once prepared

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *exception: object) -> None:
        for connection in list(self._children):
            self._stop(connection)

    def map(
        self,
        function: Callable[[_Argument], _Answer],
        arguments: Sequence[_Argument],
        lost: Callable[[str], _Answer],
        timeout: float | None = None,
        prepare: Callable[[], object] | None = None,
        proceed: Callable[[], bool] | None = None,
    ) -> Iterator[_Answer]:
        """Answers in order: `Engine.map`.

        With one worker, a function that is trusted to end runs in this process.
        """
        proceed = proceed or (lambda: True)
        if timeout is None and min(self._count, len(arguments)) <= 1:
            yield from map(function, takewhile(lambda _: proceed(), arguments))
            return
        for connection in list(self._busy):  # with a map that was given up
            self._stop(connection)
        answers: dict[int, _Answer] = {}
        given = shown = 0
        while shown < len(arguments):
            while given < len(arguments) and len(self._busy) < max(1, self._count):
                if not proceed():
                    arguments = arguments[:given]
                    break
                self._give(given, (_prepare, prepare), (function, arguments[given]))
                given += 1
            if shown < len(arguments):
                answers |= self._answers(lost, timeout)
            while shown in answers:
                yield answers.pop(shown)
                shown += 1

    def _give(self, number: int, *messages: tuple[Callable[[Any], object], Any]) -> None:
        idle = next((c for c in self._children if c not in self._busy), None)
        connection = self._start() if idle is None else idle
        self._busy[connection] = number
        with suppress(BrokenPipeError, ConnectionResetError):  # it died idle, as will be read
            for message in messages:
                connection.send(message)

    def _start(self) -> Connection:
        connection, child = start_worker(serve)
        self._children[connection] = child
        return connection

    def _answers(self, lost: Callable[[str], _Answer], timeout: float | None) -> dict[int, _Answer]:
        """Wait; then the answers that are there, and those that will never be, by number."""
        answers: dict[int, _Answer] = {}
        for ready in wait(list(self._busy), self._patience(timeout)):
            assert isinstance(ready, Connection)
            number = self._busy[ready]
            try:
                answer: _Answer = ready.recv()
            except (EOFError, ConnectionResetError):
                answers[number] = lost(explain_death(self._stop(ready, DYING_S)))
                continue
            if ready in self._began:
                answers[number] = answer
                del self._busy[ready], self._began[ready]
            else:
                self._began[ready] = time.monotonic()  # that was the answer to `_prepare`
        if timeout is not None:
            start = time.monotonic() - timeout
            for late in [c for c, began in self._began.items() if began < start]:
                answers[self._busy[late]] = lost(
                    f"took more than {timeout:g} s; --timeout allows more"
                )
                self._stop(late)
        return answers

    def _patience(self, timeout: float | None) -> float | None:
        """Seconds until a worker is late."""
        if timeout is None or not self._began:
            return None
        left = min(self._began.values()) + timeout - time.monotonic()
        return min(max(left, 0.0), _NAP_S)

    def _stop(self, connection: Connection, patience: float = 0.0) -> int:
        """End a worker and all that it started; its exit code, or minus its signal."""
        child = self._children.pop(connection)
        self._busy.pop(connection, None)
        self._began.pop(connection, None)
        connection.close()
        return end_worker(child, patience)


def start_worker(serve: Callable[[int], None]) -> tuple[Connection, subprocess.Popen[bytes]]:
    """Start a process that serves at the other end of a connection.

    Args:
        serve: a function of this package, of the file descriptor of its end.
    """
    ours, theirs = Pipe()
    code = f"from {serve.__module__} import {serve.__name__} as serve; serve({theirs.fileno()})"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=_STDERR,
        env=_child_environment(),
        process_group=0,  # so that what it starts can be ended with it
    )
    theirs.close()
    return ours, child


def end_worker(child: subprocess.Popen[bytes], patience: float) -> int:
    """End a worker and all that it started; its exit code, or minus its signal."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(patience)
    with suppress(ProcessLookupError, PermissionError):  # macOS forbids it of the dead
        os.killpg(child.pid, signal.SIGKILL)
    return child.wait()


def explain_death(code: int) -> str:
    """Why a worker is no more, by its exit code."""
    if code >= 0:
        return f"its worker process ended (exit {code})"
    guess = "; out of memory?" if -code == signal.SIGKILL else ""
    return f"its worker process died ({signal.Signals(-code).name}){guess}"


def _child_environment() -> dict[str, str]:
    """One thread a worker, and the package found where this process found it."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


def _prepare(task: Callable[[], object] | None) -> None:
    if task is not None:
        task()


def serve(handle: int) -> None:
    """Answer until the other side is gone."""
    follow_leader(handle)
    with Connection(handle) as connection:
        while True:
            try:
                function, argument = connection.recv()
                connection.send(function(argument))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                return


def follow_leader(handle: int) -> None:
    """Leave Ctrl-C to the process that leads, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_follow, args=(os.getppid(), handle), daemon=True).start()


def _follow(leader: int, handle: int) -> None:
    """End with the process that leads, also amid a function that would not end.

    The system tells at once that the other end of the socket is closed. Where a process that the
    leader forked still holds that end, another parent tells it within a second.
    """
    watch = select.poll()
    watch.register(handle, 0)  # asks for nothing: a hang-up is told anyway
    while os.getppid() == leader and not watch.poll(_LOOK_MS):
        pass
    with suppress(ProcessLookupError):
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)
