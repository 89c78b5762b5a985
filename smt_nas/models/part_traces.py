"""The operators of many parts from the traces of a few of them.

Parts with the same proportions run the same operators, whose numbers are polynomials of the widths:
elements grow with a width, products and weights with its square or with that of input and output.
Three widths give them all exactly, and of a downsampling, which has two, four corners. A forward
takes 10 ms, a space has a thousand parts.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import fields, replace
from fractions import Fraction
from typing import Any

import numpy as np

from smt_nas.costs.ops import Op
from smt_nas.costs.parts import Part
from smt_nas.models.part_modules import trace_part

Ops = Sequence[Op]
_NUMBERS = ("macs", "read", "written", "weights", "m", "n", "k", "groups", "kernel")
_OTHERS = tuple(f.name for f in fields(Op) if f.name not in (*_NUMBERS, "sources"))


@functools.cache
def trace_parts(
    parts: tuple[Part, ...], batch: int = 1, channels_last: bool = False
) -> tuple[Ops, ...]:
    """The operators of P parts, in their order: what `trace_part` says of each."""

    def trace(part: Part) -> Ops:
        return trace_part(part, batch, channels_last)

    alike: dict[Hashable, list[Part]] = {}
    for part in dict.fromkeys(parts):
        alike.setdefault(part.proportions, []).append(part)
    known: dict[Part, Ops] = {}
    for group in alike.values():
        known |= _trace_alike(group, trace)
    return tuple(known[part] for part in parts)


def _trace_alike(group: Sequence[Part], trace: Callable[[Part], Ops]) -> dict[Part, Ops]:
    """The operators of parts with the same proportions."""
    few = _choose_traced(group)
    known = {part: trace(part) for part in few}
    rest = [part for part in group if part not in known]
    if rest and len({_list_others(ops) for ops in known.values()}) > 1:  # not the same operators
        return known | {part: trace(part) for part in rest}
    numbers = np.array([_list_numbers(ops) for ops in known.values()], dtype=object)  # (T, F)
    for part in rest:
        weights = _interpolate(few, part)
        shared = math.lcm(*(weight.denominator for weight in weights))
        values = np.array([int(weight * shared) for weight in weights], dtype=object) @ numbers
        exact = all(value % shared == 0 for value in values)
        known[part] = _with_numbers(known[few[0]], values // shared) if exact else trace(part)
    return known


def _choose_traced(group: Sequence[Part]) -> list[Part]:
    """Those that tell the rest: three widths, four corners, or all where there are too few."""
    if group[0].kind == "down":
        given, own = ({part.widths[i] for part in group} for i in (1, 0))
        ends = {(b, a) for a in (min(given), max(given)) for b in (min(own), max(own))}
        corners = [part for part in group if part.widths in ends]
        return corners if len(corners) == 4 else list(group)
    ordered = sorted(group, key=lambda part: part.dim)
    return [ordered[0], ordered[len(ordered) // 2], ordered[-1]] if len(group) > 3 else ordered


def _interpolate(few: Sequence[Part], part: Part) -> list[Fraction]:
    """Weights of the traced parts in a polynomial's value at the widths of another (Lagrange)."""
    weights = [Fraction(1)] * len(few)
    for i, wanted in enumerate(part.widths if part.kind == "down" else part.widths[:1]):
        nodes = {traced.widths[i] for traced in few}
        for j, traced in enumerate(few):
            own = traced.widths[i]
            for other in nodes - {own}:
                weights[j] *= Fraction(wanted - other, own - other)
    return weights


def _list_others(ops: Ops) -> tuple[Hashable, ...]:
    """What of a run of operators does not depend on the width."""
    return tuple(
        (*(getattr(op, name) for name in _OTHERS), tuple(back for back, _ in op.sources))
        for op in ops
    )


def _list_numbers(ops: Ops) -> list[int]:
    """The numbers of a run of operators, one after the other."""
    return [
        number
        for op in ops
        for number in (*(getattr(op, name) for name in _NUMBERS), *(n for _, n in op.sources))
    ]


def _with_numbers(ops: Ops, numbers: Iterable[int]) -> Ops:
    """The same operators with other numbers."""
    left = iter(numbers)
    changed = []
    for op in ops:
        own: dict[str, Any] = {name: next(left) for name in _NUMBERS}
        sources = tuple((back, next(left)) for back, _ in op.sources)
        changed.append(replace(op, **own, sources=sources))
    return tuple(changed)
