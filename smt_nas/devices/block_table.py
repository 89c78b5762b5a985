"""`BlockTable`: the latency of any network of a space, from a time for each of its parts.

Of times that were measured:

    ms = factor x max(sum of the parts' device times, sum of their host times) + fixed

Of a data sheet, device and host are two predictions, each with its own doubt, and are joined:

    ms = join(factor x sum of the parts' device times, sum of their host times)

The host counts on a GPU, where submitting the operators may take longer than computing them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smt_nas.conditions import Conditions
from smt_nas.costs.parts import Floats, PartIndex

Basis = Literal["sheet", "anchored", "table", "table+sheet"]
COVERAGE = 0.8  # of an interval: this share of truths should lie in it
_SHARPNESS = 4.0  # of `join_times`
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
            user measured), `table` (blocks measured on the device) or `table+sheet` (the same;
            blocks that were not measured are by the sheet, at the pace of their like).
        notes: what a reader must know, e.g. the power-cap warning of a T4.
        host_bound: whether the device waits for the host, (n,); None where it is not told apart.
    """

    ms: Floats
    low: Floats
    high: Floats
    conditions: Conditions
    basis: Basis
    notes: tuple[str, ...] = ()
    host_bound: NDArray[np.bool_] | None = None

    @property
    def throughput_ips(self) -> Floats:
        """Images per second, (n,)."""
        return self.conditions.batch * 1e3 / self.ms


class Correction(NamedTuple):
    """What networks measured on a device say of its predictions in one mode.

    `factor`: truth over prediction; `low`, `high`: log of truth over what is then predicted.
    """

    factor: float
    low: float
    high: float


@dataclass(frozen=True)
class JointTimes:
    """How a device and its host share a forward, by a data sheet.

    Attributes:
        low, high: log of truth over the device's predicted time that bounds its interval.
        host_half: half the interval of the host's time, in log.
        correction: of the joint time; its interval is then the only one.
    """

    low: float
    high: float
    host_half: float = 0.0
    correction: Correction | None = None

    def predict(self, device_ms: Floats, host_ms: Floats) -> tuple[Floats, Floats, Floats]:
        """Middle, low and high end of the time of n forwards, each (n,)."""
        ms = join_times(device_ms, host_ms)
        if self.correction is not None:
            ms = ms * self.correction.factor
            return ms, ms * np.exp(self.correction.low), ms * np.exp(self.correction.high)
        low, high = (
            join_times(device_ms * np.exp(ends[0]), host_ms * np.exp(ends[1]))
            for ends in ((self.low, -self.host_half), (self.high, self.host_half))
        )
        return ms, low, high


def join_times(device_ms: Floats, host_ms: Floats) -> Floats:
    """Time of a forward that a device and its host share, (n,).

    The host runs ahead of the device, so that the slower one counts; but the device waits for the
    first operator, and wherever operators are short. So it is a little more where both are alike.
    """
    slower, faster = np.maximum(device_ms, host_ms), np.minimum(device_ms, host_ms)
    share = faster / np.maximum(slower, 1e-12)
    return np.asarray(slower * (1 + share**_SHARPNESS) ** (1 / _SHARPNESS))


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
        joint: of a data sheet, how device and host are joined; None where the times were measured.
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
    joint: JointTimes | None = None
    basis: Basis = "table"
    notes: tuple[str, ...] = ()

    def predict(self, genes: NDArray[Any]) -> Latency:
        """Latency of n networks of the space, from genes (n, G).

        Raises:
            SpaceError: the genes do not belong to the space.
        """
        rows = self.index.space.canonical(genes)
        on_device = self.index.sums(self.ms, rows)
        host = None if self.host_ms is None else self.index.sums(self.host_ms, rows)
        if self.joint is not None:
            bound = None if host is None else host > self.factor * on_device
            waits = np.zeros_like(on_device) if host is None else host
            ms, low, high = self.joint.predict(self.factor * on_device, waits)
        else:
            bound = None if host is None else host > on_device
            busiest = on_device if host is None else np.maximum(on_device, host)
            ms = self.factor * busiest + self.fixed_ms
            spread = self._spread(rows, on_device)
            low, high = ms * np.exp(self.low - spread), ms * np.exp(self.high + spread)
        return Latency(ms, low, high, self.conditions, self.basis, self.notes, bound)

    def _spread(self, rows: NDArray[np.int64], on_device: Floats) -> Floats:
        """Mean of the parts' spreads by their share of the time, (n,): as if all erred alike."""
        spread = np.broadcast_to(np.asarray(self.spread, dtype=np.float64), self.ms.shape)
        if not spread.any():
            return np.zeros(len(rows))
        return self.index.sums(self.ms * spread, rows) / on_device
