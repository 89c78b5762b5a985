"""From operators to kernels: what runs in each mode and precision, in bytes, as columns.

`eager` and `graph` run one kernel an operator, and on a GPU one more for the bias of a convolution.
`compile` fuses many (`fuse`); what stays inside a kernel is neither written nor read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smt_nas.conditions import Conditions
from smt_nas.costs.ops import Kind, Op

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Source = tuple[int, int]  # the operator that wrote it, -1 for outside; elements
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
PRODUCTS = frozenset(("linear", "matmul", "attention", "conv", "depthwise", "grouped"))
JOINS = frozenset(("cat", "stack"))
POINTWISE = frozenset(("elementwise", "batchnorm", "copy", "cast"))
WEIGHT = {"softmax": 5, "norm": 4, "reduce": 3, "batchnorm": 2, "elementwise": 2, "copy": 1}
LONG_SUM = 8192  # elements behind one result: such a sum takes several passes


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


def build_kernels(ops: Sequence[Op], conditions: Conditions, gpu: bool = True) -> Kernels:
    """Kernels that a forward launches under the given conditions, in order."""
    amp, compiled = conditions.precision.startswith("amp"), conditions.mode == "compile"
    origin = list(range(len(ops)))
    if gpu:
        ops, origin = add_hidden_kernels(ops, compiled)
    sizes = _Sizes(ops, amp, 2 if amp else BYTES[conditions.precision])
    if compiled:
        rows = [sizes.fused_row(k) for k in fuse(ops, sizes.sources, amp)]
    else:
        rows = [sizes.single_row(i) for i, op in enumerate(ops) if amp or op.kind != "cast"]
    kernels = _stack_rows(rows)
    return replace(kernels, owner=np.array(origin, dtype=np.int64)[kernels.owner])


class _Sizes:
    """Bytes of each operator and of merged ones."""

    def __init__(self, ops: Sequence[Op], amp: bool, narrow: int) -> None:
        self.ops, self.amp, self.narrow = ops, amp, narrow
        self.sources = [
            sources_of(ops, i, amp) if amp or op.kind != "cast" else [] for i, op in enumerate(ops)
        ]
        self.readers = readers_of(self.sources)

    def _activation_bytes(self, i: int) -> int:
        """Bytes of an element that operator i writes; -1 stands for outside the trace."""
        if not self.amp:
            return self.narrow
        return 4 if i < 0 or self.ops[i].wide else self.narrow

    def _weight_bytes(self, op: Op) -> int:
        """Bytes of an element of the weights it reads."""
        return 4 if self.amp and op.kind not in PRODUCTS else self.narrow

    def single_row(self, i: int) -> tuple[float, ...]:
        """The row of one operator."""
        op = self.ops[i]
        read = sum(n * self._activation_bytes(source) for source, n in self.sources[i])
        return _row(
            op,
            i,
            read,
            op.written * self._activation_bytes(i),
            op.weights * self._weight_bytes(op),
            1,
        )

    def fused_row(self, kernel: FusedKernel) -> tuple[float, ...]:
        """The row of merged operators: what they read from others, and what others read."""
        inside, weights = set(kernel.members), 0
        reads: dict[int, int] = {}
        for i in kernel.members:
            weights += self.ops[i].weights * self._weight_bytes(self.ops[i])
            for source, n in self.sources[i]:
                if source not in inside:
                    reads[source] = max(n, reads.get(source, 0))
        read = sum(n * self._activation_bytes(source) for source, n in reads.items())
        read += kernel.reread * self.narrow
        outlets = [i for i in kernel.members if not self.readers[i] or self.readers[i] - inside]
        written = sum(self.ops[i].written * self._activation_bytes(i) for i in outlets)
        return _row(kernel.main, min(kernel.members), read, written, weights, len(inside))


def _row(
    op: Op, owner: int, read: float, written: float, weights: float, n: int
) -> tuple[float, ...]:
    return (
        CODE[op.kind], op.macs, read, written, weights, op.m, op.n, op.k, op.groups, op.kernel,
        op.channels_last, n, owner,
    )  # fmt: skip


def _stack_rows(rows: Sequence[tuple[float, ...]]) -> Kernels:
    names = [f.name for f in fields(Kernels)]
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    columns: dict[str, Any] = dict(zip(names, table.T, strict=True))
    for name in ("kind", "owner"):
        columns[name] = columns[name].astype(np.int64)
    return Kernels(**columns)


@dataclass
class FusedKernel:
    """A kernel that is being put together.

    Attributes:
        main: its operator that weighs most.
        elements: over which it runs.
        members: positions of its operators.
        waits_for: a bit for each kernel it needs, directly or not.
        closed: nothing joins it any more.
        reread: elements it reads again, as another order follows a norm.
    """

    main: Op
    elements: int
    members: list[int] = field(default_factory=list)
    waits_for: int = 0
    closed: bool = False
    reread: int = 0


def fuse(ops: Sequence[Op], sources: Sequence[Sequence[Source]], amp: bool) -> list[FusedKernel]:
    """Put operators together that a compiler runs as one kernel, in the order they start."""
    kernels: list[FusedKernel] = []
    home: dict[int, int] = {}  # operator -> its kernel
    readers = readers_of(sources)
    for i, op in enumerate(ops):
        if op.kind == "cast" and not amp:
            continue
        written = [s for s, _ in sources[i] if s >= 0]
        homes = {home[s] for s in written}
        elements = max([op.written, *(n for _, n in sources[i])])
        chosen = _choose_kernel(op, kernels, homes, home, written, elements)
        if chosen is None:
            chosen = len(kernels)
            kernels.append(FusedKernel(op, elements))
            if op.name in JOINS:
                _absorb(chosen, kernels, ops, readers, home, homes, i)
        kernel = kernels[chosen]
        kernel.members.append(i)
        if op.kind == "copy" and kernel.main.kind in ("norm", "softmax", "reduce"):
            kernel.reread += elements
        kernel.closed |= op.kind == "reduce" and op.read > LONG_SUM * op.written
        kernel.main = max(kernel.main, op, key=lambda o: WEIGHT.get(o.kind, 0))
        for h in homes - {chosen}:
            kernel.waits_for |= kernels[h].waits_for | (1 << h)
        home[i] = chosen
    return [k for k in kernels if k.members]


def _choose_kernel(
    op: Op,
    kernels: Sequence[FusedKernel],
    homes: set[int],
    home: dict[int, int],
    written: Sequence[int],
    elements: int,
) -> int | None:
    """The kernel an operator joins: the latest it reads from, if it may."""
    if op.kind in PRODUCTS or not written or op.name in JOINS or "pool" in op.name:
        return None  # a pooling window needs its neighbours written down
    latest = max(home[s] for s in written)
    kernel = kernels[latest]
    if kernel.main.kind in PRODUCTS or kernel.elements != elements or kernel.closed:
        return None
    if any(kernels[h].waits_for >> latest & 1 for h in homes - {latest}):
        return None
    return latest


def _absorb(
    into: int,
    kernels: Sequence[FusedKernel],
    ops: Sequence[Op],
    readers: Sequence[set[int]],
    home: dict[int, int],
    homes: Iterable[int],
    joint: int,
) -> None:
    """Take in what only a cat or stack reads, where it is computed element by element."""
    for h in homes:
        kernel = kernels[h]
        inside = {*kernel.members, joint}
        plain = all(ops[m].kind in POINTWISE for m in kernel.members)
        if plain and all(readers[m] <= inside for m in kernel.members):
            kernels[into].members.extend(kernel.members)
            kernels[into].waits_for |= kernel.waits_for
            home.update(dict.fromkeys(kernel.members, into))
            kernel.members.clear()


def sources_of(ops: Sequence[Op], i: int, amp: bool) -> list[Source]:
    """Who wrote what operator i reads; casts that do not run are skipped."""
    sources = []
    for back, n in ops[i].sources:
        source = i - back if back else -1
        while source >= 0 and ops[source].kind == "cast" and not amp:
            inner = ops[source].sources
            source = source - inner[0][0] if inner and inner[0][0] else -1
        sources.append((source, n))
    return sources


def readers_of(sources: Sequence[Sequence[Source]]) -> list[set[int]]:
    """Who reads each operator's result."""
    readers: list[set[int]] = [set() for _ in sources]
    for i, read in enumerate(sources):
        for source, _ in read:
            if source >= 0:
                readers[source].add(i)
    return readers


def add_hidden_kernels(ops: Sequence[Op], compiled: bool) -> tuple[list[Op], list[int]]:
    """What a convolution on a GPU launches besides: a copy before it, its bias after it.

    A strided input is gathered first, and the convolution then runs channels-last. All but torch's
    own depthwise kernel, for plain memory in eager mode, leave the bias to a kernel of its own,
    which a compiler merges with what follows (aten/src/ATen/native/Convolution.cpp).

    Returns: the operators, and where each one stood before.
    """
    kernels: list[Op] = []
    origin: list[int] = []
    last: list[int] = []  # of the kernels of each operator, the one that others read
    for i, op in enumerate(ops):
        sources = [(last[i - back] if back else -1, n) for back, n in op.sources]
        group = [replace(op, channels_last=op.channels_last or op.strided)]
        if op.strided:
            group.insert(0, _plain_kernel(op, "copy", "contiguous", op.read, 0))
        if _adds_bias(group[-1], compiled):
            group.append(_plain_kernel(op, "elementwise", "bias", op.written, op.n * op.groups))
        for kernel in group:
            at = len(kernels)
            own = tuple((at - s if s >= 0 else 0, n) for s, n in sources)
            kernels.append(replace(kernel, sources=own))
            origin.append(i)
            sources = [(at, kernel.written)]
        last.append(len(kernels) - 1)
    return kernels, origin


def _plain_kernel(op: Op, kind: Kind, name: str, elements: int, weights: int) -> Op:
    """A kernel beside an operator that reads and writes so many elements."""
    return Op(op.path, name, kind, 0, elements, elements, weights, wide=op.wide)


def _adds_bias(op: Op, compiled: bool) -> bool:
    apart = op.kind in ("conv", "grouped") or (
        op.kind == "depthwise" and (compiled or op.channels_last)
    )
    return apart and op.weights > op.n * op.k * op.groups
