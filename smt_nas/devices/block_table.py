"""`BlockTable`: the latency of any network of a space, from a time for each of its parts.

    ms = factor x max(sum of the parts' device times, sum of their host times) + fixed

The host's times count on a GPU in eager mode only, where launching may take longer than computing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from smt_nas.conditions import Conditions
from smt_nas.costs.parts import Floats, PartIndex

COVERAGE = 0.8  # of an interval: this share of truths should lie in it
DAY_TO_DAY = {"cpu": 0.05, "gpu": 0.04}
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


@dataclass(frozen=True)
class BlockTable:
    """Times of the parts of one space under one set of conditions.

    Attributes:
        index: the space's P parts.
        conditions: under which the times hold.
        ms: (P,) time of each part on the device.
        host_ms: (P,) time the host takes to launch each; None where it is not to be told apart.
        spread: (P,) how far off, in log, each time may be beyond what `low` and `high` say: 0 of
            what was measured.
        factor: a whole network's time over the sum of its parts.
        fixed_ms: what a network costs that no part does.
        low, high: log of truth over prediction that bounds the interval, e.g. -0.04 and 0.05.
        basis: where the times come from.
        notes: what a reader must know.
    """

    index: PartIndex
    conditions: Conditions
    ms: Floats
    host_ms: Floats | None = None
    spread: Floats | float = 0.0
    factor: float = 1.0
    fixed_ms: float = 0.0
    low: float = 0.0
    high: float = 0.0
    basis: Literal["sheet", "anchored", "table"] = "table"
    notes: tuple[str, ...] = ()

    def predict(self, genes: NDArray[Any]) -> Latency:
        """Latency of n networks of the space, from genes (n, G).

        Raises:
            SpaceError: the genes do not belong to the space.
        """
        rows = self.index.space.canonical(genes)
        on_device = self.index.sums(self.ms, rows)
        busiest = on_device
        if self.host_ms is not None:
            busiest = np.maximum(on_device, self.index.sums(self.host_ms, rows))
        ms = self.factor * busiest + self.fixed_ms
        spread = self._spread(rows, on_device)
        return Latency(
            ms=ms,
            low=ms * np.exp(self.low - spread),
            high=ms * np.exp(self.high + spread),
            conditions=self.conditions,
            basis=self.basis,
            notes=self.notes,
        )

    def _spread(self, rows: NDArray[np.int64], on_device: Floats) -> Floats:
        """Mean of the parts' spreads by their share of the time, (n,): as if all erred alike."""
        spread = np.broadcast_to(np.asarray(self.spread, dtype=np.float64), self.ms.shape)
        if not spread.any():
            return np.zeros(len(rows))
        return self.index.sums(self.ms * spread, rows) / on_device
