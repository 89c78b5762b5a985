"""Interleaved timing on this machine's CPU: what compares networks fairly where noise is large.

Each round calls every network once, forwards and backwards in turn (A, B, B, A), so that a slow
moment of a shared machine falls on all of them. The headline is the median.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from smt_nas.arch import Architecture
from smt_nas.models import build


@dataclass(frozen=True)
class Timing:
    """Wall time of one forward in milliseconds: median, interquartile range, samples."""

    median_ms: float
    iqr_ms: float
    n: int


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Time calls against each other, on one thread, after one warm-up call each.

    Args:
        calls: what to time, by name.
        rounds: samples of each.
    """
    names = list(calls)
    samples: dict[str, list[float]] = {name: [] for name in names}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # with two, a busy neighbour makes a forward several times slower
    try:
        for call in calls.values():
            call()
        for i in range(rounds):
            for name in names if i % 2 == 0 else reversed(names):
                start = time.perf_counter_ns()
                calls[name]()
                samples[name].append((time.perf_counter_ns() - start) / 1e6)
    finally:
        torch.set_num_threads(threads)
    return {name: _timing(values) for name, values in samples.items()}


def forward(arch: Architecture, batch: int = 1) -> Callable[[], torch.Tensor]:
    """A network of `arch` (fp32, eval, no grad) as a call that runs it on one batch.

    The weights are all alike: time does not depend on them, and random ones take longer to draw
    than a forward takes.
    """
    model = build(arch, device="meta").to_empty(device="cpu").eval()
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(0.01)
    images = torch.ones(batch, arch.in_channels, arch.image_size, arch.image_size)

    def call() -> torch.Tensor:
        with torch.inference_mode():
            logits = model(images)
        assert isinstance(logits, torch.Tensor)
        return logits

    return call


def _timing(samples: list[float]) -> Timing:
    low, median, high = np.percentile(samples, (25, 50, 75))
    return Timing(float(median), float(high - low), len(samples))
