"""`SampleCollector`: one network under the clock. It takes its turns and keeps what they gave."""

from __future__ import annotations

from collections.abc import Callable

import torch

from smt_nas.errors import MeasurementError, SmtNasError, one_line
from smt_nas.profilers.clock import Clock
from smt_nas.profilers.runnable import Runnable
from smt_nas.runtime.host import host

TURN_MS = {"cpu": 10.0, "cuda": 50.0}
"""How long a turn should take. On a GPU a turn ends with a wait, so this also bounds how far the
queue runs ahead; with fewer than one call a turn, it is one call ahead."""


class SampleCollector:
    """One network, its samples, and the error that ended them.

    Args:
        call: the network, made ready.
        clock: what times it.

    Attributes:
        wall_ms, device_ms: samples in order; the second stays empty on a CPU.
        cpu_ms: CPU time of this process during each sample of `wall_ms`.
        per_turn: calls a turn.
        threads: CPU threads it runs on; None on a GPU.
        error: what the call raised; None while it runs.
    """

    def __init__(self, call: Runnable, clock: Clock) -> None:
        self.call = call
        self.wall_ms: list[float] = []
        self.device_ms: list[float] = []
        self.cpu_ms: list[float] = []
        self.first_call_ms = 0.0
        self.per_turn = 1
        self.error: str | None = None
        self._clock = clock
        self._stream = clock.stream(call.device)
        self.threads = None if self._stream else (call.conditions.threads or host().threads)

    def first(self) -> None:
        """The first call, apart from all others."""
        self.first_call_ms = self._guarded(lambda: self._timed(self.call.first))

    def once(self) -> float:
        """One call for warm-up, waited for; its milliseconds."""
        return self._guarded(lambda: self._timed(self.call))

    def plan(self, call_ms: float) -> None:
        """Set the calls of a turn by what one takes."""
        target = TURN_MS["cuda" if self._stream else "cpu"]
        self.per_turn = max(1, int(target / max(call_ms, 1e-3)))

    def turn(self) -> None:
        """Take `per_turn` samples. A call that fails ends this subject, its samples are kept."""
        try:
            self._guarded(self._gpu_turn if self._stream else self._cpu_turn)
        except SmtNasError:
            if not self.wall_ms:
                raise

    def _cpu_turn(self) -> float:
        for _ in range(self.per_turn):
            busy = self._clock.cpu_ns()
            self.wall_ms.append(self._timed(self.call))
            self.cpu_ms.append((self._clock.cpu_ns() - busy) / 1e6)
        return 0.0

    def _gpu_turn(self) -> float:
        """Calls one after the other between marks, then as many waited for each.

        The first says what the GPU needs, the second what a caller waits. Nothing waits between
        the marks, and one call leads in, so that the queue is never empty behind the first.
        """
        assert self._stream is not None
        marks = []
        if self.per_turn > 1:
            self.call()
        for _ in range(self.per_turn):
            start = self._stream.mark()
            self.call()
            marks.append((start, self._stream.mark()))
        self._stream.wait()
        on_device = [self._stream.between_ms(*pair) for pair in marks]
        self.wall_ms += [self._timed(self.call) for _ in range(self.per_turn)]
        self.device_ms += on_device
        return 0.0

    def _timed(self, what: Callable[[], None]) -> float:
        """Milliseconds from submitting to the end."""
        start = self._clock.wall_ns()
        what()
        if self._stream:
            self._stream.wait()
        return (self._clock.wall_ns() - start) / 1e6

    def _guarded(self, what: Callable[[], float]) -> float:
        """Run on the threads asked for; tell what fails in one line.

        A network of anybody's can raise anything, so all exceptions are caught.
        """
        if self.threads and self.threads != torch.get_num_threads():
            torch.set_num_threads(self.threads)
        try:
            return what()
        except SmtNasError as error:
            self.error = str(error)
            raise
        except Exception as error:
            self.error = one_line(error)
            raise MeasurementError(
                f"{self.call.name}: must run on {self.call.device} as {self.call.conditions} "
                f"(got {self.error}). {_way_out(error)}"
            ) from error


def _way_out(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return "Use a smaller batch or image, or another precision."
    return "`--debug` shows where it was raised."
