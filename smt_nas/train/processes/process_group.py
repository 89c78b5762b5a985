"""The processes of a training: one, or those that torchrun started.

Only the first process talks and writes. What any of them finds wrong while setting up ends all of
them with one message; what happens later ends the others through torchrun.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from smt_nas.devices.resolve import resolve
from smt_nas.errors import SmtNasError, TrainingError, one_line
from smt_nas.runtime.torch_device import open_device

_T = TypeVar("_T")
_PATIENCE = timedelta(minutes=30)  # for the slowest process: a first compile, a cold disk


class OtherProcessFailed(TrainingError):
    """Another process of the training failed and tells why; this one only ends."""


@dataclass(frozen=True)
class ProcessGroup:
    """This process among those of the training.

    Attributes:
        rank: of this process, from 0.
        size: number of processes.
        device: where this process computes.
    """

    rank: int
    size: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        """Whether this process talks and writes."""
        return self.rank == 0

    def all_reduce(self, *values: float) -> tuple[float, ...]:
        """Each value summed over the processes."""
        if self.size == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        return tuple(sums.tolist())

    def any(self, value: bool) -> bool:
        """Whether it holds in any process."""
        return self.all_reduce(float(value))[0] > 0

    def broadcast(self, value: _T) -> _T:
        """What the first process has for `value`."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0, device=self.device)
        received: _T = box[0]
        return received

    def all_gather(self, value: _T) -> list[_T]:
        """What each process has for `value`, in the order of their ranks."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def broadcast_tensors(self, tensors: Iterable[torch.Tensor]) -> None:
        """Give every process the first one's values."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def run_on_all(self, run: Callable[[], _T]) -> _T:
        """Run in every process; where it fails in one, all fail, and one says why.

        Raises:
            SmtNasError: as `run` raised it, in the first that failed; `OtherProcessFailed` in the
                others.
        """
        failure: SmtNasError | None = None
        result: _T | None = None
        try:
            result = run()
        except SmtNasError as error:
            failure = error
        if self.size > 1:
            failed: list[Any] = [None] * self.size
            dist.all_gather_object(failed, failure is not None)
            first = failed.index(True) if True in failed else None
            if first is not None and first != self.rank:
                raise OtherProcessFailed(f"process {first} of this training failed; see there.")
        if failure is not None:
            raise failure
        return result  # type: ignore[return-value]  # what `run` returned


@contextmanager
def join_process_group(device: str | None) -> Iterator[ProcessGroup]:
    """Join the processes that torchrun started, or be alone.

    They stay joined until the process ends, and who joins again finds them joined: torchrun's
    store keeps the addresses of a group that was left, and a process that reads those of before
    waits for ever.

    Args:
        device: as `devices.resolve` takes it; None takes this process's GPU, if any.

    Raises:
        UnknownName: no such device.
        MeasurementError: the device is not here.
        TrainingError: the processes do not find each other.
    """
    size, rank = _read_environment("WORLD_SIZE", 1), _read_environment("RANK", 0)
    place = choose_device(device, _read_environment("LOCAL_RANK", 0), size)
    if size == 1:
        yield ProcessGroup(0, 1, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    _initialize("nccl" if place.type == "cuda" else "gloo", rank, size)
    try:
        yield ProcessGroup(rank, size, place)
    except RuntimeError as error:
        if isinstance(error, SmtNasError) or not is_lost_peer(error):
            raise
        raise TrainingError(
            f"process {rank}: another process of this training ended (got: {one_line(error)}). "
            "Its own message says why; one that was killed, say for want of memory, has none. "
            "Go on with --resume auto."
        ) from error


def _initialize(backend: str, rank: int, size: int) -> None:
    """Have torch's default group, once in a process. Raises TrainingError."""
    if dist.is_initialized():
        if dist.get_backend() == backend:
            return
        raise TrainingError(
            f"process {rank} of {size}: must stay on the kind of device it joined the others on "
            f"(got {backend} after {dist.get_backend()}). Start torchrun once for each."
        )
    try:
        dist.init_process_group(backend, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:  # a port in use, a peer that never came
        raise TrainingError(
            f"process {rank} of {size}: must reach the others (got: {one_line(error)}). "
            "Choose another --master-port of torchrun, or use torchrun --standalone."
        ) from error
    atexit.register(_leave)


def _leave() -> None:
    with contextlib.suppress(RuntimeError, ValueError):  # the others may be gone
        dist.destroy_process_group()


def is_lost_peer(error: BaseException) -> bool:
    """Whether torch says that another process can no longer be reached."""
    text = str(error).lower()
    signs = ("connection closed", "connection reset", "broken pipe", "nccl", "gloo", "timed out")
    return isinstance(error, dist.DistError) or any(sign in text for sign in signs)


def choose_device(device: str | None, local: int, size: int) -> torch.device:
    """Where a process of a training computes.

    Args:
        device: as of `join_process_group`.
        local: number of the process on its machine, from 0.
        size: number of processes on all machines.

    Raises:
        MeasurementError: the device is not here.
        TrainingError: the processes of this machine have not a GPU each.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device is None and not gpus:
        return torch.device("cpu")
    ref = resolve(device or "cuda")
    name = ref.require_here()
    if size == 1:
        return open_device(name)
    if name == "cpu":
        return torch.device("cpu")
    here = _read_environment("LOCAL_WORLD_SIZE", size)
    # as every process finds it, so that none joins the others on a device of another kind
    if ref.label not in ("cuda", "gpu") or here > gpus:
        raise TrainingError(
            f"{here} processes on this machine: each must have a GPU of its own (got {gpus} GPUs, "
            f"--device {device or 'cuda'}). Start as many processes as GPUs, or use --device cpu."
        )
    return torch.device("cuda", local)


def _read_environment(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise TrainingError(f"{name}: must be a number (got {text!r}). torchrun sets it.")
    return int(text)
