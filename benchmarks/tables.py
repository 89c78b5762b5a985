"""Rows of tables and the errors in them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from smt_nas.devices.kernels import Floats


def mape(logs: Floats) -> float:
    """Mean absolute percentage error, in %, of logs of prediction over truth."""
    return float(100 * np.abs(np.expm1(logs)).mean())


def within(logs: Floats, share: float = 0.1) -> float:
    """Share of networks predicted within 10 %, in %."""
    return float(100 * (np.abs(np.expm1(logs)) <= share).mean())


def line(cells: Sequence[object]) -> None:
    """Print a row of a table."""
    print("| " + " | ".join(map(str, cells)) + " |")


def header(*cells: str) -> None:
    """Print the first two lines of a table."""
    line(cells)
    line(["---"] * len(cells))
