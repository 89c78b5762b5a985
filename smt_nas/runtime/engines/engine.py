"""`Engine`: where many calls of one function run.

An engine is a row of ENGINES: processes of this machine, or tasks of a Ray cluster. What it is
handed is importable by name and picklable, so that it may as well run on another machine; answers
belong to positions, whatever ran where, so results do not depend on the engine.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import Protocol, Self, TypeVar

from smt_nas.runtime.engines.argument_feed import in_order

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class Engine(Protocol):
    """Runs calls on workers; a context manager, whose workers end with it."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Workers may start now, or when they are first needed."""

    @abstractmethod
    def __exit__(self, *exception: object) -> None:
        """End all workers, busy ones too."""

    def map(
        self,
        function: Callable[[_Item], _Answer],
        arguments: Sequence[_Item],
        lost: Callable[[str], _Answer],
        timeout: float | None = None,
        prepare: Callable[[], object] | None = None,
        proceed: Callable[[], bool] | None = None,
    ) -> Iterator[_Answer]:
        """Answers in the order of `arguments`, each as soon as it and those before it are there.

        Args:
            function: importable by name (or a `functools.partial` of such), and pure.
            arguments: picklable.
            lost: turns the reason into the answer where a worker died or took too long.
            timeout: seconds for one argument; `math.inf`: any, yet never in this process; None:
                the function is trusted to end.
            prepare: what a worker does before, off the clock, e.g. a slow import.
            proceed: asked here before an argument is given out; once it says no, those that run
                are answered, and no others.
        """
        todo = arguments if proceed is None else takewhile(lambda _: proceed(), arguments)
        if timeout is None and self.runs_here(len(arguments)):
            yield from map(function, todo)
        else:
            yield from in_order(self.map_unordered(function, todo, lost, timeout, prepare))

    def runs_here(self, count: int) -> bool:
        """Whether so many calls that are trusted to end are made in this process."""
        return False

    @abstractmethod
    def map_unordered(
        self,
        function: Callable[[_Item], _Answer],
        arguments: Iterable[_Item],
        lost: Callable[[str], _Answer],
        timeout: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> Iterator[tuple[int, _Answer]]:
        """Answers with the position of their argument, each as soon as it is there.

        Arguments are asked for one by one, as workers become free. A worker that is killed costs
        nothing the first time: its argument goes to another one. Parameters as of `map`.
        """
