"""The processes that read images: what they do on a signal, and in one line what ended them."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from smt_nas.errors import SmtNasError, TrainingError, one_line

_SHARED = Path("/dev/shm")
_FULL = ("shared memory", "no space left on device", "bus error")  # a full /dev/shm, by any name
_FILES = ("too many open files",)
_ENDED = ("dataloader worker", "pin memory thread")


def ignore_signals(worker: int) -> None:
    """Let the process that started this one decide when to stop.

    Ctrl-C, torchrun and schedulers signal all processes of a training; it must still have its
    workers while it finishes an update and saves. They end when it lets them go, or is gone.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def explain_reader_failures(workers: int) -> Iterator[None]:
    """Tell what DataLoader says of its workers in one line.

    torch raises the end of a worker wherever the main process is just then, so the loop that uses
    the batches is to be in such a block too.

    Args:
        workers: how many there are.

    Raises:
        TrainingError: a worker could not start, or ended; for want of memory, most often.
    """
    try:
        yield
    except (RuntimeError, OSError) as error:
        explained = None if isinstance(error, SmtNasError) else _explain(workers, error)
        if not workers or explained is None:
            raise
        raise explained from error


def _explain(workers: int, error: Exception) -> TrainingError | None:
    text = str(error).casefold()
    # a worker's own error comes with its traceback, whose last line says what it was
    _, wrapped, last = str(error).strip().rpartition("\n")
    reason = last if wrapped else one_line(error)
    if any(sign in text for sign in _FULL):
        return TrainingError(
            f"--workers {workers}: the processes that read images need room for their batches in "
            f"{_SHARED} (got {_describe_free_space()}; {reason}). Use --workers 0, or a "
            f"larger {_SHARED}, e.g. docker --shm-size 8g."
        )
    if any(sign in text for sign in _FILES):
        return TrainingError(
            f"--workers {workers}: each batch on its way needs an open file (got: {reason}). "
            "Use fewer workers, or raise the limit with `ulimit -n 65536`."
        )
    if isinstance(error, OSError) or any(sign in text for sign in _ENDED):
        return TrainingError(
            f"--workers {workers}: every process that reads images must live (got: {reason}). The "
            "system may have ended it for want of memory: use fewer, or --workers 0."
        )
    return None


def _describe_free_space() -> str:
    try:
        return f"{shutil.disk_usage(_SHARED).free / 1e6:.0f} MB free"
    except OSError:
        return "none"
