"""`Reading`: one number of a profile, where it comes from, and how far to trust it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from smt_nas.devices.block_table import Latency
from smt_nas.metrics import Provenance
from smt_nas.profilers.latency.measurement import Measurement, Status

Bound = Literal["device", "host"]


@dataclass(frozen=True)
class Reading:
    """A value with its provenance and status.

    Attributes:
        value: in the base unit of its metric; None where it is not known.
        provenance: where it comes from, or would have come from.
        status: how far to trust it; `unknown` where there is no value.
        low, high: its interval: 95 % of the median where measured, 80 % of truths where predicted.
        reason: why there is no value, why the status is not `ok`, or what else must be known.
        basis: what a prediction is made from: `sheet`, `anchored` or `table`.
        bound: of a latency on a GPU, who is waited for: `device`, or the `host` that submits its
            operators; None where it is not told apart.
    """

    value: float | None
    provenance: Provenance
    status: Status = "ok"
    low: float | None = None
    high: float | None = None
    reason: str | None = None
    basis: str | None = None
    bound: Bound | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def unknown(provenance: Provenance, reason: str) -> Reading:
    """A reading that is not there, and why."""
    return Reading(None, provenance, "unknown", reason=reason)


def latency_as_measured(m: Measurement) -> Reading:
    """The wall time of one call, milliseconds."""
    s = m.wall
    reason = "; ".join(m.reasons) or None
    bound = _word_bound(m.launch_bound)
    return Reading(s.median_ms, "measured", m.status, s.low_ms, s.high_ms, reason, bound=bound)


def latency_as_predicted(latency: Latency) -> Reading:
    """The predicted time of one call, milliseconds."""
    low, ms, high = (float(a[0]) for a in (latency.low, latency.ms, latency.high))
    note = "; ".join(latency.notes) or None
    bound = _word_bound(None if latency.host_bound is None else bool(latency.host_bound[0]))
    return Reading(ms, "predicted", "ok", low, high, note, latency.basis, bound)


def _word_bound(by_host: bool | None) -> Bound | None:
    return None if by_host is None else "host" if by_host else "device"


def throughput_of(latency: Reading, batch: int) -> Reading:
    """Images per second of calls one after the other."""

    def per_second(ms: float | None) -> float | None:
        return None if ms is None else batch * 1e3 / ms

    return replace(
        latency,
        value=per_second(latency.value),
        low=per_second(latency.high),
        high=per_second(latency.low),
    )
