"""Workers: functions of one argument on several processes of this machine.

A worker is a plain child that reads (function, argument) from a socket and answers. When this
process ends, however it ends, the socket closes and the worker ends too. A worker that dies (out of
memory, a crash in a library) costs one answer, not the search.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, Pipe, wait
from typing import TypeVar

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")
MOST = 8


def available() -> int:
    """Workers worth having: the cores this process may use, at most `MOST`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(MOST, cores or 1)


class Workers:
    """A number of workers; with one, everything runs in this process.

    A context manager. Workers start when they are first needed.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._children: dict[Connection, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        for connection, child in self._children.items():
            connection.close()
            child.kill()
            child.wait()
        self._children.clear()

    def map(
        self,
        function: Callable[[_Argument], _Answer],
        arguments: Sequence[_Argument],
        lost: Callable[[str], _Answer],
    ) -> Iterator[_Answer]:
        """Answers in the order of `arguments`, each as soon as it and those before it are there.

        Args:
            function: importable by name (or a `functools.partial` of such), and pure.
            arguments: picklable.
            lost: turns the reason into the answer where a worker died.
        """
        if self._count <= 1 or len(arguments) <= 1:
            yield from map(function, arguments)
            return
        answers: dict[int, _Answer] = {}
        busy: dict[Connection, int] = {}
        given = shown = 0
        while shown < len(arguments):
            while given < len(arguments) and len(busy) < self._count:
                connection = self._idle(busy)
                connection.send((function, arguments[given]))
                busy[connection], given = given, given + 1
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                answers[busy.pop(ready)] = self._receive(ready, lost)
            while shown in answers:
                yield answers.pop(shown)
                shown += 1

    def _idle(self, busy: dict[Connection, int]) -> Connection:
        idle = next((c for c in self._children if c not in busy), None)
        return self._start() if idle is None else idle

    def _start(self) -> Connection:
        ours, theirs = Pipe()
        serve = f"from smt_nas.search.workers import serve; serve({theirs.fileno()})"
        child = subprocess.Popen(
            [sys.executable, "-c", serve],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=_environment(),
        )
        theirs.close()
        self._children[ours] = child
        return ours

    def _receive(self, connection: Connection, lost: Callable[[str], _Answer]) -> _Answer:
        try:
            answer: _Answer = connection.recv()
            return answer
        except (EOFError, ConnectionResetError):
            connection.close()
            code = self._children.pop(connection).wait()
            why = signal.Signals(-code).name if code < 0 else f"exit {code}"
            return lost(f"its worker process died ({why}); out of memory?")


def _environment() -> dict[str, str]:
    """One thread a worker, and the package found where this process found it."""
    paths = os.pathsep.join(path for path in sys.path if path)
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}


def serve(handle: int) -> None:
    """Answer until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that leads
    with Connection(handle) as connection:
        while True:
            try:
                function, argument = connection.recv()
                connection.send(function(argument))
            except (EOFError, BrokenPipeError, ConnectionResetError):
                return
