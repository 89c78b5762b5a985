"""The operators of many parts from the traces of a few of them.

Parts with the same proportions run the same operators, whose numbers are polynomials of the widths:
elements grow with a width, products and weights with its square or with that of input and output.
Three widths give them all exactly, and of a downsampling, which has two, four corners. A forward
takes 10 ms, a space has a thousand parts; those that tell the rest of a shipped space are recorded.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from fractions import Fraction

import numpy as np

from smt_nas.costs.parts import Part
from smt_nas.devices.tables.recorded_traces import (
    Ops,
    join_numbers,
    list_numbers,
    list_others,
    read_recorded,
)


@functools.cache
def trace_parts(
    parts: tuple[Part, ...], batch: int = 1, channels_last: bool = False
) -> tuple[Ops, ...]:
    """The operators of P parts, in their order: what `trace_part` says of each."""

    def trace(part: Part) -> Ops:
        ops = None if channels_last else read_recorded(part, batch)
        if ops is not None:
            return ops
        from smt_nas.models.part_modules import trace_part  # torch

        return trace_part(part, batch, channels_last)

    known = trace_few(parts, trace)
    return tuple(known[part] for part in parts)


def trace_few(parts: Iterable[Part], trace: Callable[[Part], Ops]) -> dict[Part, Ops]:
    """The operators of parts; `trace` is asked for those that tell the rest."""
    alike: dict[Hashable, list[Part]] = {}
    for part in dict.fromkeys(parts):
        alike.setdefault(part.proportions, []).append(part)
    known: dict[Part, Ops] = {}
    for group in alike.values():
        known |= _trace_alike(group, trace)
    return known


def _trace_alike(group: Sequence[Part], trace: Callable[[Part], Ops]) -> dict[Part, Ops]:
    """The operators of parts with the same proportions."""
    few = _choose_traced(group)
    known = {part: trace(part) for part in few}
    rest = [part for part in group if part not in known]
    if rest and len({list_others(ops) for ops in known.values()}) > 1:  # not the same operators
        return known | {part: trace(part) for part in rest}
    others = list_others(known[few[0]])
    numbers = np.array([list_numbers(ops) for ops in known.values()], dtype=object)  # (T, F)
    for part in rest:
        weights = _interpolate(few, part)
        shared = math.lcm(*(weight.denominator for weight in weights))
        values = np.array([int(weight * shared) for weight in weights], dtype=object) @ numbers
        exact = all(value % shared == 0 for value in values)
        known[part] = join_numbers(others, values // shared) if exact else trace(part)
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
