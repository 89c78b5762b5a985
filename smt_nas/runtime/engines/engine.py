"""Where many calls of one function run: `Engine`, and the table of engines.

An engine is a row of ENGINES: processes of this machine, or tasks of a Ray cluster. What it is
handed is importable by name and picklable, so that it may as well run on another machine; answers
belong to positions, whatever ran where, so results do not depend on the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeVar

from smt_nas.errors import UnknownName
from smt_nas.runtime.engines.process_pool import ProcessPool, default_workers
from smt_nas.runtime.engines.ray_engine import RayEngine, RayOptions

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


@dataclass(frozen=True)
class EngineChoice:
    """Which engine, and how large.

    Attributes:
        name: of ENGINES.
        workers: calls at a time; None for what suits the engine.
        gpus: names of GPUs that local workers take turns in.
        ray: of the engine of that name.
    """

    name: str = DEFAULT
    workers: int | None = None
    gpus: tuple[str, ...] = ()
    ray: RayOptions = field(default_factory=RayOptions)


Workers = int | EngineChoice | None
"""How many processes of this machine, None for one a core; or another engine."""
ENGINES: dict[str, Callable[[EngineChoice], Engine]] = {
    DEFAULT: lambda choice: ProcessPool(choice.workers or default_workers(), choice.gpus),
    "ray": lambda choice: RayEngine(choice.workers, choice.ray),
}
"""How an engine is made."""


def make_engine(workers: int) -> Engine:
    """The local engine with a number of workers."""
    return open_engine(EngineChoice(workers=workers))


def choose_engine(workers: Workers) -> EngineChoice:
    """The engine that is meant."""
    return workers if isinstance(workers, EngineChoice) else EngineChoice(workers=workers)


def open_engine(choice: EngineChoice) -> Engine:
    """An engine of ENGINES. Raises UnknownName."""
    if choice.name not in ENGINES:
        raise UnknownName("engine", choice.name, ENGINES)
    return ENGINES[choice.name](choice)
