"""Workers that each have several calls under way, which take turns: trainings that share a GPU.

A call is a generator (`turns.Steps`). A worker makes one step of each in turn, so that what one of
them started on a GPU goes on while the others start theirs. Answers come as they are there. A call
that raises costs its own answer, a worker that dies those of its calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

from smt_nas.errors import one_line
from smt_nas.runtime.engines.process_pool import (
    DYING_S,
    end_worker,
    explain_death,
    follow_leader,
    start_worker,
)
from smt_nas.runtime.turns import Steps

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")
_GONE = (EOFError, BrokenPipeError, ConnectionResetError)
SAVING_S = 60.0
"""How long calls that are to stop may take to save what they have."""


class _Call(NamedTuple):
    """What a worker is told to begin."""

    number: int
    function: Callable[[Any], Steps[Any]]
    argument: Any


class _Reply(NamedTuple):
    """What a call gave; or why it failed."""

    number: int
    answer: Any
    failure: str | None


class _Worker:
    """A process, and the calls that it has under way."""

    def __init__(self) -> None:
        self.connection, self.child = start_worker(serve_in_turn)
        self.busy = set[int]()

    def give(self, call: _Call) -> None:
        self.busy.add(call.number)
        with suppress(*_GONE):  # it died, as will be read
            self.connection.send(call)

    def receive(self) -> list[_Reply]:
        """The next reply; where it died, one for each call that it had."""
        try:
            reply: _Reply = self.connection.recv()
        except _GONE:
            reason = explain_death(self.end(DYING_S))
            lost = [_Reply(number, None, reason) for number in sorted(self.busy)]
            self.busy.clear()
            return lost
        self.busy.discard(reply.number)
        return [reply]

    def end(self, patience: float) -> int:
        self.connection.close()
        return end_worker(self.child, patience)


class TurnPool:
    """A number of workers, with a number of calls each. A context manager.

    When it ends while calls are under way, their workers get SIGTERM and a minute: what heeds the
    signal can save.
    """

    def __init__(self, count: int, at_once: int) -> None:
        self._count = count
        self._at_once = at_once
        self._workers: list[_Worker] = []

    def __enter__(self) -> TurnPool:
        return self

    def __exit__(self, *exception: object) -> None:
        under_way = [worker for worker in self._workers if worker.busy]
        for worker in under_way:
            with suppress(OSError):
                worker.child.terminate()
        deadline = time.monotonic() + SAVING_S
        while under_way and time.monotonic() < deadline:
            self._receive(under_way, deadline - time.monotonic())
            under_way = [worker for worker in under_way if worker.busy]
        for worker in self._workers:
            worker.end(0.0)

    def map(
        self,
        function: Callable[[_Argument], Steps[_Answer]],
        arguments: Sequence[_Argument],
        lost: Callable[[str], _Answer],
    ) -> Iterator[tuple[int, _Answer]]:
        """The number of each argument and its answer, as they come.

        Args:
            function: importable by name.
            arguments: picklable.
            lost: turns the reason into the answer where a call raised or a worker died.
        """
        given, answered = 0, 0
        while answered < len(arguments):
            while given < len(arguments) and (worker := self._find_free()) is not None:
                worker.give(_Call(given, function, arguments[given]))
                given += 1
            for reply in self._receive([w for w in self._workers if w.busy], None):
                failed = reply.failure is not None
                yield reply.number, lost(reply.failure or "") if failed else reply.answer
                answered += 1

    def _find_free(self) -> _Worker | None:
        """The worker with the fewest calls, a new one if need be; None where all have enough."""
        if len(self._workers) < self._count:
            self._workers.append(_Worker())
            return self._workers[-1]
        least = min(self._workers, key=lambda worker: len(worker.busy))
        return least if len(least.busy) < self._at_once else None

    def _receive(self, workers: Sequence[_Worker], patience: float | None) -> list[_Reply]:
        """Wait for replies; those that died are workers no more."""
        by_connection = {worker.connection: worker for worker in workers}
        replies = []
        for ready in wait(list(by_connection), patience):
            assert isinstance(ready, Connection)
            worker = by_connection[ready]
            replies += worker.receive()
            if ready.closed:
                self._workers.remove(worker)
        return replies


def serve_in_turn(handle: int) -> None:
    """Make the steps of all calls in turn, until the other side is gone."""
    follow_leader(handle)
    calls: dict[int, Steps[Any]] = {}
    with Connection(handle) as connection, suppress(*_GONE):
        while True:
            while connection.poll(0 if calls else None):
                call: _Call = connection.recv()
                calls[call.number] = _begin(call)
            for number, steps in list(calls.items()):
                reply = _make_step(number, steps)
                if reply is not None:
                    del calls[number]
                    connection.send(reply)


def _begin(call: _Call) -> Steps[Any]:
    """The steps of a call; what it raises before the first is raised at that."""
    return (yield from call.function(call.argument))


def _make_step(number: int, steps: Steps[Any]) -> _Reply | None:
    """What the call gave, if this was its last step."""
    try:
        next(steps)
    except StopIteration as end:
        return _Reply(number, end.value, None)
    except Exception as error:  # of this call alone; the others go on
        return _Reply(number, None, one_line(error))
    return None
