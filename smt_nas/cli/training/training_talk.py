"""What a training says and how far it is, on stderr: a bar on a terminal, few lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from smt_nas.cli import console as streams
from smt_nas.cli.talk import PLAIN_EVERY_S, Clock, Pace, describe_seconds

if TYPE_CHECKING:
    from smt_nas.runtime.progress import (
        EpochMetrics,
        EvalWarning,
        TrainingListener,
        TrainingStatus,
        TrainingWarning,
    )


class TrainingTalk:
    """What a training says and how far it is, on stderr. Hears a `TrainingListener`'s events."""

    def __init__(self, progress: Progress, clock: Clock = time.monotonic) -> None:
        self._progress = progress
        self._clock = clock
        self._training: TaskID | None = None
        self._evaluation: TaskID | None = None
        self._epochs: int | None = None
        self._pace: Pace | None = None
        self._told = clock()

    def say(self, text: str) -> None:
        """One line, above the bar."""
        streams.print_line(self._progress.console, text)
        self._told = self._clock()

    def update(self, status: TrainingStatus) -> None:
        """Move the bar."""
        self._hide_evaluation()
        self._epochs = status.epochs
        speed, memory = status.images_per_s, status.memory_mb
        words = [
            "" if speed is None else f"{speed:.0f} img/s",
            "" if status.loss is None else f"loss {status.loss:.3f}",
            f"lr {short_rate(status.lr)}",
            "" if memory is None else f"{memory / 1e3:.1f} GB",
        ]
        name, figures = f"epoch {status.epoch}/{status.epochs}", " ".join(w for w in words if w)
        done, total = status.done, status.total
        if self._training is None:
            # begun where a resumed training goes on, or its speed would be far too high
            self._training = self._progress.add_task(
                name, total=total, completed=done, figures=figures
            )
        self._progress.update(
            self._training, description=name, completed=done, total=total, figures=figures
        )
        if self._pace is None or done < self._pace.done:  # another training of the same command
            self._pace = Pace(self._clock, done, total)
        self._pace.move(done, total)
        self._tell_plainly(f"{name}: update {done} of {total}, {figures}{self._describe_left()}")

    def evaluated(self, done: int, total: int | None) -> None:
        """Move the bar of an evaluation."""
        figures = f"{done} images" if total is None else f"{done}/{total} images"
        if self._evaluation is None:
            self._evaluation = self._progress.add_task("evaluating", total=total, figures=figures)
        self._progress.update(self._evaluation, completed=done, total=total, figures=figures)
        self._tell_plainly(f"evaluating: {figures}")

    def warn(self, warning: EvalWarning | TrainingWarning) -> None:
        """One line."""
        from smt_nas.report.train.warnings import warning_line

        self.say(warning_line(warning))

    def epoch(self, metrics: EpochMetrics) -> None:
        """One line."""
        from smt_nas.report.train.results import epoch_line

        self._hide_evaluation()
        has_bar, is_last = not self._progress.disable, metrics.epoch == self._epochs
        left = "" if has_bar or is_last else self._describe_left()
        self.say(f"{epoch_line(metrics, self._epochs)}{left}")

    def _describe_left(self) -> str:
        left = None if self._pace is None else self._pace.left_s()
        return "" if left is None else f", {describe_seconds(left)} left"

    def _tell_plainly(self, text: str) -> None:
        """A line a minute, where there is no bar."""
        if self._progress.disable and self._clock() - self._told >= PLAIN_EVERY_S:
            self.say(text)

    def _hide_evaluation(self) -> None:
        if self._evaluation is not None:
            self._progress.remove_task(self._evaluation)
            self._evaluation = None


def short_rate(lr: float) -> str:
    """`2.0e-3`: a learning rate in few characters."""
    digits, _, power = f"{lr:.1e}".partition("e")
    return f"{digits}e{int(power)}"


@contextmanager
def training(shown: bool = True) -> Iterator[TrainingListener]:
    """A bar that fits 80 columns on a terminal, plain lines elsewhere; nothing unless `shown`."""
    if not shown:
        from smt_nas.runtime.progress import NullProgress

        yield NullProgress()
        return
    console = streams.make_talk_console()
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=8),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        disable=not streams.is_live(console),
        speed_estimate_period=300,
    )
    with progress:
        yield TrainingTalk(progress)
