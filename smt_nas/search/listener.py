"""How a search tells what it is doing; silent unless the caller listens."""

from __future__ import annotations


class Listener:
    """Override what you want to hear."""

    def say(self, text: str) -> None:
        """One line that a user wants to read."""

    def step(self, phase: str, done: int, total: int) -> None:
        """`done` of `total` in a phase: `evaluate`, `count` or `time`."""
