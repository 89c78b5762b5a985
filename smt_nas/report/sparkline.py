"""Curves of a line's height."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_BLOCKS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int | None = None) -> str:
    """A character a value, from nothing to the largest; of more than `width`, so many evenly."""
    if width is not None and len(values) > width:
        picks = np.linspace(0, len(values) - 1, max(width, 1)).round().astype(int)
        values = [values[i] for i in picks]
    top = max(values, default=0.0)
    if top <= 0:
        return _BLOCKS[0] * len(values)
    return "".join(_BLOCKS[round(v / top * (len(_BLOCKS) - 1))] for v in values)
