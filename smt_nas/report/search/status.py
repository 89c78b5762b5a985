"""How a search stands: a panel for a terminal, and a few words for a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType
from rich.panel import Panel
from rich.text import Text

from smt_nas.report.search.columns import describe_gain
from smt_nas.report.sparkline import sparkline
from smt_nas.search.loop.status import SearchStatus

_WIDEST = 100  # of the panel: further apart, words are hard to read together
_COSTS = {"macs": "MACs", "params": "params"}
_CURVE = 40  # characters of the curve at most


def describe_status(status: SearchStatus) -> str:
    """`front 9, 1 failed, hypervolume 0.83, surrogate tau 0.71`; what is not known is left out."""
    words = [f"front {status.front}"]
    words += [f"{status.failed} failed"] if status.failed else []
    words += [f"hypervolume {status.hypervolume[-1]:.3f}"] if status.hypervolume else []
    if status.surrogate_tau is not None:
        words.append(f"surrogate tau {status.surrogate_tau:.2f}")
    return ", ".join(words)


def describe_best(status: SearchStatus) -> str | None:
    """The member to take first beside the preset of equal cost; None where there is none."""
    choice = status.best
    if choice is None:
        return None
    metric, ours = status.metric, choice.member.values
    text = f"{metric.show(ours.get(status.metric_name))} {metric.heading}"
    theirs = choice.preset.values.get(status.metric_name)
    if choice.gain is not None:
        text += f", {describe_gain(choice.gain)} over {choice.preset.name} scaled to equal MACs"
    elif theirs is not None and not metric.formula:
        text += f" ({choice.preset.name}: {metric.show(theirs)})"
    ratios = [f"{choice.ratios[n]:.2f}x the {w}" for n, w in _COSTS.items() if n in choice.ratios]
    return f"{text}; {', '.join(ratios)} of {choice.preset.name}" if ratios else text


@dataclass(frozen=True)
class StatusPanel:
    """What is shown while a search works.

    Attributes:
        status: as it is.
        left: how long it will last, in words; empty where nobody knows.
    """

    status: SearchStatus
    left: str = ""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        width = min(options.max_width, _WIDEST)
        lines = [self._count(), self._draw_curve(width - 4)]
        best = describe_best(self.status)
        lines += [] if best is None else [f"best: {best}"]
        yield Panel(Text("\n".join(lines)), width=width, title="search", title_align="left")

    def _count(self) -> str:
        status = self.status
        of = "" if status.wanted is None else f" of {status.wanted}"
        words = [f"evaluated {status.tried}{of}", f"failed {status.failed}"]
        words += [f"front {status.front}", self.left]
        return "   ".join(word for word in words if word)

    def _draw_curve(self, width: int) -> str:
        status = self.status
        volume = f"{status.hypervolume[-1]:.3f}" if status.hypervolume else "-"
        tau = "" if status.surrogate_tau is None else f"   surrogate tau {status.surrogate_tau:.2f}"
        room = min(width - len(f"hypervolume {volume} {tau}"), _CURVE)
        return f"hypervolume {volume} {sparkline(status.hypervolume, room)}{tau}"
