"""How long work tells what it is doing; silent unless the caller listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

Phase = Literal["evaluate", "count", "time", "calibrate", "train"]
"""What long work does step by step: evaluating, counting, timing, measuring, training networks."""
EpochMetrics = dict[str, float | None]


class ProgressListener(Protocol):
    """Hears how far work over many networks is."""

    def say(self, text: str) -> None:
        """One line that a user wants to read."""

    def step(self, phase: Phase, done: int, total: int) -> None:
        """`done` of `total` in a phase."""


@dataclass(frozen=True)
class TrainingStatus:
    """How far a training is.

    Attributes:
        epoch: under way, from 1.
        epochs: of the whole training.
        done: updates of the whole training so far.
        total: updates of the whole training.
        loss: mean over the epoch so far; None where no update was made.
        lr: learning rate.
        images_per_s: over the epoch so far.
        memory_mb: the most there was, MB of 1e6 bytes.
    """

    epoch: int
    epochs: int
    done: int
    total: int
    loss: float | None
    lr: float
    images_per_s: float | None
    memory_mb: float | None


class TrainingListener(Protocol):
    """Hears what a training or an evaluation does."""

    def say(self, text: str) -> None:
        """One line that a user wants to read."""

    def update(self, status: TrainingStatus) -> None:
        """An update was made, or some since the last time."""

    def evaluated(self, done: int, total: int | None) -> None:
        """`done` images of an evaluation, of the `total` of this process where that is known."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch ended, evaluated and saved; its row of metrics.csv."""


class NullProgress:
    """Hears everything and does nothing."""

    def say(self, text: str) -> None:
        """Drop a line."""

    def step(self, phase: Phase, done: int, total: int) -> None:
        """Drop a step."""

    def update(self, status: TrainingStatus) -> None:
        """Drop an update."""

    def evaluated(self, done: int, total: int | None) -> None:
        """Drop a step."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """Drop an epoch's metrics."""
