"""`Absent`: an instrument this machine does not have, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Absent:
    """Stands where an instrument would; `reason` is one sentence for the user."""

    reason: str
