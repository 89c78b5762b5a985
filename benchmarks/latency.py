"""Predicted latency against measured and published ones, by batch: `python -m benchmarks.latency`.

Rows are ours on an H100, and published ones of the official code on a V100 (`smt_rows`). "Before"
is what was predicted when the host had one launch time for all machines. The end tells the one
number of the host that is fitted, `in_network` of profiles/hosts.yaml: fitted on one device's rows,
how far off is the other's?
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.smt_rows import Row, h100_rows, published_rows, trace_network
from smt_nas.devices.block_table import join_times
from smt_nas.devices.device import load_device

SMALL = 8  # batches up to this one are "small" in the goals; those from LARGE on are large
LARGE = 32
PUBLISHED_DISPATCHES = 1.32
"""Host's time of the published code over ours: its dispatches, counted in models/smt.py of
AFeng-x/SMT 108442d (1014 kernels of SMT-S where ours has 705, 1492 of SMT-B for 1038), by kind."""


@dataclass(frozen=True)
class Check:
    """A row and what is predicted for it, with its two parts.

    Attributes:
        row: what was measured.
        ms, low, high: predicted.
        device_ms, host_ms: what they are joined from.
    """

    row: Row
    ms: float
    low: float
    high: float
    device_ms: float
    host_ms: float

    @property
    def error(self) -> float:
        """Absolute relative error."""
        return abs(self.ms / self.row.ms - 1)

    @property
    def inside(self) -> bool:
        """Whether the truth lies in the interval."""
        return self.low <= self.row.ms <= self.high


def check(row: Row) -> Check:
    """Predict a row."""
    device, c = load_device(row.device), row.conditions
    ops = trace_network(row.network, c.batch, c.channels_last)
    latency, cost = device.predict_ops(ops, c, is_smt=True), device.cost(ops, c)
    ms, low, high = (float(x[0]) for x in (latency.ms, latency.low, latency.high))
    return Check(row, ms, low, high, cost.device_ms * device.factor(c, is_smt=True), cost.host_ms)


def main() -> None:
    """Print all of it."""
    checks = [check(row) for row in (*h100_rows(), *published_rows())]
    for line in (*row_lines(checks), "", *summary_lines(checks), "", *crossed_lines(checks)):
        print(line)


def row_lines(checks: Sequence[Check]) -> Iterator[str]:
    """A line each."""
    titles = f"{'truth':>8}{'before':>8}{'now':>8}  interval"
    yield f"{'device':10}{'network':8}{'conditions':24}{titles}"
    for c in checks:
        before = c.row.before[0] if c.row.before else float("nan")
        words = f"{c.row.device:10}{c.row.network:8}{c.row.conditions!s:24}"
        bound = "host" if c.host_ms > c.device_ms else "device"
        yield (
            f"{words}{c.row.ms:8.2f}{before:8.2f}{c.ms:8.2f}  {c.low:.2f} to {c.high:.2f} {bound}"
            f"{'' if c.inside else '  OUT'}"
        )


def summary_lines(checks: Sequence[Check]) -> Iterator[str]:
    """Median error and share inside the interval, before and now, by device, mode and batch."""
    yield f"{'':34}{'':>4}{'median error':>16}{'inside':>16}"
    yield f"{'device, mode, batch':34}{'n':>4}{'before':>9}{'now':>7}{'before':>9}{'now':>7}"
    keys = dict.fromkeys((c.row.device, c.row.conditions.mode) for c in checks)
    for device, mode in keys:
        own = [c for c in checks if (c.row.device, c.row.conditions.mode) == (device, mode)]
        for batch in sorted({c.row.conditions.batch for c in own}):
            group = [c for c in own if c.row.conditions.batch == batch]
            yield _summary(f"{device} {mode} b{batch}", group)
    for device in dict.fromkeys(c.row.device for c in checks):
        own = [c for c in checks if c.row.device == device]
        yield _summary(f"{device} b<={SMALL}", [c for c in own if c.row.conditions.batch <= SMALL])
        yield _summary(f"{device} b>={LARGE}", [c for c in own if c.row.conditions.batch >= LARGE])
        yield _summary(f"{device} all", own)


def _summary(name: str, group: Sequence[Check]) -> str:
    before = [c.row.before for c in group if c.row.before]
    truths = np.array([c.row.ms for c in group])
    was = np.array(before)
    errors = np.abs(was[:, 0] / truths - 1)
    held = (was[:, 1] <= truths) & (truths <= was[:, 2])
    now, inside = [c.error for c in group], [c.inside for c in group]
    return (
        f"{name:34}{len(group):4}{np.median(errors):9.0%}{np.median(now):7.0%}"
        f"{held.mean():9.0%}{np.mean(inside):7.0%}"
    )


def crossed_lines(checks: Sequence[Check]) -> Iterator[str]:
    """`in_network` fitted on one device's rows that wait for the host, tried on the other's.

    The V100's rows are of the published code, which dispatches more operators than ours: they are
    tried as they are, and with the host's time of that code.
    """
    waiting = [c for c in checks if c.host_ms > c.device_ms and c.row.conditions.mode == "eager"]
    shipped = load_device(waiting[0].row.device).host
    assert shipped is not None
    in_network = shipped.reference.in_network
    yield "in_network of profiles/hosts.yaml, by rows that wait for the host; shipped: " + (
        f"{in_network:g}"
    )
    ours = [c for c in waiting if c.row.device == "h100_sxm"]
    theirs = [c for c in waiting if c.row.device != "h100_sxm"]
    more = [replace(c, host_ms=c.host_ms * PUBLISHED_DISPATCHES) for c in theirs]
    groups = {"h100_sxm": ours, "v100_sxm2": theirs, "v100_sxm2, host of its code": more}
    for name, group in groups.items():
        scale = _fit_scale(group)
        yield f"fitted on {name} ({len(group)} rows): {scale * in_network:.2f}"
        for other, rows in groups.items():
            errors = [abs(_rescale(scale)(c) / c.row.ms - 1) for c in rows]
            yield f"  median error on {other}: {np.median(errors):.0%}, worst {max(errors):.0%}"
    logs = [np.log(c.row.ms / c.ms) for c in ours]
    yield f"80 % of the H100's logs lie within {np.quantile(np.abs(logs), 0.8):.2f}"


def _fit_scale(group: Sequence[Check]) -> float:
    return float(np.exp(np.median([np.log(c.row.ms / c.host_ms) for c in group])))


def _rescale(scale: float) -> Callable[[Check], float]:
    def rescaled(c: Check) -> float:
        return float(join_times(np.array([c.device_ms]), np.array([c.host_ms * scale]))[0])

    return rescaled


if __name__ == "__main__":
    main()
