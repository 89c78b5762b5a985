"""The only room that prints: results to stdout, talk and progress to stderr."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from smt_nas.runtime.progress import (
        EpochMetrics,
        EvalWarning,
        Phase,
        TrainingListener,
        TrainingStatus,
        TrainingWarning,
    )
    from smt_nas.search.survey import Survey

_PLAIN_WIDTH = 160  # of tables that go to a file or a pipe

DEVICE_WORDS = "cpu, gpu, cuda:N, or a name of `smt-nas devices` as people write it."

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of tables.")]


def _make_console(stderr: bool = False, width: int | None = None) -> Console:
    """A console to which no text is markup: users' names and paths hold brackets and colons."""
    return Console(stderr=stderr, width=width, markup=False, emoji=False, highlight=False)


def show(item: RenderableType) -> None:
    """Print a result to stdout."""
    if sys.stdout.isatty():
        _make_console().print(item)
        return
    console = _make_console(width=_PLAIN_WIDTH)
    with console.capture() as captured:
        console.print(item)
    show_text("\n".join(line.rstrip() for line in captured.get().splitlines()))


def show_text(text: str) -> None:
    """Print text to stdout as it is: no wrapping, no markup."""
    sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
    sys.stdout.flush()


def show_notes(lines: Iterable[str]) -> None:
    """Print sentences to stdout; a terminal's lines end between words, but in a command to copy."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in lines:
        whole = width is None or len(line) <= width or line.startswith("Next:")
        show_text(line if whole else _wrapped(line, width or 0))


def _wrapped(line: str, width: int) -> str:
    indent = " " * (len(line) - len(line.lstrip()))
    return textwrap.fill(
        line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def abandon() -> None:
    """Drop what stdout still holds: nobody can take it, and Python would complain at its end."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: a stdout that is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def show_json(value: Any) -> None:
    """Print one JSON document to stdout."""
    show_text(json.dumps(value, indent=2, allow_nan=False))


def say(text: str) -> None:
    """Print one line of talk to stderr."""
    _make_console(stderr=True).print(text, soft_wrap=True)


def complain(text: str) -> None:
    """Print one line of error to stderr."""
    console = _make_console(stderr=True)
    console.print("error:", style="bold red", end=" ")
    console.print(text, soft_wrap=True)


_PHASES: dict[Phase, str] = {
    "evaluate": "evaluating",
    "count": "verifying: counts",
    "time": "verifying: timing",
    "calibrate": "measuring",
    "train": "training",
}


class Talk:
    """What a search says and how far it is, on stderr. Hears a `SearchListener`'s events."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[Phase, TaskID] = {}

    def say(self, text: str) -> None:
        """One line, above the bars."""
        self._progress.console.print(text, soft_wrap=True)

    def surveyed(self, survey: Survey) -> None:
        """Lines on the space and the budgets."""
        from smt_nas.report.search.survey import survey_lines

        for line in survey_lines(survey):
            self.say(line)

    def resumed(self, tried: int, wanted: int) -> None:
        """One line."""
        if tried < wanted:
            self.say(f"{tried} of {wanted} networks are tried already.")
        else:
            self.say(
                f"All {tried} networks are tried already, and stay: none is added. A larger --n "
                "tries more."
            )

    def exhausted(self, space: str, tried: int, wanted: int) -> None:
        """One line."""
        self.say(
            f"The budget leaves no more networks of space {space}: {tried} tried instead of "
            f"{wanted}."
        )

    def interrupted(self) -> None:
        """One line."""
        self.say("Interrupted. The front of what is there follows.")

    def step(self, phase: Phase, done: int, total: int) -> None:
        """Move a phase's bar."""
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(_PHASES[phase], total=total)
        self._progress.update(self._tasks[phase], completed=done, total=total)


@contextmanager
def talk() -> Iterator[Talk]:
    """Progress bars on a terminal, plain lines elsewhere."""
    console = _make_console(stderr=True)
    progress = Progress(
        TextColumn("{task.description:<17}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    with progress:
        yield Talk(progress)


class TrainingTalk:
    """What a training says and how far it is, on stderr. Hears a `TrainingListener`'s events."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._training: TaskID | None = None
        self._evaluation: TaskID | None = None
        self._epochs: int | None = None

    def say(self, text: str) -> None:
        """One line, above the bar."""
        self._progress.console.print(text, soft_wrap=True)

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

    def evaluated(self, done: int, total: int | None) -> None:
        """Move the bar of an evaluation."""
        figures = f"{done} images" if total is None else f"{done}/{total} images"
        if self._evaluation is None:
            self._evaluation = self._progress.add_task("evaluating", total=total, figures=figures)
        self._progress.update(self._evaluation, completed=done, total=total, figures=figures)

    def warn(self, warning: EvalWarning | TrainingWarning) -> None:
        """One line."""
        from smt_nas.report.train.warnings import warning_line

        self.say(warning_line(warning))

    def epoch(self, metrics: EpochMetrics) -> None:
        """One line."""
        from smt_nas.report.train.results import epoch_line

        self._hide_evaluation()
        self.say(epoch_line(metrics, self._epochs))

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
    console = _make_console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=8),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        disable=not console.is_terminal,
        speed_estimate_period=300,
    )
    with progress:
        yield TrainingTalk(progress)
