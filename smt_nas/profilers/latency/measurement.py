"""`Measurement`: what timing one network gave, raw samples and all, and how far to trust it.

The samples of a network and what a watcher saw of the machine meanwhile go in, a measurement with
its status comes out. What cannot be told is `unknown`, never fine.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from smt_nas.conditions import Conditions
from smt_nas.errors import ConfigError
from smt_nas.profilers.latency.stats import (
    DRIFT,
    DRIFT_SAMPLES,
    INTERVAL_SAMPLES,
    Summary,
    drifts,
    replace_interrupted,
    summarise,
)

Status = Literal["ok", "drifting", "throttled", "loaded", "unsteady", "unknown"]
"""`ok`: nothing spoke against it. `drifting`: the last third is not like the first. `throttled`:
the GPU held its clocks back. `loaded`: others used the machine. `unsteady`: its samples lie far
apart, so that the median is that of whichever speed prevailed. `unknown`: it could not be told."""

Concern = tuple[Status, str]
"""A status other than `ok`, and the reason for it."""

LAUNCH_BOUND = 1.1  # wall over device time
SUBMITTING = 0.8  # share of the wall time until all was submitted: then the GPU had to wait
MAX_IQR = 0.2  # interquartile range over median of times that lie close enough
MAX_FLAGGED = 0.05  # share of samples under load from which the whole measurement is
STARVED = 1.1  # a sample that took this much longer than its CPU time explains was made to wait
_WORST_FIRST: tuple[Status, ...] = ("throttled", "loaded", "drifting", "unsteady", "unknown")


@dataclass(frozen=True)
class WatchReport:
    """What a watcher saw of the machine from start to stop.

    Attributes:
        concerns: each a status other than `ok` and the reason for it; empty where all was well.
        values: figures by name, plain JSON values; None for what could not be read.
    """

    concerns: tuple[Concern, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Samples:
    """What one network gave so far.

    Attributes:
        name, device, conditions: of the network, and how it runs.
        threads: CPU threads it runs on; None on a GPU.
        wall_ms, device_ms: samples in order; the second stays empty on a CPU.
        submit_ms: of each of `wall_ms`, the part until all was submitted; empty on a CPU.
        cpu_ms: CPU time of this process during each sample of `wall_ms`; empty on a GPU.
        first_call_ms, compile_ms: as in `Measurement`.
        per_turn: samples taken in a row.
        error: what ended them; None while the network runs.
    """

    name: str
    device: str
    conditions: Conditions
    threads: int | None
    wall_ms: list[float] = field(default_factory=list)
    device_ms: list[float] = field(default_factory=list)
    submit_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    first_call_ms: float = 0.0
    compile_ms: float | None = None
    per_turn: int = 1
    error: str | None = None


@dataclass(frozen=True)
class RunContext:
    """What all networks timed in one run share.

    Attributes:
        started: when, in UTC.
        warmed: whether a warm-up was asked for.
        warmup_s: seconds it took.
        steady: whether it ended steady.
        stopped_by: why the rounds ended.
        loaded: rounds during which others used the machine.
        watched: what the watcher saw.
    """

    started: str
    warmed: bool
    warmup_s: float
    steady: bool
    stopped_by: str
    loaded: tuple[range, ...]
    watched: WatchReport


@dataclass(frozen=True)
class Measurement:
    """Latency of one network under one set of conditions.

    Attributes:
        name: of the network.
        device: `cpu` or `cuda:0`.
        conditions: how it was run.
        wall_ms: what a caller waits, from submitting one call to its end; every sample, in order.
        device_ms: time on the GPU between CUDA events, every sample, with what it waited between
            them; None on a CPU.
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
        cpu_ms: CPU time of this process during each sample of `wall_ms`; None on a GPU, and in
            files: it serves while networks are compared.
        submit_ms: of each of `wall_ms`, the part until all work was submitted to the GPU; None on
            a CPU, and in files of before it was taken.
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
    cpu_ms: tuple[float, ...] | None = field(default=None, repr=False)
    submit_ms: tuple[float, ...] | None = None

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
        """Whether the GPU waits for the CPU; None on a CPU.

        Events hold the time that the GPU waits between two kernels, so it is the time to submit a
        call that tells: where the GPU is the slower one, much is left to do after it.
        """
        if self.on_device is None:
            return None
        wall = self.wall.median_ms
        if self.submit_ms and float(np.median(self.submit_ms)) > SUBMITTING * wall:
            return True
        return wall > LAUNCH_BOUND * self.on_device.median_ms

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: every field, raw samples and all, and what is concluded from them."""
        kept = [f.name for f in fields(self) if f.name != "cpu_ms"]
        values = {name: _to_plain(getattr(self, name)) for name in kept}
        return values | {
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
            measurement = TypeAdapter(cls).validate_python(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise _unreadable(f"{where}: {first['msg']}") from error
        if not measurement.wall_ms or not all(0 < ms < math.inf for ms in measurement.wall_ms):
            raise _unreadable("wall_ms that are no times")
        if measurement.per_round < 1:
            raise _unreadable(f"per_round {measurement.per_round}")
        return measurement


def assess_quality(samples: Samples, context: RunContext) -> Measurement:
    """Put together what one network gave, at least one sample, and judge it."""
    flagged = _flag_samples(samples, context.loaded)
    concerns = [*context.watched.concerns, *_list_concerns(samples, context, len(flagged))]
    words = {status for status, _ in concerns}
    watched = dict(context.watched.values)
    if samples.threads:
        watched["threads"] = samples.threads
    if samples.device_ms and watched.get("sm_mhz"):  # comparable where clocks were not alike
        watched["sm_kilocycles"] = float(np.median(samples.device_ms)) * watched["sm_mhz"]
    return Measurement(
        name=samples.name,
        device=samples.device,
        conditions=samples.conditions,
        wall_ms=tuple(samples.wall_ms),
        device_ms=tuple(samples.device_ms) if samples.device_ms else None,
        first_call_ms=samples.first_call_ms,
        compile_ms=samples.compile_ms,
        warmup_s=context.warmup_s,
        steady=context.steady,
        stopped_by=samples.error or context.stopped_by,
        flagged=flagged,
        status=next((status for status in _WORST_FIRST if status in words), "ok"),
        reasons=tuple(reason for _, reason in concerns),
        watched=watched,
        per_round=samples.per_turn,
        started=context.started,
        cpu_ms=tuple(samples.cpu_ms) or None,
        submit_ms=tuple(samples.submit_ms) if samples.submit_ms else None,
    )


def _list_concerns(samples: Samples, context: RunContext, flagged: int) -> Iterator[Concern]:
    """What the samples themselves speak of."""
    if samples.error:
        yield "unknown", f"ended by {samples.error}"
    if not context.steady and context.warmed:
        yield "drifting", f"not steady after {context.warmup_s:.2g} s of warm-up"
    if not context.warmed and len(samples.wall_ms) < DRIFT_SAMPLES and not are_close(samples):
        yield "unknown", "no warm-up, and too few samples to see a drift"
    if any(drifts(times) for times in (samples.wall_ms, samples.device_ms) if times):
        yield "drifting", "the last third of the samples is unlike the first"
    q1, median, q3 = np.percentile(samples.wall_ms, (25, 50, 75))
    if len(samples.wall_ms) >= DRIFT_SAMPLES and q3 - q1 > MAX_IQR * median:
        share = (q3 - q1) / median
        yield "unsteady", f"half of the samples lie {share:.0%} of the median or more apart"
    if flagged > MAX_FLAGGED * len(samples.wall_ms):
        share = flagged / len(samples.wall_ms)
        yield "loaded", f"{share:.0%} of the samples were taken while others ran"


def are_close(samples: Samples) -> bool:
    """Whether all samples lie within what counts as a drift; of one thread, without interruptions.

    Then the last of them cannot be unlike the first. Too few for an interval are none.
    """
    times = np.asarray(samples.device_ms or samples.wall_ms)
    if samples.cpu_ms and samples.threads == 1:
        times, _ = replace_interrupted(times, np.asarray(samples.cpu_ms))
    enough = len(times) >= INTERVAL_SAMPLES
    return enough and bool(np.ptp(times) <= DRIFT * np.median(times))


def _flag_samples(samples: Samples, loaded: Sequence[range]) -> tuple[int, ...]:
    """Indices of samples taken in rounds under load, or that waited for a CPU."""
    n, per_turn = len(samples.wall_ms), samples.per_turn
    spans = (range(r.start * per_turn, r.stop * per_turn) for r in loaded)
    flagged = {i for span in spans for i in span}
    if samples.cpu_ms:
        flagged |= set(_find_starved(samples.wall_ms, samples.cpu_ms, samples.threads or 1))
    return tuple(sorted(i for i in flagged if i < n))


def _find_starved(wall_ms: Sequence[float], cpu_ms: Sequence[float], threads: int) -> list[int]:
    """Samples whose CPU time falls short of their wall time.

    One thread is busy all the time. Several are not, so their own best decile says how many were
    (a run that is under load throughout is seen by the watcher).
    """
    wall, cpu = np.asarray(wall_ms), np.asarray(cpu_ms)
    busy = 1.0 if threads == 1 else min(float(threads), float(np.quantile(cpu / wall, 0.9)))
    return [int(i) for i in np.flatnonzero(wall * busy > STARVED * cpu)]


def _unreadable(reason: str) -> ConfigError:
    return ConfigError(
        f"measurement: must have the fields that smt-nas writes (got {reason}). "
        "Name a file that `smt-nas profile --json` wrote."
    )


def _to_plain(value: Any) -> Any:
    """Tuples as lists, mappings as dicts, models as they are."""
    if isinstance(value, Mapping):
        return {str(k): _to_plain(v) for k, v in value.items()}
    return [_to_plain(v) for v in value] if isinstance(value, list | tuple) else value
