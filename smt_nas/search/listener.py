"""How a search tells what it is doing; silent unless the caller listens."""

from __future__ import annotations

from typing import Protocol


class Listener(Protocol):
    """Hears what a search does."""

    def say(self, text: str) -> None:
        """One line that a user wants to read."""

    def step(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` in a phase: `evaluate`, `count` or `time`."""


class Silence:
    """Hears and does nothing."""

    def say(self, text: str) -> None:
        """Drop a line."""

    def step(self, phase: str, done: int, total: int) -> None:
        """Drop a step."""
