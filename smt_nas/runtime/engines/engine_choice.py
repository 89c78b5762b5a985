"""Which engine runs calls: the table of engines, and how one is chosen and opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from smt_nas.errors import UnknownName
from smt_nas.runtime.engines.engine import Engine
from smt_nas.runtime.engines.process_pool import ProcessPool, default_workers
from smt_nas.runtime.engines.ray_engine import RayEngine, RayOptions, import_ray

DEFAULT = "local"


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


def check_installed(choice: EngineChoice) -> None:
    """Raise ConfigError where an engine needs a library that is not installed."""
    if choice.name == "ray":
        import_ray()
