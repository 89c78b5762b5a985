"""Operators of parts that were traced beforehand: the few from which all of a shipped space follow.

A trace runs a part's module on shapes alone, which takes torch and 10 ms. What it tells depends on
the part and the batch, and on no machine, so it ships: `python -m tools.part_traces` writes the
file, and a test traces a sample of it again. A part that is not there is traced when it is asked
for. Every number of a trace is the same for all batches, or grows as the batch does.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from smt_nas.costs.ops import Op
from smt_nas.costs.parts import Part
from smt_nas.files import shipped

FILE = shipped("reference") / "part_traces.json"
_NUMBERS = ("macs", "read", "written", "weights", "m", "n", "k", "groups", "kernel")
_OTHERS = tuple(f.name for f in fields(Op) if f.name not in (*_NUMBERS, "sources"))
Ops = Sequence[Op]
Others = tuple[tuple[tuple[Any, ...], tuple[int, ...]], ...]
"""What of a run of operators does not depend on the width: of each, its fields that are no numbers,
and how far back its sources are."""


def list_others(ops: Ops) -> Others:
    """What of a run of operators does not depend on the width."""
    return tuple(
        (tuple(getattr(op, name) for name in _OTHERS), tuple(back for back, _ in op.sources))
        for op in ops
    )


def list_numbers(ops: Ops) -> list[int]:
    """The numbers of a run of operators, one after the other."""
    return [
        number
        for op in ops
        for number in (*(getattr(op, name) for name in _NUMBERS), *(n for _, n in op.sources))
    ]


def join_numbers(others: Others, numbers: Iterable[int]) -> Ops:
    """The operators that `list_others` and `list_numbers` tell of."""
    left = iter(numbers)
    ops = []
    for words, backs in others:
        own = dict(zip(_OTHERS, words, strict=True))
        own |= {name: next(left) for name in _NUMBERS}
        ops.append(Op(**own, sources=tuple((back, next(left)) for back in backs)))
    return tuple(ops)


@dataclass(frozen=True)
class Pattern:
    """What the traces of many parts share.

    Attributes:
        others: all but the numbers.
        slots: of each number its place among the distinct ones of a part.
        grows: of each distinct number, whether it grows with the batch.
    """

    others: Others
    slots: tuple[int, ...]
    grows: tuple[bool, ...]

    def fill(self, distinct: Sequence[int], batch: int) -> Ops:
        """The operators of a part by its distinct numbers at a batch of 1."""
        values = [n * batch if grows else n for n, grows in zip(distinct, self.grows, strict=True)]
        return join_numbers(self.others, (values[slot] for slot in self.slots))


def read_recorded(part: Part, batch: int) -> Ops | None:
    """What tracing a part gives; None where it was not traced beforehand."""
    recorded = load_recorded()
    if part not in recorded:
        return None
    pattern, distinct = recorded[part]
    return pattern.fill(distinct, batch)


@functools.cache
def load_recorded() -> dict[Part, tuple[Pattern, Sequence[int]]]:
    """The pattern and the distinct numbers of each part that was traced beforehand."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    patterns = [
        Pattern(
            others=tuple((tuple(words), tuple(backs)) for words, backs in values["others"]),
            slots=tuple(values["slots"]),
            grows=tuple(map(bool, values["grows"])),
        )
        for values in content["patterns"]
    ]
    return {
        _read_part(values): (patterns[number], distinct)
        for values, number, distinct in content["parts"]
    }


def _read_part(values: dict[str, Any]) -> Part:
    lists = {name: tuple(value) for name, value in values.items() if isinstance(value, list)}
    return Part(**values | lists)
