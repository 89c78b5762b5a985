"""Where many calls of one function run: `Engine`, and the table of engines.

An engine is a row of ENGINES: processes of this machine today. What it is handed is importable by
name and picklable, so that it may as well run on another machine; what comes back is in the order
of what went in, whatever ran where, so results do not depend on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, Self, TypeVar

from smt_nas.errors import UnknownName
from smt_nas.runtime.process_pool import ProcessPool

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")
DEFAULT = "local"


class Engine(Protocol):
    """Runs calls on workers; a context manager, whose workers end with it."""

    def __enter__(self) -> Self:
        """Workers may start now, or when they are first needed."""

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


ENGINES: dict[str, Callable[[int], Engine]] = {
    DEFAULT: ProcessPool,
}
"""How an engine of so many workers is made."""


def make_engine(workers: int, name: str = DEFAULT) -> Engine:
    """An engine of ENGINES with a number of workers. Raises UnknownName."""
    if name not in ENGINES:
        raise UnknownName("engine", name, ENGINES)
    return ENGINES[name](workers)
