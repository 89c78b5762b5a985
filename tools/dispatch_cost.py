"""How long this machine takes to submit an operator: `python -m tools.dispatch_cost [DEVICE]`.

Times tiny inputs, a thousand calls in a row, so that what is timed is Python and torch and not the
arithmetic. On a GPU that is what `reference` in profiles/hosts.yaml holds. On a CPU the arithmetic
is done within the call, so only the ratio to the same on another CPU tells something: it is printed
against the CPU of the reference (benchmarks/gpu/h100_sxm.host.json), and is the `relative` that a
class of hosts has.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

REFERENCE = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu" / "h100_sxm.host.json"
CALLS, WARM_UP, ROUNDS = 1000, 200, 5
Call = Callable[[], object]


def main() -> None:
    """Print a row an operator, and the median ratio."""
    device = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    kind = torch.device(device).type
    reference = json.loads(REFERENCE.read_text(encoding="utf-8"))
    theirs = reference["ops cpu fp32" if kind == "cpu" else "ops cuda:0 fp32"]
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {device}; reference: {reference['cpu']}, one thread")
    print(f"{'operator':34}{'us':>8}{'reference':>11}{'ratio':>7}")
    ratios = []
    with torch.inference_mode():
        for name, call in tiny_calls(torch.device(device)).items():
            us, other = time_call(call, kind), theirs[name]["submit_us"]
            ratios.append(us / other)
            print(f"{name:34}{us:8.2f}{other:11.2f}{us / other:7.2f}")
    low, middle, high = statistics.quantiles(ratios, n=4)
    print(f"relative: {middle:.2f} (half of the operators from {low:.2f} to {high:.2f})")


def tiny_calls(device: torch.device) -> dict[str, Call]:
    """Calls of each kind of operator on as little data as they take."""
    with device:
        row, image = torch.randn(64, 64), torch.randn(1, 64, 8, 8)
        tokens, heads = torch.randn(1, 64, 64), torch.randn(1, 2, 64, 32)
        linear, norm, batch_norm = nn.Linear(64, 64), nn.LayerNorm(64), nn.BatchNorm2d(64).eval()
        pointwise, depthwise = nn.Conv2d(64, 64, 1), nn.Conv2d(64, 64, 3, padding=1, groups=64)
    return {
        "torch.add": lambda: torch.add(row, row),
        "mul": lambda: row * row,
        "copy (contiguous of transposed)": lambda: row.t().contiguous(),
        "torch.cat": lambda: torch.cat((image, image), 1),
        "F.gelu": lambda: F.gelu(row),
        "nn.Linear": lambda: linear(tokens),
        "torch.matmul": lambda: row @ row,
        "nn.LayerNorm": lambda: norm(tokens),
        "nn.BatchNorm2d, eval": lambda: batch_norm(image),
        "nn.Conv2d depthwise 3x3": lambda: depthwise(image),
        "nn.Conv2d 1x1": lambda: pointwise(image),
        "scaled_dot_product_attention": lambda: F.scaled_dot_product_attention(heads, heads, heads),
        "mean": lambda: tokens.mean(1),
    }


def time_call(call: Call, kind: str) -> float:
    """Microseconds to submit one call: the least of some rounds' means, as others use the CPU."""
    for _ in range(WARM_UP):
        call()
    means = []
    for _ in range(ROUNDS):
        _wait(kind)
        start = time.perf_counter()
        for _ in range(CALLS):
            call()
        means.append((time.perf_counter() - start) / CALLS * 1e6)
    _wait(kind)
    return min(means)


def _wait(kind: str) -> None:
    if kind == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
