"""How long work tells what it is doing; silent unless the caller listens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Protocol

Phase = Literal[
    "open",
    "survey",
    "screen",
    "evaluate",
    "epochs",
    "count",
    "time",
    "measure",
    "calibrate",
    "train",
    "validate",
    "export",
]
"""What long work does step by step. `epochs`: those that trained candidates have made."""


@dataclass(frozen=True)
class EpochMetrics:
    """What an epoch of a training came to: a row of metrics.csv, its columns in this order.

    None was not measured. Checkpoints keep these fields by name.

    Attributes:
        epoch: that ended, from 1.
        update: updates of the whole training so far.
        lr: learning rate of the last update.
        train_loss: mean over the updates made.
        val_loss: mean cross entropy on the validation split.
        val_top1: accuracy on it, in 0..1.
        val_top5: likewise, among the first five.
        val_n: images it was evaluated on.
        images_per_s: of all processes.
        waiting_share: share of the time in which the first process waited for images.
        seconds: of training, without evaluating and saving.
        skipped: updates left out, as their gradients were not finite.
        unreadable: images of the whole training so far that could not be read.
        peak_memory_mb: the most that a process held so far, MB of 1e6 bytes.
    """

    epoch: int
    update: int | None = None
    lr: float | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    val_top1: float | None = None
    val_top5: float | None = None
    val_n: int | None = None
    images_per_s: float | None = None
    waiting_share: float | None = None
    seconds: float | None = None
    skipped: int | None = None
    unreadable: float | None = None
    peak_memory_mb: float | None = None

    @classmethod
    def from_dict(cls, values: Mapping[str, float | None]) -> EpochMetrics:
        """From the fields a checkpoint holds; those of a newer version are left out."""
        known = {field.name for field in fields(cls)} & values.keys()
        return cls(**{name: values[name] for name in known})  # type: ignore[arg-type]

    def measured(self) -> dict[str, float]:
        """The fields that were measured, by name."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: float(value) for name, value in every.items() if value is not None}


class ProgressListener(Protocol):
    """Hears how far work over many networks is."""

    def say(self, text: str) -> None:
        """One line that a user wants to read."""

    def step(self, phase: Phase, done: float, total: float | None) -> None:
        """`done` of `total` in a phase; None where nobody knows of how many."""


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


@dataclass(frozen=True)
class EvalWarning:
    """What a reader must know of the figures of an evaluation.

    Attributes:
        kind: `nonfinite`: images with outputs that are no finite numbers; `no_top5`: too few
            classes for a top-5; `unreadable`: images that could not be read.
        count: of these images; of the classes.
        of: images that were evaluated.
    """

    kind: Literal["nonfinite", "no_top5", "unreadable"]
    count: int
    of: int


@dataclass(frozen=True)
class TrainingWarning:
    """What a user must be warned of in a training.

    Attributes:
        kind: `few_updates`: too few to learn from; `short_average`: a moving average that
            remembers more updates than there are; `few_held_out`: too few images to tell;
            `loss_rose`: it is clearly above that of an epoch before; `chance`: it has not learnt.
        value: the updates; the updates; the images; the loss; the accuracy, in 0..1.
        of: what it is compared with: updates; updates that the average remembers; the standard
            error of the accuracy, in 0..1; the loss of an epoch before; the accuracy of always
            naming the most frequent class.
    """

    kind: Literal["few_updates", "short_average", "few_held_out", "loss_rose", "chance"]
    value: float
    of: float


class TrainingListener(Protocol):
    """Hears what a training or an evaluation does."""

    def say(self, text: str) -> None:
        """One line that a user wants to read."""

    def update(self, status: TrainingStatus) -> None:
        """An update was made."""

    def evaluated(self, done: int, total: int | None) -> None:
        """`done` images of an evaluation, of the `total` of this process where that is known."""

    def warn(self, warning: EvalWarning | TrainingWarning) -> None:
        """There is something that a user must know of an evaluation or of the training."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """An epoch ended, evaluated and saved; its row of metrics.csv."""


class NullProgress:
    """Hears everything and does nothing."""

    def say(self, text: str) -> None:
        """Drop a line."""

    def step(self, phase: Phase, done: float, total: float | None) -> None:
        """Drop a step."""

    def update(self, status: TrainingStatus) -> None:
        """Drop an update."""

    def evaluated(self, done: int, total: int | None) -> None:
        """Drop a step."""

    def warn(self, warning: EvalWarning | TrainingWarning) -> None:
        """Drop a warning."""

    def epoch(self, metrics: EpochMetrics) -> None:
        """Drop an epoch's metrics."""
