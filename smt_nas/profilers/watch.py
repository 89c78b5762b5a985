"""Watchers: what else happened on the machine while networks were timed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from smt_nas.profilers.measurement import Status


@dataclass(frozen=True)
class Seen:
    """What a watcher saw from start to stop.

    Attributes:
        concerns: each a status other than `ok` and the reason for it; empty where all was well.
        values: figures by name, plain JSON values; None for what could not be read.
    """

    concerns: tuple[tuple[Status, str], ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


class Watcher(Protocol):
    """Watches one device from `start` to `stop`."""

    def start(self) -> None:
        """Begin."""

    def loaded(self) -> bool:
        """Whether others used the machine since the last question (or the start)."""

    def stop(self) -> Seen:
        """End, and tell."""


class Unwatched:
    """Sees nothing, and says so: the status of what it watched is `unknown`."""

    def start(self) -> None:
        """Nothing to begin."""

    def loaded(self) -> bool:
        """It cannot tell."""
        return False

    def stop(self) -> Seen:
        """Tell that nothing was seen."""
        return Seen((("unknown", "nothing watched the machine"),))


def watcher_of(device: str) -> Watcher:
    """The watcher of `cpu` or `cuda:0`."""
    return Unwatched()
