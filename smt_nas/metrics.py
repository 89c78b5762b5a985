"""METRICS: what a result can say of a network, with unit, direction and provenance.

The only place that knows them. MACs: 1 multiply-accumulate = 1 FLOP, as vision papers count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from smt_nas.errors import UnknownName

Direction = Literal["min", "max"]
Provenance = Literal[
    "exact", "measured", "predicted", "proxy", "inherited", "trained", "published", "function"
]
"""Where a number comes from. `exact`: counted by formula and confirmed by op counters;
`function`: returned by a user's own function or replayed from a user's table."""


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
    """

    name: str
    direction: Direction
    provenance: Provenance
    heading: str
    per: float = 1.0
    digits: int = 2
    formula: bool = False

    def show(self, value: float | None) -> str:
        """Print a stored value in the unit of `heading`; `-` where it was not measured."""
        return "-" if value is None else f"{value / self.per:.{self.digits}f}"


METRICS: dict[str, Metric] = {
    m.name: m
    for m in (
        Metric("macs", "min", "exact", "GMACs", 1e9, 3, formula=True),
        Metric("params", "min", "exact", "Mparams", 1e6, 2, formula=True),
        Metric("attention_macs", "min", "exact", "attn GMACs", 1e9, 3, formula=True),
        Metric("activations", "min", "exact", "Mactivations", 1e6, 2, formula=True),
        Metric("peak_memory_mb", "min", "exact", "peak MB", 1.0, 1, formula=True),
        Metric("latency_ms", "min", "measured", "latency_ms", 1.0, 2),
        Metric("throughput_ips", "max", "measured", "img/s", 1.0, 1),
        Metric("reserved_memory_mb", "min", "measured", "reserved MB", 1.0, 1),
        Metric("energy_mj", "min", "measured", "mJ/img", 1.0, 1),
        Metric("top1_pct", "max", "predicted", "top-1 %", 1.0, 2),
        Metric("score", "max", "proxy", "score", 1.0, 3),
        Metric("val_top1", "max", "trained", "val top-1 %", 0.01, 2),
    )
}


PEAK_MEMORY = "weights, and the most that activations hold at once"
"""What `peak MB` is, wherever it stands: by formula for one image in fp32 (costs, fronts, budgets);
measured under the conditions of its row, where what kernels copy is in it too."""

_WITHOUT_UNIT = {"latency": "latency_ms", "throughput": "throughput_ips"}


def metric(name: str) -> Metric:
    """Look up a metric by name; `latency` and `throughput` need no unit.

    Raises:
        UnknownName: no such metric.
    """
    name = _WITHOUT_UNIT.get(name, name)
    if name not in METRICS:
        raise UnknownName("metric", name, METRICS)
    return METRICS[name]
