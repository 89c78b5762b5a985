"""Throughput over batch sizes, as a value: points, knee, the largest batch that fits."""

from __future__ import annotations

from dataclasses import dataclass, field

from smt_nas.conditions import Conditions
from smt_nas.profilers.figure import Figure

KNEE = 0.95  # of the best throughput


@dataclass(frozen=True)
class Point:
    """One batch of a curve.

    Attributes:
        batch: images per call.
        throughput_ips: images per second, sustained.
        memory: `peak_memory_mb` and `reserved_memory_mb`.
    """

    batch: int
    throughput_ips: Figure
    memory: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class Sweep:
    """Throughput of one network over batch sizes.

    Attributes:
        network: its name.
        device: `cpu` or `cuda:0`.
        conditions: of all points but for their batch.
        points: by batch, ascending; those that failed have no throughput but a reason.
        largest: the largest batch that fits; None where it was not looked for, or not found.
        largest_reason: how it was found, or why not.
        failure: what ended it other than full memory; None where nothing did.
    """

    network: str
    device: str
    conditions: Conditions
    points: tuple[Point, ...]
    largest: int | None = None
    largest_reason: str | None = None
    failure: str | None = None

    @property
    def knee(self) -> int | None:
        """The first batch with 95 % of the best throughput; None where nothing ran."""
        speeds = {p.batch: p.throughput_ips.value for p in self.points}
        best = max((v for v in speeds.values() if v is not None), default=0.0)
        return next((b for b, v in speeds.items() if v is not None and v >= KNEE * best), None)
