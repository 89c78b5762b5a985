"""`Measurement`: what timing one network gave, raw samples and all, and how far to trust it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from smt_nas.devices.conditions import Conditions
from smt_nas.profilers.stats import Summary, summarise

Status = Literal["ok", "drifting", "throttled", "loaded", "unknown"]
"""`ok`: nothing spoke against it. `drifting`: the last third is not like the first. `throttled`: the
GPU held its clocks back. `loaded`: others used the machine. `unknown`: it could not be told."""


@dataclass(frozen=True)
class Measurement:
    """Latency of one network under one set of conditions.

    Attributes:
        name: of the network.
        device: `cpu` or `cuda:0`.
        conditions: how it was run.
        wall_ms: what a caller waits, from submitting one call to its end; every sample, in order.
        device_ms: time on the GPU between CUDA events, every sample; None on a CPU.
        first_call_ms: the first call, which loads, tunes and allocates; in no other figure.
        compile_ms: torch.compile or graph capture; None where nothing was compiled.
        warmup_s: seconds of warm-up.
        steady: the warm-up ended because its windows agreed, not because of its cap.
        stopped_by: `ci` (the interval of the median is narrow enough), `time cap`, or the error
            after which the samples that are there were kept.
        flagged: indices of `wall_ms` taken while others used the machine.
        status: how far to trust it.
        reasons: why it is not `ok`; empty where it is.
        watched: what the watchers saw: clocks, power, temperature, load, steal.
    """

    name: str
    device: str
    conditions: Conditions
    wall_ms: tuple[float, ...]
    device_ms: tuple[float, ...] | None
    first_call_ms: float
    compile_ms: float | None
    warmup_s: float
    steady: bool
    stopped_by: str
    flagged: tuple[int, ...] = ()
    status: Status = "unknown"
    reasons: tuple[str, ...] = ()
    watched: Mapping[str, Any] = field(default_factory=dict)

    @property
    def wall(self) -> Summary:
        """Median, percentiles and interval of `wall_ms`. The headline: `latency_ms`."""
        return summarise(self.wall_ms)

    @property
    def on_device(self) -> Summary | None:
        """The same of `device_ms`."""
        return None if self.device_ms is None else summarise(self.device_ms)

    @property
    def launch_bound(self) -> bool | None:
        """Whether the GPU waits for the CPU: wall over device time above 1.1; None on a CPU."""
        if self.device_ms is None or not self.device_ms:
            return None
        return self.wall.median_ms > 1.1 * summarise(self.device_ms).median_ms
