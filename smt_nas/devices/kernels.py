"""From operators to kernels: what runs in each mode and precision, in bytes, as columns.

`eager` and `graph` run one kernel an operator. `compile` merges many; what stays inside a kernel
is neither written nor read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.conditions import Conditions
from smt_nas.costs.ops import Op
from smt_nas.devices.fusion import PRODUCTS, Merged, merged, readers_of, sources_of, with_biases

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

KINDS = (
    "linear",
    "matmul",
    "attention",
    "conv",
    "depthwise",
    "grouped",
    "norm",
    "batchnorm",
    "softmax",
    "elementwise",
    "reduce",
    "copy",
    "resize",
    "cast",
)
CODE = {kind: code for code, kind in enumerate(KINDS)}
BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True)
class Kernels:
    """Kernels of a forward, one row each: every array is (n,).

    Attributes:
        kind: position in `KINDS`; of merged operators, of the one that weighs most.
        macs: multiply-accumulates.
        read, written, weights: bytes of activations read, of results, of weights read.
        m, n, k, groups, kernel: as in `Op`.
        channels_last: of a convolution, the memory it runs in.
        merged: operators in it, at least 1.
        owner: position of its first operator in the trace.
    """

    kind: Ints
    macs: Floats
    read: Floats
    written: Floats
    weights: Floats
    m: Floats
    n: Floats
    k: Floats
    groups: Floats
    kernel: Floats
    channels_last: Floats
    merged: Floats
    owner: Ints

    def __len__(self) -> int:
        """Number of kernels."""
        return len(self.kind)

    def at(self, other: Kernels, share: float) -> Kernels:
        """Go from these towards others of the same network at another batch; may go beyond."""
        exact = {"kind", "owner", "channels_last", "merged", "kernel"}
        columns = {
            f.name: getattr(self, f.name) + share * (getattr(other, f.name) - getattr(self, f.name))
            for f in fields(self)
            if f.name not in exact
        }
        return replace(self, **columns)


def kernels(ops: Sequence[Op], conditions: Conditions, gpu: bool = True) -> Kernels:
    """Kernels that a forward launches under the given conditions, in order."""
    amp, compiled = conditions.precision.startswith("amp"), conditions.mode == "compile"
    origin = list(range(len(ops)))
    if gpu:
        ops, origin = with_biases(ops, compiled)
    sizes = _Sizes(ops, amp, 2 if amp else BYTES[conditions.precision])
    if compiled:
        rows = [sizes.together(k) for k in merged(ops, sizes.sources, amp)]
    else:
        rows = [sizes.alone(i) for i, op in enumerate(ops) if amp or op.kind != "cast"]
    found = _columns(rows)
    return replace(found, owner=np.array(origin, dtype=np.int64)[found.owner])


class _Sizes:
    """Bytes of each operator and of merged ones."""

    def __init__(self, ops: Sequence[Op], amp: bool, narrow: int) -> None:
        self.ops, self.amp, self.narrow = ops, amp, narrow
        self.sources = [
            sources_of(ops, i, amp) if amp or op.kind != "cast" else [] for i, op in enumerate(ops)
        ]
        self.readers = readers_of(self.sources)

    def wide(self, i: int) -> int:
        """Bytes of an element that operator i writes; -1 stands for outside the trace."""
        if not self.amp:
            return self.narrow
        return 4 if i < 0 or self.ops[i].wide else self.narrow

    def weight(self, op: Op) -> int:
        """Bytes of an element of the weights it reads."""
        return 4 if self.amp and op.kind not in PRODUCTS else self.narrow

    def alone(self, i: int) -> tuple[float, ...]:
        """The row of one operator."""
        op = self.ops[i]
        read = sum(n * self.wide(source) for source, n in self.sources[i])
        return _row(op, i, read, op.written * self.wide(i), op.weights * self.weight(op), 1)

    def together(self, kernel: Merged) -> tuple[float, ...]:
        """The row of merged operators: what they read from others, and what others read."""
        inside, weights = set(kernel.members), 0
        reads: dict[int, int] = {}
        for i in kernel.members:
            weights += self.ops[i].weights * self.weight(self.ops[i])
            for source, n in self.sources[i]:
                if source not in inside:
                    reads[source] = max(n, reads.get(source, 0))
        read = sum(n * self.wide(source) for source, n in reads.items())
        read += kernel.reread * self.narrow
        outlets = [i for i in kernel.members if not self.readers[i] or self.readers[i] - inside]
        written = sum(self.ops[i].written * self.wide(i) for i in outlets)
        return _row(kernel.main, min(kernel.members), read, written, weights, len(inside))


def _row(
    op: Op, owner: int, read: float, written: float, weights: float, n: int
) -> tuple[float, ...]:
    return (
        CODE[op.kind], op.macs, read, written, weights, op.m, op.n, op.k, op.groups, op.kernel,
        op.channels_last, n, owner,
    )  # fmt: skip


def _columns(rows: Sequence[tuple[float, ...]]) -> Kernels:
    names = [f.name for f in fields(Kernels)]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    columns: dict[str, Any] = dict(zip(names, table.T, strict=True))
    for name in ("kind", "owner"):
        columns[name] = columns[name].astype(np.int64)
    return Kernels(**columns)
