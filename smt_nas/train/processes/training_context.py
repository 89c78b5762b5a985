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

import torch

from smt_nas.errors import TrainingError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """Remembers that the training was asked to stop.

    Attributes:
        stop_requested: whether it was.
    """

    def __init__(self) -> None:
        self.stop_requested = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal."""
        if self.stop_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.stop_requested = True


@contextmanager
def catch_interrupts() -> Iterator[Interrupts]:
    """Catch the signals while a block runs; only a main thread can."""
    interrupts = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield interrupts
        return
    before = {number: signal.signal(number, interrupts.handle) for number in _SIGNALS}
    try:
        yield interrupts
    finally:
        for number, handler in before.items():
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
def explain_out_of_memory(device: torch.device, batch_size: int) -> Iterator[None]:
    """Tell of a full GPU in one line."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"{device}: its memory must hold a step (got none left at batch_size {batch_size}). "
            "Lower --set batch_size=… and raise --set accumulation=…, or use "
            "--grad-checkpointing; go on with --resume auto."
        ) from error
