"""How a search tells what it is doing, as values; whoever listens finds the words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from smt_nas.runtime.progress import NullProgress, ProgressListener
from smt_nas.search.loop.status import SearchStatus
from smt_nas.search.stop_rule import StopReason, StopRule
from smt_nas.search.survey import Survey


class SearchListener(ProgressListener, Protocol):
    """Hears what a search does; its phases are `evaluate`, `count` and `time`."""

    def surveyed(self, survey: Survey) -> None:
        """The space was surveyed; nothing is evaluated yet."""

    def resumed(self, tried: int, wanted: int | None) -> None:
        """A search goes on; `tried` networks of those wanted are there; None for any."""

    def exhausted(self, space: str, tried: int, wanted: int | None) -> None:
        """The budget leaves no more networks of the space; `tried` instead of those wanted.

        None: any number was wanted.
        """

    def stopped(self, reason: StopReason, rule: StopRule, tried: int) -> None:
        """No more networks are proposed, by the rule that it was asked for."""

    def progressed(self, measure: Callable[[], SearchStatus]) -> None:
        """A network was tried; `measure` tells how the search stands, and takes its time."""

    def finishing(self) -> None:
        """The user stopped it; what runs is finished first. Heard in another thread."""

    def interrupted(self) -> None:
        """The user stopped it; the front of what is there follows."""


class NullSearchProgress(NullProgress):
    """Hears everything of a search and does nothing."""

    def surveyed(self, survey: Survey) -> None:
        """Drop a survey."""

    def resumed(self, tried: int, wanted: int | None) -> None:
        """Drop a start."""

    def exhausted(self, space: str, tried: int, wanted: int | None) -> None:
        """Drop an end."""

    def stopped(self, reason: StopReason, rule: StopRule, tried: int) -> None:
        """Drop an end."""

    def progressed(self, measure: Callable[[], SearchStatus]) -> None:
        """Drop a network."""

    def finishing(self) -> None:
        """Drop an interruption."""

    def interrupted(self) -> None:
        """Drop an interruption."""
