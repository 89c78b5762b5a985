"""Numbers of accuracy tables as text: shares in 0..1 as percent, with intervals."""

from __future__ import annotations

DASH = "-"


def percent(share: float | None, unit: str = "", digits: int = 2) -> str:
    """`91.23` for 0.9123; a dash where there is none."""
    return DASH if share is None else f"{100 * share:.{digits}f}{unit}"


def interval(low: float | None, high: float | None) -> str:
    """`90.65 to 91.78`; a dash where there is none."""
    return DASH if low is None or high is None else f"{percent(low)} to {percent(high)}"


def format_digits(value: float | None, digits: int = 0) -> str:
    """A number with so many decimals; a dash where there is none."""
    return DASH if value is None else f"{value:.{digits}f}"
