"""How a training tells what it is doing; silent unless the caller listens."""

from __future__ import annotations

from typing import Protocol

from smt_nas.train.progress import Row


class Listener(Protocol):
    """Hears what a training or an evaluation does."""

    def say(self, text: str) -> None:
        """One line that a user wants to read."""

    def update(
        self,
        *,
        epoch: int,
        epochs: int,
        done: int,
        total: int,
        loss: float | None,
        lr: float,
        images_per_s: float | None,
        memory_mb: float | None,
    ) -> None:
        """Updates `done` of `total` in the whole training; `epoch` counts from 1.

        Loss and speed are means over the epoch so far; memory is the most there was.
        """

    def evaluated(self, done: int, total: int | None) -> None:
        """`done` images of an evaluation, of the `total` of this process where that is known."""

    def epoch(self, row: Row) -> None:
        """An epoch ended, evaluated and saved; its row of metrics.csv."""


class Silence:
    """Hears and does nothing."""

    def say(self, text: str) -> None:
        """Drop a line."""

    def update(
        self,
        *,
        epoch: int,
        epochs: int,
        done: int,
        total: int,
        loss: float | None,
        lr: float,
        images_per_s: float | None,
        memory_mb: float | None,
    ) -> None:
        """Drop an update."""

    def evaluated(self, done: int, total: int | None) -> None:
        """Drop a step."""

    def epoch(self, row: Row) -> None:
        """Drop a row."""
