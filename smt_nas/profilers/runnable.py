"""`Runnable`: a network made ready to be timed. The port between preparing and timing."""

from __future__ import annotations

from typing import Protocol

from smt_nas.conditions import Conditions


class Runnable(Protocol):
    """One forward (or training step) at a time, on inputs that rotate.

    Attributes:
        name: of the network.
        device: `cpu` or `cuda:0`.
        conditions: how it is run.
        compile_ms: what compiling or capturing took, known after `first`; None where nothing is
            compiled.
    """

    name: str
    device: str
    conditions: Conditions
    compile_ms: float | None

    def first(self) -> None:
        """The first call, waited for: compiles, tunes, allocates."""

    def __call__(self) -> None:
        """One call on the next input. On a GPU it is submitted, not waited for."""

    def close(self) -> None:
        """Give the memory back."""
