"""`Latency`: a predicted latency with its interval, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smt_nas.conditions import Conditions

Floats = NDArray[np.float64]
COVERAGE = 0.8  # of an interval: this share of truths should lie in it
APART = {"cpu": 0.05, "gpu": 0.04}
"""How far the same measurement may be off on another day, as a share: GPUs without locked clocks
about 4 % (meta-pytorch/tritonbench, pull request 143); CPUs more."""


@dataclass(frozen=True)
class Latency:
    """Predicted milliseconds of one forward of n networks; each array is (n,).

    Attributes:
        ms: the middle of the prediction.
        low, high: ends of the interval that should hold `COVERAGE` of the truths.
        conditions: under which it holds.
        basis: `sheet` (data sheet and roofline), `anchored` (the same, corrected by networks the
            user measured) or `table` (blocks measured on the device).
        notes: what a reader must know, e.g. the power-cap warning of a T4.
    """

    ms: Floats
    low: Floats
    high: Floats
    conditions: Conditions
    basis: Literal["sheet", "anchored", "table"]
    notes: tuple[str, ...] = ()

    @property
    def throughput_ips(self) -> Floats:
        """Images per second, (n,)."""
        return self.conditions.batch * 1e3 / self.ms
