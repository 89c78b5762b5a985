"""Times cost formulas and latency tables on one core: `python benchmarks/costs.py [--quick]`.

All cost metrics of n sampled architectures at once, as the search asks for them, in architectures
a second: the median and the range over repeats (element-wise NumPy, so one core). Beside it what
one network, smt_t, takes by formula and by each op counter, which has to build it first (without
weights); that is in its time. The tests compare what they count.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from smt_nas import PRESETS, SearchSpace, costs
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex
from smt_nas.devices.block_table import BlockTable
from smt_nas.profilers import count

GOAL = 200_000  # architectures a second on one core
LATENCY_GOAL = 50_000  # the same of a latency from a built block table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repeats, smaller batches")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    print(f"{processor()}, threads=1, Python {platform.python_version()}")
    names = ("numpy", "torch", "fvcore", "thop")
    print(", ".join(f"{name} {version(name)}" for name in names))
    print(f"{len(costs.COSTS)} metrics: {', '.join(costs.COSTS)}\n")
    print(f"{'what':34} {'median':>14} {'range':>23}")
    for name in ("smt", "smt_micro"):
        for n in (1_000, 20_000) if quick else (1_000, 20_000, 200_000):
            rates(name, n, 5 if quick else 21)
    print(f"goal: {GOAL:,} architectures/s\n")
    for name in ("smt", "smt_micro"):
        latencies(name, 1_000 if quick else 20_000, 5 if quick else 21)
    print(f"goal: {LATENCY_GOAL:,} architectures/s\n")
    arch = PRESETS["smt_t"]
    tools: dict[str, Callable[[], object]] = {
        "formula, costs.of(smt_t)": lambda: costs.of(arch),
        "fvcore, smt_t": lambda: count(arch, tools=("fvcore",)),
        "thop, smt_t": lambda: count(arch, tools=("thop",)),
        "torch FlopCounterMode, smt_t": lambda: count(arch, tools=("torch",)),
    }
    for label, call in tools.items():
        times = [1e3 * t for t in time_calls(call, 3 if quick else 11)]
        row(label, statistics.median(times), min(times), max(times), "ms", 3)


def rates(name: str, n: int, repeats: int) -> None:
    """Print architectures a second for batches of n."""
    space = SearchSpace.load(name)
    genes = space.sample(np.random.default_rng(0), n)
    per_second = [
        n / t for t in time_calls(lambda: costs.estimate(space, genes).as_dict(), repeats)
    ]
    row(
        f"{name}, batch of {n:,}",
        statistics.median(per_second),
        min(per_second),
        max(per_second),
        "/s",
        0,
    )


def latencies(name: str, n: int, repeats: int) -> None:
    """Print latencies a second from a block table, for a batch of n."""
    space = SearchSpace.load(name)
    index = PartIndex.of(space)
    ms = np.ones(len(index.parts))
    table = BlockTable(index, Conditions(), ms, host_ms=ms)
    genes = space.sample(np.random.default_rng(0), n)
    per_second = [n / t for t in time_calls(lambda: table.predict(genes), repeats)]
    label = f"latency, {name}, batch of {n:,}"
    row(label, statistics.median(per_second), min(per_second), max(per_second), "/s", 0)


def time_calls(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each call after one that warms up."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return seconds


def row(label: str, median: float, low: float, high: float, unit: str, digits: int) -> None:
    """Print one line of the table."""
    low_high = f"{low:,.{digits}f} .. {high:,.{digits}f}"
    print(f"{label:34} {median:11,.{digits}f} {unit} {low_high:>23}")


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(x.split(":")[1].strip() for x in lines if x.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
