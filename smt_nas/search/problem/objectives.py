"""What a search judges by: `TargetMetric`, a metric of a latency target, and `Constraint`.

    macs  score  latency_ms  latency_ms@a100:b1:fp16  peak_memory_mb@a100:b64:fp16

A `LatencyTarget` is a device and conditions; a latency of the search's own (`--device`) bears the
metric's name alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from smt_nas.budgets import Budget, Limit, Target, parse_budget, resolve_budget
from smt_nas.conditions import DEPLOYED, Conditions, Precision
from smt_nas.devices.block_table import Latency
from smt_nas.devices.device import Device, load_device
from smt_nas.devices.resolve import CPU, DeviceRef, parse_device, resolve, split_batch
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS, Direction, Metric, metric

Floats = NDArray[np.float64]
Interval = tuple[Any, Any, Any]
"""Value, low and high end; floats, or arrays (n,)."""
FROM_LATENCY = ("latency_ms", "throughput_ips")
REGION_DISTANCE = "region_distance"
"""Metric: how far a network lies from published designs (`evaluators.topology.design_region`)."""
_BYTES: dict[Precision, tuple[int, int]] = {  # a weight's, an activation's
    "fp32": (4, 4),
    "tf32": (4, 4),
    "fp16": (2, 2),
    "bf16": (2, 2),
    "amp-fp16": (4, 4),  # what autocast leaves in fp32 decides the peak
    "amp-bf16": (4, 4),
}


_BATCH = {"throughput_ips": {"gpu": 64, "cpu": 1}}  # by metric and kind; 1 elsewhere


class LatencyTarget(BaseModel):
    """A device and the conditions under which its latency counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    place: DeviceRef
    conditions: Conditions

    def __str__(self) -> str:
        """Write it as budgets do after `@`, e.g. `a100:b1:fp16`."""
        return ":".join([self.place.label, *self._words])

    @property
    def label(self) -> str:
        """Write it for a reader, e.g. `a100 (b1 fp16)`."""
        return f"{self.place.label} ({' '.join(self._words)})"

    @property
    def _words(self) -> list[str]:
        """Its conditions; the mode where it is not the default."""
        mode = self.conditions.mode
        words = [f"b{self.conditions.batch}", self.conditions.precision]
        return words if mode == "eager" else [*words, mode]


BEFORE_DEVICES = LatencyTarget(  # of run directories that do not say: all were timed like this
    place=DeviceRef(
        label=CPU, device="", name="this CPU", kind="cpu", here="cpu", precisions=("fp32",)
    ),
    conditions=Conditions(threads=1),
)

FindDevice = Callable[[str | None], DeviceRef]
"""From what a user wrote, or None for this machine's own device, to the device."""


@dataclass
class Devices:
    """The devices that a search names, each loaded once. A `FindDevice`.

    Attributes:
        loaded: by label.
    """

    loaded: dict[str, Device] = field(default_factory=dict)

    def __call__(self, name: str | None) -> DeviceRef:
        """Find a device.

        Raises:
            UnknownName: neither a sheet nor a device of this machine.
            MeasurementError: this machine has no GPU (`gpu`).
        """
        ref = resolve(name)
        self.loaded[ref.label] = load_device(ref)
        return ref


@dataclass(frozen=True)
class DefaultTarget:
    """Where latencies without a device of their own are of.

    Attributes:
        place: the device.
        batch, precision, mode: None where they were left open.
        source: who named it: `--device`, a budget, or nobody, so that it is this machine's.
    """

    place: DeviceRef
    batch: int | None = None
    precision: str | None = None
    mode: str | None = None
    source: Literal["option", "budget", "machine"] = "option"

    def __str__(self) -> str:
        """Write it as `--device` takes it: `a100`, `a100:b8:fp16`."""
        batch = None if self.batch is None else f"b{self.batch}"
        parts = (self.place.label, batch, self.precision, self.mode)
        return ":".join(p for p in parts if p is not None)

    @classmethod
    def read(cls, text: str | None, find: FindDevice) -> DefaultTarget:
        """Read `a100`, `a100:b8:fp16` or None. Raises ConfigError."""
        if text is None:
            return cls(find(None), source="machine")
        target = _parse_default(text)
        return cls(find(target.device), target.batch, target.precision, target.mode)

    def target(self, metric: str) -> LatencyTarget:
        """The target of a metric that names none."""
        return make_target(self.place, metric, self.batch, self.precision, self.mode)


def make_target(
    place: DeviceRef,
    metric: str,
    batch: int | None,
    precision: str | None,
    mode: str | None = None,
) -> LatencyTarget:
    """A target, with what was left open filled in.

    One thread on a CPU: with more, a busy neighbour makes a forward several times slower.

    Raises:
        ConfigError: the device cannot compute in that precision, or has no CUDA graphs, or
            does not run the form.
    """
    if precision is not None and precision not in place.precisions:
        raise ConfigError(
            f"{place.label}: cannot compute in {precision}. It can: {', '.join(place.precisions)}."
        )
    if mode == "graph" and place.kind == "cpu":
        raise ConfigError(f"{place.label}: has no CUDA graphs (got form graph). Drop it.")
    if mode in DEPLOYED and place.kind != "cpu":
        raise ConfigError(f"{place.label}: {mode} is run on CPUs here (got a GPU). Drop it.")
    conditions = Conditions.model_validate(
        {
            "batch": batch or _BATCH.get(metric, {}).get(place.kind, 1),
            "precision": precision or "fp32",
            "mode": mode or "eager",
            "threads": 1 if place.kind == "cpu" else None,
        }
    )
    return LatencyTarget(place=place, conditions=conditions)


def _parse_default(text: str) -> Target:
    try:
        return parse_device(text)
    except ConfigError as error:
        raise ConfigError(f"--device {text}: {error}") from None


@dataclass(frozen=True)
class TargetMetric:
    """A metric of networks and, where it depends on a device, of which and under which conditions.

    Attributes:
        metric: what it is.
        name: key in results.
        target: the device and conditions it is of; None where it depends on none.
    """

    metric: Metric
    name: str
    target: LatencyTarget | None = None

    @property
    def direction(self) -> Direction:
        """`min` where less is better."""
        return self.metric.direction

    @property
    def is_predicted(self) -> bool:
        """Whether it follows from a device's predicted latency."""
        return self.metric.name in FROM_LATENCY

    @property
    def is_evaluated(self) -> bool:
        """Whether only an evaluator can give it."""
        return not self.is_predicted and not self.metric.formula

    def of_ms(self, ms: Any) -> Any:
        """The value that a latency (a number, or an array) stands for."""
        assert self.target is not None
        per_second = self.metric.name == "throughput_ips"
        return self.target.conditions.batch * 1e3 / ms if per_second else ms

    def of_latency(self, latency: Latency) -> Interval:
        """Value, low and high of predictions, each (n,)."""
        ends = (self.of_ms(latency.low), self.of_ms(latency.high))
        return (self.of_ms(latency.ms), *(ends if self.metric.name == "latency_ms" else ends[::-1]))

    def of_costs(self, params: Any, peak_memory_mb: Any) -> Any:
        """Memory at the target's batch and precision, of that of one fp32 image."""
        assert self.target is not None
        weight, activation = _BYTES[self.target.conditions.precision]
        activations_mb = peak_memory_mb - params * (_BYTES["fp32"][0] / 1e6)
        scaled = activations_mb * (self.target.conditions.batch * activation / _BYTES["fp32"][1])
        return params * (weight / 1e6) + scaled


@dataclass(frozen=True)
class Constraint:
    """A limit on a metric: what one `--budget` means."""

    target_metric: TargetMetric
    limit: Limit

    @property
    def low(self) -> float | None:
        """Smallest value that holds; None where open."""
        return self.limit.low

    @property
    def high(self) -> float | None:
        """Largest value that holds; None where open."""
        return self.limit.high

    def __str__(self) -> str:
        """Spell it in the unit of tables, e.g. `at most 5.00 latency_ms on a100 (b1 fp16)`."""
        if self.target_metric.name == REGION_DISTANCE:
            return "within the region of published designs"
        where = self.target_metric.target
        return f"{self.limit}{f' on {where.label}' if where else ''}"


def make_region_constraint(limit: float) -> Constraint:
    """The constraint to lie within the region of published designs."""
    m = METRICS[REGION_DISTANCE]
    return Constraint(TargetMetric(m, m.name), Limit(m.name, None, limit))


def read_objective(name: str, default: DefaultTarget) -> TargetMetric:
    """The metric that an objective names. Raises UnknownName."""
    m = metric(name)
    where = default.target(m.name) if m.name in FROM_LATENCY else None
    return TargetMetric(m, m.name, where)


def read_budget(text: str, default: DefaultTarget, find: FindDevice) -> tuple[Budget, TargetMetric]:
    """A budget, and the metric that it limits. Raises ConfigError."""
    budget = parse_budget(text)
    m = METRICS[budget.metric]
    if not budget.needs_prediction:
        return budget, TargetMetric(m, m.name)
    try:
        where = _find_target(budget, default, find)
    except ConfigError as error:
        raise ConfigError(f"budget {text!r}: {error}") from error
    own = m.name in FROM_LATENCY and where == default.target(m.name)
    return budget, TargetMetric(m, m.name if own else f"{m.name}@{where}", where)


def make_constraint(
    budget: Budget, metric: TargetMetric, preset_value: Callable[[str, TargetMetric], float]
) -> Constraint:
    """The constraint that a budget sets; `preset_value` gives a preset's."""
    limit = resolve_budget(budget, lambda name, _: preset_value(name, metric))
    return Constraint(metric, limit)


def _find_target(budget: Budget, default: DefaultTarget, find: FindDevice) -> LatencyTarget:
    named = read_budget_target(budget, find)
    if named is None:
        batch, precision = budget.batch or default.batch, budget.precision or default.precision
        named = DefaultTarget(default.place, batch, precision, budget.mode or default.mode)
    return named.target(budget.metric)


def read_budget_target(budget: Budget, find: FindDevice) -> DefaultTarget | None:
    """The device that a budget names, with its conditions; None where it names none."""
    device, batch = split_batch(budget.device, budget.batch)
    if device is None:
        return None
    return DefaultTarget(find(device), batch, budget.precision, budget.mode, "budget")


def choose_target(budgets: Sequence[str], find: FindDevice) -> DefaultTarget | None:
    """The target of a search that names no device: the one that its budgets of latency name.

    None where one of them names none, as that one is of this machine, or where they name several.
    The first budget of a latency says the conditions, else the first of a throughput.

    Raises:
        ConfigError: as `read_budget`.
    """
    timed = [(text, parse_budget(text)) for text in budgets]
    timed = [(text, budget) for text, budget in timed if budget.metric in FROM_LATENCY]
    named = []
    for text, budget in sorted(timed, key=lambda pair: FROM_LATENCY.index(pair[1].metric)):
        try:
            target = read_budget_target(budget, find)
        except ConfigError as error:
            raise ConfigError(f"budget {text!r}: {error}") from error
        if target is None:
            return None
        named.append(target)
    return named[0] if len({target.place.label for target in named}) == 1 else None
