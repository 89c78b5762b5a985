"""Calls as tasks of a Ray cluster: the engine of many machines.

A task runs its call in a child process of its own, as the local engine does: there a call that
hangs, or grows until it is killed, costs one answer with the reason. Ray chooses the node, gives it
its GPUs, and says when a node died: then the call runs once more, elsewhere. An answer belongs to
the task that was asked last, so that what a cut-off node still says changes nothing.
"""

from __future__ import annotations

import math
import os
import pickle
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from smt_nas.errors import ConfigError
from smt_nas.runtime.engines.argument_feed import ArgumentFeed
from smt_nas.runtime.engines.engine import Engine
from smt_nas.runtime.engines.process_pool import ProcessPool
from smt_nas.runtime.imports import import_optional, quiet_libraries

_Argument = TypeVar("_Argument")
_Answer = TypeVar("_Answer")
LOCAL, AUTO = "local", "auto"
_CONNECT_S = 10.0
CLUSTER_S = 30.0  # to join a cluster; Ray itself tries for more than a minute
_LOOK_S = 5.0  # between two looks at how many tasks the cluster has room for
ROOM_S = 300.0  # to wait for a node that is large enough: a cluster may be starting one


@dataclass(frozen=True)
class RayOptions:
    """Where tasks run, and what each takes.

    Attributes:
        address: `auto` for the cluster of this machine, `local` for one of this process, or
            HOST:PORT.
        cpus: of a task.
        gpus: of a task; None for one where the cluster has any.
    """

    address: str = AUTO
    cpus: float = 1.0
    gpus: float | None = None


@dataclass(frozen=True)
class _Lost:
    reason: str


class RayEngine(Engine):
    """An engine whose workers are tasks of Ray; nothing runs in this process.

    Args:
        workers: tasks at a time; None for as many as the cluster has room for.
        options: of Ray.
    """

    def __init__(self, workers: int | None, options: RayOptions) -> None:
        self._workers = workers
        self._options = options
        self._ray: Any = None
        self._left = ExitStack()
        self._running: dict[Any, int] = {}  # with which argument
        self._had_room = math.inf  # when a node was last seen that a task fits

    def __enter__(self) -> RayEngine:
        with ExitStack() as stack:
            stack.enter_context(_keep_sigterm())
            self._ray = _connect(self._options)
            stack.callback(self._ray.shutdown)
            stack.callback(self._cancel)
            self._left = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._left.close()

    def map_unordered(
        self,
        function: Callable[[_Argument], _Answer],
        arguments: Iterable[_Argument],
        lost: Callable[[str], _Answer],
        timeout: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> Iterator[tuple[int, _Answer]]:
        """Answers as they come: `Engine.map_unordered`."""
        self._cancel()  # of a map that was given up
        feed = ArgumentFeed(arguments)
        place = _Place(os.getcwd(), tuple(path for path in sys.path if path))
        limit_s = math.inf if timeout is None else timeout
        task, self._had_room = self._make_task(), time.monotonic()
        while True:
            while len(self._running) < self._count_slots() and (item := feed.take()) is not None:
                number, argument = item
                call = pickle.dumps(_Call(function, argument, limit_s, prepare))
                self._running[task.remote(place, call)] = number
            if not self._running:
                return
            ready, _ = self._ray.wait(list(self._running), num_returns=1, timeout=_LOOK_S)
            self._check_room(is_answered=bool(ready))
            for reference in ready:
                number = self._running.pop(reference)
                answer = self._read(reference)
                if isinstance(answer, _Died):
                    if feed.retry(number):
                        continue
                    answer = lost(answer.reason)
                elif isinstance(answer, _Lost):
                    answer = lost(answer.reason)
                feed.close(number)
                yield number, answer

    def _make_task(self) -> Any:
        cpus, gpus = self._count_resources()
        return self._ray.remote(max_retries=0, num_cpus=cpus, num_gpus=gpus)(_run_call)

    def _count_resources(self) -> tuple[float, float]:
        """CPUs and GPUs of a task."""
        gpus = self._options.gpus
        if gpus is None:
            gpus = 1.0 if self._ray.cluster_resources().get("GPU", 0) else 0.0
        return self._options.cpus, gpus

    def _count_slots(self) -> int:
        """Tasks that may be under way: nodes come and go."""
        if self._workers is not None:
            return self._workers
        resources, (cpus, gpus) = self._ray.cluster_resources(), self._count_resources()
        slots = resources.get("CPU", 0) / cpus if cpus else math.inf
        if gpus:
            slots = min(slots, resources.get("GPU", 0) / gpus)
        return max(1, int(min(slots, 10_000)))

    def _check_room(self, is_answered: bool) -> None:
        """Raise ConfigError where for long no node was large enough; Ray would wait for ever."""
        if is_answered:
            self._had_room = time.monotonic()
            return
        cpus, gpus = self._count_resources()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        sizes = [(node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes]
        if any(cpus <= size[0] and gpus <= size[1] for size in sizes):
            self._had_room = time.monotonic()
        if time.monotonic() - self._had_room < ROOM_S:
            return
        largest = max(sizes, default=(0.0, 0.0))
        raise ConfigError(
            f"--engine ray: a node must have {cpus:g} CPUs and {gpus:g} GPUs for a network (got "
            f"{largest[0]:g} and {largest[1]:g} on the largest, for {ROOM_S:g} s). Add a node, or "
            "lower --trial-cpus and --trial-gpus."
        )

    def _read(self, reference: Any) -> Any:
        """The answer of a task that has ended."""
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError:  # of this file: a bug is not to be hidden
            raise
        except self._ray.exceptions.RayError as error:
            kind = type(error).__name__
            return _Died(f"its Ray worker or node died, twice ({kind})")

    def _cancel(self) -> None:
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._running.clear()


@dataclass(frozen=True)
class _Died:
    reason: str


@dataclass(frozen=True)
class _Place:
    """Where the driver imports from; of use on machines that share its files.

    Attributes:
        folder: its working directory.
        paths: its module path.
    """

    folder: str
    paths: tuple[str, ...]


@dataclass(frozen=True)
class _Call:
    function: Callable[[Any], Any]
    argument: Any
    timeout: float
    prepare: Callable[[], object] | None


def _run_call(place: _Place, pickled: bytes) -> Any:
    """Run a call in a child of a Ray worker; `_Lost` where there is no answer."""
    sys.path += [path for path in place.paths if path not in sys.path and os.path.isdir(path)]
    if os.path.isdir(place.folder):
        os.chdir(place.folder)
    call: _Call = pickle.loads(pickled)
    pool = _keep_pool(os.environ.get("CUDA_VISIBLE_DEVICES"))
    [answer] = pool.map_unordered(call.function, [call.argument], _Lost, call.timeout, call.prepare)
    return answer[1]


@cache
def _keep_pool(gpus: str | None) -> ProcessPool:
    """The child of this Ray worker; another one where Ray gave the worker other GPUs."""
    return ProcessPool(1)


@contextmanager
def _keep_sigterm() -> Iterator[None]:
    """Put back what this process does on SIGTERM: Ray sets a handler of its own, and leaves it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def import_ray() -> Any:
    """The library. Raises ConfigError: it is not installed."""
    return import_optional(
        "ray", 'Install it: pip install "smt-nas[ray]".', "--engine ray", error=ConfigError
    )


def _connect(options: RayOptions) -> Any:
    """Ray, connected. Raises ConfigError with the reason, at the latest after a time limit."""
    where = f"--ray-address {options.address}"
    ray = import_ray()
    _check_answer(options.address, where)
    quiet = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if options.address != LOCAL:
        quiet.pop("include_dashboard")  # the cluster decides
        _check_cluster(options.address, where)
    try:
        with quiet_libraries():
            ray.init(address=options.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"{where}: no Ray cluster answers ({reason}). Start one: ray start --head, or choose "
            "--ray-address local."
        ) from error
    return ray


def _check_cluster(address: str, where: str) -> None:
    """Join a cluster in another process first, which is left where it takes too long."""
    if address == AUTO:  # found by its files, without a wait
        return
    late = f"no answer within {CLUSTER_S:g} s"
    with ProcessPool(1) as pool:
        [reason] = pool.map(_join_cluster, [address], lambda _: late, CLUSTER_S, _import_ray)
    if reason:
        raise ConfigError(
            f"{where}: is no Ray cluster ({reason}). Start one there: ray start --head, or choose "
            "--ray-address local."
        )


def _import_ray() -> None:
    import ray  # noqa: F401, off the clock


def _join_cluster(address: str) -> str:
    """Why a cluster cannot be joined; nothing where it can."""
    import ray

    try:
        with quiet_libraries():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
            ray.shutdown()
    except Exception as error:  # whatever it is, the user is told
        return " ".join(str(error).split())[:200]
    return ""


def _check_answer(address: str, where: str) -> None:
    """Find out soon whether anybody listens at HOST:PORT; Ray itself tries for minutes."""
    if address in (AUTO, LOCAL):
        return
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdigit() or "/" in host:
        raise ConfigError(f"{where}: must be auto, local or HOST:PORT. E.g. 10.0.0.1:6379.")
    try:
        socket.create_connection((host, int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise ConfigError(
            f"{where}: does not answer ({error}; tried for up to {_CONNECT_S:g} s). Check the "
            "address, or start a cluster there: ray start --head."
        ) from error
