"""`Limits`: when to stop measuring."""

from __future__ import annotations

from dataclasses import dataclass

GPU_PRECISION, CPU_PRECISION = 0.005, 0.01
MARGINS = {"cpu": 0.03, "cuda": 0.01}
"""Differences of latency below these are none, for networks measured in turns. On a GPU twice the
precision of a median. On a CPU 3 %: where tensors come to lie moves a network by about as much."""
_RATIO_SHARE = 0.4
"""Of the margin, half the interval of a ratio before a verdict: networks that are alike then differ
by chance by less than the other 0.6, three standard errors, in 99.7 % of runs."""


@dataclass(frozen=True)
class Limits:
    """When to stop measuring one network; n networks measured together get n times the seconds.

    Attributes:
        seconds: time cap of the samples, without the warm-up.
        samples: fewest, unless the time cap comes first.
        min_s: fewest seconds of samples, unless the time cap comes first.
        precision: stop when half the 95 % interval of the median is at most this share of it, and
            that of the ratio to the first network, where there are several; None for 0.5 % on a
            GPU and 1 % on a CPU, and for ratios 0.4 % and 1.2 %.
        warmup_s: fewest seconds of warm-up, however many networks share it; 0 for one call each.
        warmup_cap_s: most seconds of it, where it does not get steady.
    """

    seconds: float = 10.0
    samples: int = 30
    min_s: float = 1.0
    precision: float | None = None
    warmup_s: float = 0.5
    warmup_cap_s: float = 10.0

    def precision_on(self, device: str) -> float:
        """The precision asked for on `cpu` or `cuda:0`."""
        if self.precision is not None:
            return self.precision
        return CPU_PRECISION if device == "cpu" else GPU_PRECISION

    def ratio_precision_on(self, device: str) -> float:
        """The same for a ratio of two medians."""
        return self.precision if self.precision is not None else _RATIO_SHARE * margin_on(device)


def margin_on(device: str) -> float:
    """The margin of networks measured in turns on `cpu` or `cuda:0`."""
    return MARGINS["cpu" if device == "cpu" else "cuda"]
