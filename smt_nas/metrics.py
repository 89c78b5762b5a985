"""METRICS: what a result can say of a network, with unit, direction and provenance.

The only place that knows them. MACs: 1 multiply-accumulate = 1 FLOP, as vision papers count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from smt_nas.errors import UnknownName

Direction = Literal["min", "max"]
Provenance = Literal[
    "exact", "measured", "predicted", "proxy", "inherited", "trained", "published", "function"
]
"""Where a number comes from. `exact`: counted by formula and confirmed by op counters;
`inherited`: of a network with the weights of a supernet, which it shares with all others;
`function`: returned by a user's own function or replayed from a user's table."""


PREFIXES = {"T": 12, "G": 9, "M": 6, "k": 3, "": 0}
_LEAST_PLAIN, _MOST_PLAIN = 1e-4, 1e7  # of a column without a unit that needs no exponent
_LEAST = 0.1  # of a column's smallest value, in the unit of the column


@dataclass(frozen=True)
class Unit:
    """How the values of a metric are written.

    Attributes:
        heading: column title, with the unit.
        per: divisor from the stored value to the one that is written.
        digits: decimals.
        scientific: with an exponent.
    """

    heading: str
    per: float
    digits: int
    scientific: bool = False

    def show(self, value: float | None) -> str:
        """Write a stored value; `-` where it was not measured."""
        kind = "e" if self.scientific else "f"
        return "-" if value is None else f"{value / self.per:.{self.digits}{kind}}"


@dataclass(frozen=True)
class Metric:
    """One thing a result can say.

    Attributes:
        name: key in results, with its unit where it has one (`latency_ms`).
        direction: `min` where less is better.
        provenance: where the number comes from unless a result says otherwise.
        heading: column title in tables.
        per: divisor from the stored value to the one in tables (1e9: stored MACs, shown GMACs).
        digits: decimals in tables.
        formula: known from the architecture alone, by `smt_nas.costs`.
        unit: in which tables usually have it; part of `heading` where its prefix follows the size.
        base: what a stored value of 1 is in the unit without a prefix; None where its prefix never
            changes.
    """

    name: str
    direction: Direction
    provenance: Provenance
    heading: str
    per: float = 1.0
    digits: int = 2
    formula: bool = False
    unit: str = ""
    base: float | None = None

    def show(self, value: float | None) -> str:
        """Print a stored value in the unit of `heading`; `-` where it was not measured."""
        return Unit(self.heading, self.per, self.digits).show(value)

    def choose_unit(self, values: Iterable[float | None]) -> Unit:
        """The unit for values of one column: the largest in which the smallest is not tiny."""
        known = [v for v in values if v]
        if not self.unit:
            return self._choose_plain_unit(max(map(abs, known), default=1.0))
        prefix = self.unit[:1]
        if self.base is not None and known:
            prefix = _find_prefix(min(known) * self.base / _LEAST)
        if self.base is None or prefix == self.unit[:1]:
            return Unit(self.heading, self.per, self.digits)
        heading = self.heading.replace(self.unit, prefix + self.unit[1:])
        per = 10 ** PREFIXES[prefix] / self.base
        digits = min(max(2 - math.floor(math.log10(min(known) / per)), 0), 2 if prefix else 0)
        return Unit(heading, per, digits)

    def _choose_plain_unit(self, largest: float) -> Unit:
        """For numbers of any size, such as scores of a user's own function."""
        if not _LEAST_PLAIN <= largest < _MOST_PLAIN:
            return Unit(self.heading, self.per, self.digits, scientific=True)
        return Unit(self.heading, self.per, max(2 - math.floor(math.log10(largest)), self.digits))

    def describe(self, value: float, digits: int = 4) -> str:
        """A stored value with its unit, e.g. `20 MMACs`, in at most so many significant digits."""
        if self.base is None or value <= 0:
            return f"{round_significant(value / self.per, digits)} {self.unit}".rstrip()
        prefix = _find_prefix(value * self.base * (1 + 5e-5))  # as rounded
        scaled = value * self.base / 10 ** PREFIXES[prefix]
        return f"{round_significant(scaled, digits)} {prefix}{self.unit[1:]}"


def _find_prefix(amount: float) -> str:
    """The largest prefix in which an amount is 1 or more."""
    return next((p for p, power in PREFIXES.items() if amount >= 10**power), "")


def round_significant(value: float, digits: int = 4) -> str:
    """A number in at most so many significant digits, but whole where it is large."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("macs", "min", "exact", "GMACs", 1e9, 3, True, "GMACs", 1.0),
        Metric("params", "min", "exact", "Mparams", 1e6, 2, True, "Mparams", 1.0),
        Metric("attention_macs", "min", "exact", "attn GMACs", 1e9, 3, True, "GMACs", 1.0),
        Metric("activations", "min", "exact", "Mactivations", 1e6, 2, True, "Mactivations", 1.0),
        Metric("peak_memory_mb", "min", "exact", "peak MB", 1.0, 1, True, "MB", 1e6),
        Metric("latency_ms", "min", "measured", "latency_ms", 1.0, 2, unit="ms"),
        Metric("throughput_ips", "max", "measured", "img/s", 1.0, 1, unit="img/s"),
        Metric("reserved_memory_mb", "min", "measured", "reserved MB", 1.0, 1, unit="MB"),
        Metric("energy_mj", "min", "measured", "mJ/img", 1.0, 1, unit="mJ/img"),
        Metric("top1_pct", "max", "predicted", "top-1 %", 1.0, 2, unit="%"),
        Metric("score", "max", "proxy", "score", 1.0, 3),
        Metric("val_top1", "max", "trained", "val top-1 %", 0.01, 2, unit="%"),
        Metric("inherited_loss", "min", "inherited", "loss", 1.0, 3),
        Metric("inherited_top1", "max", "inherited", "top-1 %", 0.01, 2, unit="%"),
        Metric("region_distance", "min", "exact", "distance", 1.0, 2),
    )
}


PEAK_MEMORY = "weights, and the most that activations hold at once"
"""What `peak MB` is, wherever it stands: by formula for one image in fp32 (costs, fronts, budgets);
measured under the conditions of its row, where what kernels copy is in it too."""

ACCURACIES = ("top1_pct", "val_top1")
ACCURACY_WORDS = frozenset(("top1", "top-1", "accuracy"))
"""What people write for whichever of these an evaluator rates networks by."""
_SHORT = {  # what people write for a metric
    "latency": "latency_ms",
    "throughput": "throughput_ips",
    "flops": "macs",
    "memory": "peak_memory_mb",
    "energy": "energy_mj",
    **dict.fromkeys(ACCURACY_WORDS, ACCURACIES[0]),
}


def metric(name: str) -> Metric:
    """Look up a metric by name, or by what people write for it: `latency`, `top1`.

    Raises:
        UnknownName: no such metric.
    """
    folded = name.strip().casefold()
    name = _SHORT.get(folded, folded if folded in METRICS else name)
    if name not in METRICS:
        raise UnknownName("metric", name, METRICS, also=_SHORT)
    return METRICS[name]
