"""From operators to kernels: what runs in each mode and precision, in bytes, as columns.

`eager` and `graph` run one kernel an operator. `compile` runs matrix products, convolutions and
attention as they are, and merges what lies between: an operator joins the kernel that wrote what
it reads, if both run over the same number of elements and nothing between them waits for that
kernel. What stays inside a kernel is neither written nor read. These are the rules of inductor in
short (torch/_inductor/scheduler.py): its limits on the size of a kernel are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from smt_nas.devices.conditions import Conditions
from smt_nas.devices.ops import Op

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
    "cast",
)
CODE = {kind: code for code, kind in enumerate(KINDS)}
PRODUCTS = frozenset(KINDS[:6])  # run as library kernels in every mode
LONG_SUM = 8192  # elements behind one result
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


@dataclass
class _Kernel:
    """A kernel that is being put together."""

    first: Op
    owner: int
    elements: int
    members: list[int] = field(default_factory=list)
    waits_for: int = 0  # a bit for each kernel it needs, directly or not
    closed: bool = False  # ends in a sum so long that it takes several passes


def kernels(ops: Sequence[Op], conditions: Conditions, gpu: bool = True) -> Kernels:
    """Kernels that a forward launches under the given conditions, in order."""
    amp, compiled = conditions.precision.startswith("amp"), conditions.mode == "compile"
    origin = list(range(len(ops)))
    if gpu:
        ops, origin = _with_biases(ops, compiled)
    sizes = _Sizes(ops, amp, 2 if amp else BYTES[conditions.precision])
    if compiled:
        rows = [sizes.together(k) for k in _merged(ops, amp)]
    else:
        rows = [sizes.alone(i) for i, op in enumerate(ops) if amp or op.kind != "cast"]
    found = _columns(rows)
    return replace(found, owner=np.array(origin, dtype=np.int64)[found.owner])


class _Sizes:
    """Bytes of each operator and of merged ones."""

    def __init__(self, ops: Sequence[Op], amp: bool, narrow: int) -> None:
        self.ops, self.amp, self.narrow = ops, amp, narrow

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
        read = sum(n * self.wide(i - back if back else -1) for back, n in op.sources)
        return _row(op, i, read, op.written * self.wide(i), op.weights * self.weight(op), 1)

    def together(self, kernel: _Kernel) -> tuple[float, ...]:
        """The row of merged operators: what they read from others, and what others read."""
        inside, weights = set(kernel.members), 0
        reads: dict[int, int] = {}
        for i in kernel.members:
            weights += self.ops[i].weights * self.weight(self.ops[i])
            for source, n in _sources(self.ops, i, self.amp):
                if source not in inside:
                    reads[source] = max(n, reads.get(source, 0))
        read = sum(n * self.wide(source) for source, n in reads.items())
        written = sum(self.ops[i].written * self.wide(i) for i in self._outlets(kernel))
        return _row(kernel.first, kernel.owner, read, written, weights, len(inside))

    def _outlets(self, kernel: _Kernel) -> list[int]:
        """Members whose result others read, or nobody, as the network gives it away."""
        inside = set(kernel.members)
        return [i for i in kernel.members if not self.readers[i] or self.readers[i] - inside]

    @property
    def readers(self) -> dict[int, set[int]]:
        """Who reads each operator's result."""
        if not hasattr(self, "_readers"):
            self._readers: dict[int, set[int]] = {i: set() for i in range(len(self.ops))}
            for i, op in enumerate(self.ops):
                if op.kind == "cast" and not self.amp:
                    continue
                for source, _ in _sources(self.ops, i, self.amp):
                    if source >= 0:
                        self._readers[source].add(i)
        return self._readers


def _merged(ops: Sequence[Op], amp: bool) -> list[_Kernel]:
    """Put operators together that a compiler runs as one kernel."""
    kernels: list[_Kernel] = []
    home: dict[int, int] = {}  # operator -> its kernel
    for i, op in enumerate(ops):
        if op.kind == "cast" and not amp:
            continue
        sources = _sources(ops, i, amp)
        homes = {home[s] for s, _ in sources if s >= 0}
        elements = max([op.written, *(n for _, n in sources)])
        chosen = (
            None if op.kind in PRODUCTS or not homes else max(home[s] for s, _ in sources if s >= 0)
        )
        if chosen is None or not _joins(kernels, chosen, homes, elements):
            chosen = len(kernels)
            kernels.append(_Kernel(op, i, elements))
        kernel = kernels[chosen]
        kernel.members.append(i)
        kernel.closed |= op.kind == "reduce" and op.read > LONG_SUM * op.written
        kernel.first = max(kernel.first, op, key=lambda o: _WEIGHT.get(o.kind, 0))
        for h in homes - {chosen}:
            kernel.waits_for |= kernels[h].waits_for | (1 << h)
        home[i] = chosen
    return kernels


_WEIGHT = {"softmax": 5, "norm": 4, "reduce": 3, "batchnorm": 2, "elementwise": 2, "copy": 1}


def _joins(kernels: list[_Kernel], chosen: int, homes: set[int], elements: int) -> bool:
    kernel = kernels[chosen]
    if kernel.first.kind in PRODUCTS or kernel.elements != elements or kernel.closed:
        return False
    return not any(kernels[h].waits_for >> chosen & 1 for h in homes - {chosen})


def _sources(ops: Sequence[Op], i: int, amp: bool) -> list[tuple[int, int]]:
    """Who wrote what operator i reads, -1 for outside; casts that do not run are skipped."""
    found = []
    for back, n in ops[i].sources:
        source = i - back if back else -1
        while source >= 0 and ops[source].kind == "cast" and not amp:
            inner = ops[source].sources
            source = source - inner[0][0] if inner and inner[0][0] else -1
        found.append((source, n))
    return found


def _with_biases(ops: Sequence[Op], compiled: bool) -> tuple[list[Op], list[int]]:
    """On a GPU a convolution's bias is added afterwards, in a kernel of its own.

    All but torch's own depthwise kernel, for plain memory in eager mode, leave it to another
    (aten/src/ATen/native/Convolution.cpp); a compiler merges that with what follows.

    Returns: the operators, and where each one stood before.
    """
    biased = [_adds_bias(op, compiled) for op in ops]
    place = np.arange(len(ops)) + np.concatenate([[0], np.cumsum(biased)[:-1]])
    found: list[Op] = []
    origin: list[int] = []
    for i, op in enumerate(ops):
        sources = []
        for back, n in op.sources:
            reads_bias = back and biased[i - back]
            old = int(place[i] - place[i - back]) - bool(reads_bias) if back else 0
            sources.append((old, n))
        found.append(replace(op, sources=tuple(sources)))
        origin.append(i)
        if biased[i]:
            found.append(
                Op(
                    op.path,
                    "bias",
                    "elementwise",
                    0,
                    op.written,
                    op.written,
                    op.n * op.groups,
                    sources=((1, op.written),),
                    wide=op.wide,
                )
            )
            origin.append(i)
    return found, origin


def _adds_bias(op: Op, compiled: bool) -> bool:
    apart = op.kind in ("conv", "grouped") or (
        op.kind == "depthwise" and (compiled or op.channels_last)
    )
    return apart and op.weights > op.n * op.k * op.groups


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
    columns = dict(zip(names, table.T, strict=True))
    for name in ("kind", "owner"):
        columns[name] = columns[name].astype(np.int64)  # type: ignore[assignment]
    return Kernels(**columns)
