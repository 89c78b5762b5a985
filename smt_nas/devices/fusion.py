"""What a compiler merges: operators that run as one kernel. And what runs apart from its operator.

Matrix products, convolutions and attention run as they are. Of what lies between, an operator
joins the kernel that wrote what it reads, if both run over the same number of elements and nothing
between them waits for that kernel; what is only joined together (cat, stack) is computed in place.
These are the rules of inductor in short (torch/_inductor/scheduler.py and lowering.py): its limits
on the size of a kernel are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from smt_nas.costs.ops import Op

PRODUCTS = frozenset(("linear", "matmul", "attention", "conv", "depthwise", "grouped"))
JOINS = frozenset(("cat", "stack"))
POINTWISE = frozenset(("elementwise", "batchnorm", "copy", "cast"))
WEIGHT = {"softmax": 5, "norm": 4, "reduce": 3, "batchnorm": 2, "elementwise": 2, "copy": 1}
LONG_SUM = 8192  # elements behind one result: such a sum takes several passes
Source = tuple[int, int]  # the operator that wrote it, -1 for outside; elements


@dataclass
class Merged:
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


def sources_of(ops: Sequence[Op], i: int, amp: bool) -> list[Source]:
    """Who wrote what operator i reads; casts that do not run are skipped."""
    found = []
    for back, n in ops[i].sources:
        source = i - back if back else -1
        while source >= 0 and ops[source].kind == "cast" and not amp:
            inner = ops[source].sources
            source = source - inner[0][0] if inner and inner[0][0] else -1
        found.append((source, n))
    return found


def readers_of(sources: Sequence[Sequence[Source]]) -> list[set[int]]:
    """Who reads each operator's result."""
    readers: list[set[int]] = [set() for _ in sources]
    for i, found in enumerate(sources):
        for source, _ in found:
            if source >= 0:
                readers[source].add(i)
    return readers


def merged(ops: Sequence[Op], sources: Sequence[Sequence[Source]], amp: bool) -> list[Merged]:
    """Put operators together that a compiler runs as one kernel, in the order they start."""
    kernels: list[Merged] = []
    home: dict[int, int] = {}  # operator -> its kernel
    readers = readers_of(sources)
    for i, op in enumerate(ops):
        if op.kind == "cast" and not amp:
            continue
        written = [s for s, _ in sources[i] if s >= 0]
        homes = {home[s] for s in written}
        elements = max([op.written, *(n for _, n in sources[i])])
        chosen = _chosen(op, kernels, homes, home, written, elements)
        if chosen is None:
            chosen = len(kernels)
            kernels.append(Merged(op, elements))
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


def _chosen(
    op: Op,
    kernels: Sequence[Merged],
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
    kernels: Sequence[Merged],
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


def with_biases(ops: Sequence[Op], compiled: bool) -> tuple[list[Op], list[int]]:
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
