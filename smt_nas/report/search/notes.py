"""A note on a front: in full, and in one short line where it may stand below the table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """What a reader should know of a front.

    Attributes:
        text: in full, for `front --evidence` and the document.
        short: in a line of about 80 characters; None where it stands in full only.
    """

    text: str
    short: str | None = None
