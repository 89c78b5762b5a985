"""`Measurement`: what timing one network gave, raw samples and all, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError
from smt_nas.profilers.stats import Summary, summarise

Status = Literal["ok", "drifting", "throttled", "loaded", "unknown"]
"""`ok`: nothing spoke against it. `drifting`: the last third is not like the first. `throttled`:
the GPU held its clocks back. `loaded`: others used the machine. `unknown`: it could not be told."""

LAUNCH_BOUND = 1.1


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
        per_round: samples taken in a row before the next network had its turn.
        started: when, in UTC; networks measured interleaved share it to the microsecond, and only
            they can be compared round by round.
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
    per_round: int = 1
    started: str = ""

    @cached_property
    def wall(self) -> Summary:
        """Median, percentiles and interval of `wall_ms`. The headline: `latency_ms`."""
        return summarise(self.wall_ms)

    @cached_property
    def on_device(self) -> Summary | None:
        """The same of `device_ms`."""
        return None if not self.device_ms else summarise(self.device_ms)

    @property
    def launch_bound(self) -> bool | None:
        """Whether the GPU waits for the CPU: wall over device time above 1.1; None on a CPU."""
        if self.on_device is None:
            return None
        return self.wall.median_ms > LAUNCH_BOUND * self.on_device.median_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: every field, raw samples and all, and what is concluded from them."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: _plain(value) for name, value in found.items()} | {
            "conditions": self.conditions.model_dump(mode="json"),
            "wall": asdict(self.wall),
            "on_device": None if self.on_device is None else asdict(self.on_device),
            "launch_bound": self.launch_bound,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Measurement:
        """Read `to_dict` back; what is concluded is concluded anew.

        Raises:
            ConfigError: a field is missing or holds what it cannot.
        """
        try:
            found = TypeAdapter(cls).validate_python(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise _unreadable(f"{where}: {first['msg']}") from error
        if not found.wall_ms or not all(0 < ms < math.inf for ms in found.wall_ms):
            raise _unreadable("wall_ms that are no times")
        if found.per_round < 1:
            raise _unreadable(f"per_round {found.per_round}")
        return found


def _unreadable(reason: str) -> ConfigError:
    return ConfigError(
        f"measurement: must have the fields that smt-nas writes (got {reason}). "
        "Name a file that `smt-nas profile --json` wrote."
    )


def _plain(value: Any) -> Any:
    """Tuples as lists, mappings as dicts, models as they are."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
