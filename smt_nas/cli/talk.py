"""What long work says and how far it is, on stderr: bars on a terminal, few lines elsewhere."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from smt_nas.cli import console as streams
from smt_nas.errors import format_count

if TYPE_CHECKING:
    from smt_nas.runtime.progress import Phase
    from smt_nas.search.loop.status import SearchStatus
    from smt_nas.search.stop_rule import StopReason, StopRule
    from smt_nas.search.survey import Survey

Clock = Callable[[], float]
PLAIN_EVERY_S = 60.0  # between lines on one phase, where there is no bar
PANEL_EVERY_S = 1.0  # between looks at a search for its panel
PANEL_SHARE = 20.0  # and so many times as long as a look takes
PLAIN_FIRST_S = 0.5  # before the first line, where there is no terminal

PHASES: dict[Phase, str] = {
    "open": "open the run",
    "survey": "survey the space",
    "screen": "screen candidates",
    "evaluate": "evaluate networks",
    "count": "count the front",
    "time": "time the front",
    "measure": "measure",
    "calibrate": "measure blocks",
    "train": "train networks",
    "epochs": "train, in epochs",
    "validate": "score evaluators",
    "export": "write and compare",
}
_PART_OF: dict[Phase, Phase] = {"epochs": "evaluate"}  # one phase of a plan, by either name


def list_phases(phases: Sequence[Phase]) -> str:
    """What is to be done, for the first line of a command."""
    words = [f"{number} {PHASES[phase]}" for number, phase in enumerate(phases, 1)]
    return ", ".join(words)


@dataclass
class Pace:
    """How fast a phase goes, and so how long it will last.

    Attributes:
        clock: seconds that only grow.
        start: when it began.
        first: what was done then: a resumed one begins amid its work.
        done: what is done.
        total: of all; None where that is not known.
        at: when `done` last grew.
    """

    clock: Clock
    first: float
    total: float | None
    start: float = field(init=False)
    done: float = field(init=False)
    at: float = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.at = self.clock()
        self.done = self.first

    def move(self, done: float, total: float | None) -> None:
        """Note what is done now; less than before is another lot of the same."""
        if done < self.done:
            self.first, self.start = done, self.clock()
        if done != self.done:
            self.done, self.at = done, self.clock()
        self.total = total

    def left_s(self) -> float | None:
        """Seconds left, at the mean pace so far; None before the first step, and at the end."""
        steps = self.done - self.first
        if self.total is None or steps <= 0 or self.done >= self.total:
            return None
        whole = (self.total - self.done) * (self.at - self.start) / steps
        return max(whole - (self.clock() - self.at), 0.0)


class _Left(ProgressColumn):
    """About how long a phase will still last; it counts down between steps, too."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """`about 2:05 left`, or nothing."""
        left = task.fields["pace"].left_s()
        return Text("" if left is None else f"{describe_seconds(left)} left", "cyan")


class _Done(ProgressColumn):
    """`3/32`, or nothing where it is not known of how many."""

    def render(self, task: Task) -> Text:
        """What is done of all."""
        total = task.fields["pace"].total
        return Text("" if total is None else f"{_show(task.fields['pace'].done)}/{_show(total)}")


def _show(amount: float) -> str:
    return f"{amount:.0f}" if float(amount).is_integer() else f"{amount:.1f}"


def describe_seconds(seconds: float) -> str:
    """`0:07`, `2:05` or `3:20:00`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Talk:
    """What a search says and how far it is, on stderr. Hears a `SearchListener`'s events.

    Args:
        progress: bars; disabled where there is no terminal, and lines take their place.
        plan: the phases to come, in their order; their names tell which of how many they are.
        clock: seconds that only grow.
    """

    def __init__(
        self, progress: Progress, plan: Sequence[Phase] = (), clock: Clock = time.monotonic
    ) -> None:
        self._progress = progress
        self._plan = list(plan)
        self._clock = clock
        self._tasks: dict[Phase, TaskID] = {}
        self._paces: dict[Phase, Pace] = {}
        self._now: Phase | None = None
        self._told = clock()
        self._status: SearchStatus | None = None
        self._not_looked: Callable[[], SearchStatus] | None = None
        self._measure_again = 0.0  # by the clock

    def say(self, text: str) -> None:
        """One line, above the bars."""
        streams.print_line(self._progress.console, text)

    def surveyed(self, survey: Survey) -> None:
        """Lines on the space and the budgets."""
        from smt_nas.report.search.survey import survey_lines

        for line in survey_lines(survey):
            self.say(line)

    def resumed(self, tried: int, wanted: int | None) -> None:
        """One line."""
        if wanted is None:
            self.say(f"Tried already: {format_count(tried, 'network')}.")
            return
        line = f"Tried already: {tried} of {format_count(wanted, 'network')}"
        if tried < wanted:
            self.say(f"{line}.")
        else:
            self.say(f"{line}. They stay, and none is added: a larger --n tries more.")

    def exhausted(self, space: str, tried: int, wanted: int | None) -> None:
        """One line."""
        instead = "" if wanted is None else f" instead of {wanted}"
        self.say(f"No more networks of space {space} are left to try: {tried} tried{instead}.")

    def stopped(self, reason: StopReason, rule: StopRule, tried: int) -> None:
        """One line."""
        from smt_nas.report.search.stopping import stop_line

        self.say(stop_line(reason, rule, tried))

    def progressed(self, measure: Callable[[], SearchStatus]) -> None:
        """Look how it stands: for the panel, or for the next line where there is none."""
        plain = self._progress.disable
        begun = self._clock()
        if begun < self._measure_again or (plain and begun - self._told < PLAIN_EVERY_S):
            self._not_looked = measure
            return
        self._status, self._not_looked = measure(), None
        took = self._clock() - begun
        self._measure_again = begun + max(PANEL_EVERY_S, PANEL_SHARE * took)

    def catch_up(self) -> None:
        """Let the panel show how it ended."""
        if self._not_looked is not None:
            self._status, self._not_looked = self._not_looked(), None

    def render(self) -> RenderableType:
        """What a terminal shows: the panel of a search, if any, and the bars."""
        bars = self._progress.get_renderable()
        if self._status is None:
            return bars
        from smt_nas.report.search.status import StatusPanel

        return Group(StatusPanel(self._status, self._describe_left()), bars)

    def _describe_left(self) -> str:
        """How long the evaluations will last, as far as is known."""
        pace = self._paces.get("epochs") or self._paces.get("evaluate")
        left = None if pace is None else pace.left_s()
        return "" if left is None else f"about {describe_seconds(left)} left"

    def finishing(self) -> None:
        """One line."""
        self.say("Stopping once what runs is finished. Ctrl-C again stops now.")

    def interrupted(self) -> None:
        """One line."""
        self.say("Interrupted. The front of what is there follows.")

    def step(self, phase: Phase, done: float, total: float | None) -> None:
        """Move a phase's bar; without a total it only shows that something is being done."""
        if phase != self._now:
            self._finish_open_bar()
            self._now = phase
        if phase not in self._tasks:
            pace = self._paces[phase] = Pace(self._clock, done, total)
            self._tasks[phase] = self._progress.add_task(self._title(phase), pace=pace)
        self._paces[phase].move(done, total)
        shown = 0.0 if total is None else done
        self._progress.update(self._tasks[phase], completed=shown, total=total)
        if self._clock() - self._told >= PLAIN_EVERY_S:
            self._tell_plainly(self._describe(phase))

    def _finish_open_bar(self) -> None:
        """A bar without a total would go on moving for ever."""
        if self._now is not None and self._paces[self._now].total is None:
            self._progress.update(self._tasks[self._now], completed=1, total=1)

    def _title(self, phase: Phase) -> str:
        part_of = _PART_OF.get(phase, phase)
        if part_of not in self._plan:
            return PHASES[phase]
        return f"{self._plan.index(part_of) + 1}/{len(self._plan)} {PHASES[phase]}"

    def _describe(self, phase: Phase) -> str:
        """`3/5 evaluate networks: 12 of 32, 4:10 left`."""
        pace = self._paces[phase]
        left = pace.left_s()
        words = [] if pace.total is None else [f"{_show(pace.done)} of {_show(pace.total)}"]
        words += [] if left is None else [f"{describe_seconds(left)} left"]
        text = f"{self._title(phase)}: {', '.join(words)}" if words else self._title(phase)
        if self._status is None or _PART_OF.get(phase, phase) != "evaluate":
            return text
        from smt_nas.report.search.status import describe_status

        return f"{text}; {describe_status(self._status)}"

    def _tell_plainly(self, text: str) -> None:
        if self._progress.disable:
            self.say(text)
        self._told = self._clock()


@contextmanager
def talk(plan: Sequence[Phase] = ()) -> Iterator[Talk]:
    """Bars on a terminal, plain lines elsewhere."""
    console = streams.make_talk_console()
    progress = Progress(
        TextColumn("{task.description:<21}", markup=False),
        BarColumn(bar_width=16),
        _Done(),
        TimeElapsedColumn(),
        _Left(),
        console=console,
        disable=not streams.is_live(console),
    )
    talk = Talk(progress, plan)
    if progress.disable:
        yield talk
        return
    with Live(console=console, get_renderable=talk.render, refresh_per_second=4):
        yield talk
        talk.catch_up()


def say_first(context: typer.Context, text: str) -> None:
    """The first line, before anything slow; of several processes one says it.

    Where there is no terminal it waits a moment: an error that comes at once is the only line.
    """
    if os.environ.get("RANK", "0") != "0":  # as torchrun numbers them
        return
    if streams.make_talk_console().is_terminal:
        streams.say(text)
        return
    timer = threading.Timer(PLAIN_FIRST_S, streams.say, [text])
    timer.daemon = True
    timer.start()
    context.call_on_close(timer.cancel)
