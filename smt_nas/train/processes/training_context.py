"""What surrounds a training: its signals, the determinism of torch, a full GPU told in one line.

Ctrl-C and SIGTERM finish the update, save and leave; Ctrl-C again leaves at once.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch

from smt_nas.errors import TrainingError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class OutOfMemory(TrainingError):
    """A GPU's memory does not hold a step."""


class Interrupts:
    """Remembers that the training was asked to stop.

    Attributes:
        stop_requested: whether it was.
    """

    def __init__(self) -> None:
        self.stop_requested = False


_BEFORE: dict[signal.Signals, Any] = {}
"""Handlers that are put back."""
_LISTENING: list[Interrupts] = []
"""Of the trainings of this process that take turns: a signal is for all of them."""


def _tell_all(number: int, frame: FrameType | None) -> None:
    told_before = all(interrupts.stop_requested for interrupts in _LISTENING)
    for interrupts in _LISTENING:
        interrupts.stop_requested = True
    if told_before and number == signal.SIGINT:
        raise KeyboardInterrupt


@contextmanager
def catch_interrupts() -> Iterator[Interrupts]:
    """Catch the signals while a block runs; only a main thread can.

    Blocks may end in any order: the handlers of before are put back with the last one. A block that
    begins while others are told to stop, as it had its turn after the signal, is told so too.
    """
    interrupts = Interrupts()
    interrupts.stop_requested = any(other.stop_requested for other in _LISTENING)
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    if not _LISTENING:
        _BEFORE.update({number: signal.signal(number, _tell_all) for number in _SIGNALS})
    _LISTENING.append(interrupts)
    try:
        yield interrupts
    finally:
        _LISTENING.remove(interrupts)
        if not _LISTENING:
            for number, handler in _BEFORE.items():
                signal.signal(number, handler)


@contextmanager
def use_deterministic_algorithms(deterministic: bool) -> Iterator[None]:
    """Only operators that give the same bits every time, where that is asked for."""
    before = torch.are_deterministic_algorithms_enabled()
    cudnn = torch.backends.cudnn
    cudnn_before = cudnn.deterministic, cudnn.benchmark
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # else torch refuses products
        torch.use_deterministic_algorithms(True)
        cudnn.deterministic, cudnn.benchmark = True, False  # what trying picks may differ
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        cudnn.deterministic, cudnn.benchmark = cudnn_before


@contextmanager
def explain_out_of_memory(
    device: torch.device,
    batch_size: int,
    way_out: str = "or use --grad-checkpointing; go on with --resume auto",
) -> Iterator[None]:
    """Tell of a full GPU in one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(
            f"{device}: its memory must hold a step (got none left at batch_size {batch_size}). "
            f"Lower --set batch_size=… and raise --set accumulation=…, {way_out}."
        ) from error
