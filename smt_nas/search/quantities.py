"""`Quantity`: a metric and, where it depends on one, the target it is of. What a search judges by.

    macs  score  latency_ms  latency_ms@a100:b1:fp16  peak_memory_mb@a100:b64:fp16

A latency of the search's own target (`--device`) bears the metric's name alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.budgets import Budget, Limit, parse_budget, resolve
from smt_nas.conditions import Precision
from smt_nas.devices.block_table import Latency
from smt_nas.errors import ConfigError
from smt_nas.metrics import METRICS, Direction, Metric, metric
from smt_nas.search.targets import Default, Find, Target, target

Floats = NDArray[np.float64]
Interval = tuple[Any, Any, Any]
"""Value, low and high end; floats, or arrays (n,)."""
FROM_LATENCY = ("latency_ms", "throughput_ips")
_BYTES: dict[Precision, tuple[int, int]] = {  # a weight's, an activation's
    "fp32": (4, 4),
    "tf32": (4, 4),
    "fp16": (2, 2),
    "bf16": (2, 2),
    "amp-fp16": (4, 4),  # what autocast leaves in fp32 decides the peak
    "amp-bf16": (4, 4),
}


@dataclass(frozen=True)
class Quantity:
    """Something a result can say of a network.

    Attributes:
        metric: what it is.
        name: key in results.
        target: the device and conditions it is of; None where it depends on none.
    """

    metric: Metric
    name: str
    target: Target | None = None

    @property
    def direction(self) -> Direction:
        """`min` where less is better."""
        return self.metric.direction

    @property
    def predicted(self) -> bool:
        """Whether it follows from a device's predicted latency."""
        return self.metric.name in FROM_LATENCY

    @property
    def rated(self) -> bool:
        """Whether only an evaluator knows it."""
        return not self.predicted and not self.metric.formula

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
class Requirement:
    """A limit on a quantity: what one `--budget` means."""

    quantity: Quantity
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
        where = self.quantity.target
        return f"{self.limit}{f' on {where.words}' if where else ''}"


def objective(name: str, default: Default) -> Quantity:
    """What an objective means. Raises UnknownName."""
    m = metric(name)
    where = default.target(m.name) if m.name in FROM_LATENCY else None
    return Quantity(m, m.name, where)


def budgeted(text: str, default: Default, find: Find) -> tuple[Budget, Quantity]:
    """What a budget limits. Raises ConfigError."""
    budget = parse_budget(text)
    m = METRICS[budget.metric]
    if not budget.needs_prediction:
        return budget, Quantity(m, m.name)
    try:
        where = _where(budget, default, find)
    except ConfigError as error:
        raise ConfigError(f"budget {text!r}: {error}") from error
    own = m.name in FROM_LATENCY and where == default.target(m.name)
    return budget, Quantity(m, m.name if own else f"{m.name}@{where}", where)


def required(
    budget: Budget, quantity: Quantity, preset_value: Callable[[str, Quantity], float]
) -> Requirement:
    """The limit that a budget sets; `preset_value` is asked where it is relative to a preset."""
    limit = resolve(budget, lambda name, _: preset_value(name, quantity))
    return Requirement(quantity, limit)


def _where(budget: Budget, default: Default, find: Find) -> Target:
    if budget.device is not None:
        return target(find(budget.device), budget.metric, budget.batch, budget.precision)
    batch, precision = budget.batch or default.batch, budget.precision or default.precision
    return target(default.place, budget.metric, batch, precision)
