"""Process pool: functions of one argument on several processes of this machine.

A worker is a plain child that reads (function, argument) from a socket and answers. When this
process ends, however it ends, the worker ends too. A worker that dies (out of memory, a crash in a
library) or takes too long costs one answer, not the search; where it was killed, another one tries
first. What it prints goes to stderr.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from threading import Thread
from typing import Any, TypeVar

from smt_nas.runtime.engines.argument_feed import ArgumentFeed
from smt_nas.runtime.engines.engine import Engine
from smt_nas.runtime.engines.gpu_assignment import assign_gpu
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


@dataclass(frozen=True)
class _Lost:
    """Why there is no answer.

    Attributes:
        reason: in words.
        by_signal: the worker was killed, as by a machine that is short of memory; it may have been
            the turn of another, so that a second one may do better.
    """

    reason: str
    by_signal: bool = False


class ProcessPool(Engine):
    """A number of workers; with one, what can be trusted to end runs in this process.

    A context manager. Workers start when they are first needed.

    Args:
        count: of workers.
        gpus: names for `CUDA_VISIBLE_DEVICES`, of which workers get one each in turns; none leaves
            them what this process has.
    """

    def __init__(self, count: int, gpus: Sequence[str] = ()) -> None:
        self._count = count
        self._gpus = gpus
        self._slots: dict[Connection, int] = {}
        self._children: dict[Connection, subprocess.Popen[bytes]] = {}
        self._busy: dict[Connection, int] = {}  # with which argument
        self._began: dict[Connection, float] = {}  # at what time, once prepared

    def __enter__(self) -> ProcessPool:
        return self

    def __exit__(self, *exception: object) -> None:
        for connection in list(self._children):
            self._stop(connection)

    def runs_here(self, count: int) -> bool:
        """One call is not worth a worker; `map_unordered` sees to a pool of one worker."""
        return count <= 1

    def map_unordered(
        self,
        function: Callable[[_Argument], _Answer],
        arguments: Iterable[_Argument],
        lost: Callable[[str], _Answer],
        timeout: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> Iterator[tuple[int, _Answer]]:
        """Answers as they come: `Engine.map_unordered`; with one worker, what is trusted to end
        runs in this process."""
        if timeout is None and self._count <= 1:
            yield from enumerate(map(function, arguments))
            return
        for connection in list(self._busy):  # with a map that was given up
            self._stop(connection)
        feed = ArgumentFeed(arguments)
        while True:
            while len(self._busy) < max(1, self._count) and (item := feed.take()) is not None:
                number, argument = item
                self._give(number, (_prepare, prepare), (function, argument))
            if not self._busy:
                return
            for number, answer in self._wait(timeout):
                if isinstance(answer, _Lost):
                    if answer.by_signal and feed.retry(number):
                        continue
                    answer = lost(answer.reason)
                feed.close(number)
                yield number, answer

    def _give(self, number: int, *messages: tuple[Callable[[Any], object], Any]) -> None:
        idle = next((c for c in self._children if c not in self._busy), None)
        connection = self._start() if idle is None else idle
        self._busy[connection] = number
        with suppress(BrokenPipeError, ConnectionResetError):  # it died idle, as will be read
            for message in messages:
                connection.send(message)

    def _start(self) -> Connection:
        slot = next(i for i in range(self._count + 1) if i not in self._slots.values())
        connection, child = start_worker(serve, assign_gpu(self._gpus, slot))
        self._children[connection], self._slots[connection] = child, slot
        return connection

    def _wait(self, timeout: float | None) -> list[tuple[int, Any]]:
        """Wait; then the answers that are there by number, `_Lost` for what will never be."""
        answers: list[tuple[int, Any]] = []
        for ready in wait(list(self._busy), self._patience(timeout)):
            assert isinstance(ready, Connection)
            number = self._busy[ready]
            try:
                answer = ready.recv()
            except (EOFError, OSError):  # also amid an answer
                code = self._stop(ready, DYING_S)
                answers.append((number, _Lost(explain_death(code), by_signal=code < 0)))
                continue
            if ready in self._began:
                answers.append((number, answer))
                del self._busy[ready], self._began[ready]
            else:
                self._began[ready] = time.monotonic()  # that was the answer to `_prepare`
        if timeout is not None:
            start = time.monotonic() - timeout
            for late in [c for c, began in self._began.items() if began < start]:
                answers.append((self._busy[late], _Lost(explain_timeout(timeout))))
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
        del self._slots[connection]
        self._busy.pop(connection, None)
        self._began.pop(connection, None)
        connection.close()
        return end_worker(child, patience)


def start_worker(
    serve: Callable[[int], None], environment: Mapping[str, str] | None = None
) -> tuple[Connection, subprocess.Popen[bytes]]:
    """Start a process that serves at the other end of a connection.

    Args:
        serve: a function of this package, of the file descriptor of its end.
        environment: variables beside, or instead of, those of this process.
    """
    ours, theirs = Pipe()
    code = f"from {serve.__module__} import {serve.__name__} as serve; serve({theirs.fileno()})"
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=_STDERR,
        env=_child_environment() | dict(environment or {}),
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


def explain_timeout(timeout: float) -> str:
    """Why a call was given up."""
    return f"took more than {timeout:g} s; --timeout allows more"


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
