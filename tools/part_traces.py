"""Trace the parts from which all parts of the shipped spaces follow.

    python -m tools.part_traces

Writes smt_nas/data/reference/part_traces.json: patterns of operators, then a line a part. Run it
again when a module of `models/` computes otherwise, or a shipped space or the trace changes; a test
says so.
"""

from __future__ import annotations

import json
from dataclasses import MISSING, fields
from typing import Any

from smt_nas import SearchSpace
from smt_nas.costs.parts import Part, PartIndex
from smt_nas.devices.tables.part_traces import trace_few
from smt_nas.devices.tables.recorded_traces import FILE, Ops, Others, list_numbers, list_others
from smt_nas.files import names
from smt_nas.models.part_modules import trace_part

BATCHES = (1, 2, 64)  # a number is the same for all, or grows as they do


def main() -> None:
    """Trace, and write the file."""
    traces: dict[Part, list[Ops]] = {}

    def trace(part: Part) -> Ops:
        traces[part] = [trace_part(part, batch) for batch in BATCHES]
        return traces[part][0]

    for name in names("search_spaces"):
        trace_few(PartIndex.of(SearchSpace.load(name)).parts, trace)
    FILE.write_text(_write(traces), encoding="utf-8")
    print(f"{FILE.name}: {len(traces)} parts of {', '.join(names('search_spaces'))}")


def _write(traces: dict[Part, list[Ops]]) -> str:
    alike: dict[Others, list[Part]] = {}
    for part, runs in traces.items():
        (others,) = {list_others(ops) for ops in runs}  # the same operators at each batch
        alike.setdefault(others, []).append(part)
    patterns, lines = [], []
    for number, (others, parts) in enumerate(alike.items()):
        numbers = [[list_numbers(traces[part][i]) for part in parts] for i in range(len(BATCHES))]
        columns = list(zip(*(zip(*rows, strict=True) for rows in numbers), strict=True))
        distinct = {column: i for i, column in enumerate(dict.fromkeys(columns))}
        grows = [int(_grows(column)) for column in distinct]
        slots = [distinct[column] for column in columns]
        patterns.append(json.dumps({"others": others, "slots": slots, "grows": grows}))
        rows = zip(*(column[0] for column in distinct), strict=True)
        lines += [
            json.dumps([_shorten(part), number, row]) for part, row in zip(parts, rows, strict=True)
        ]
    texts = (",\n".join(entries) for entries in (patterns, lines))
    return '{{"patterns": [\n{}\n], "parts": [\n{}\n]}}\n'.format(*texts)


def _grows(column: tuple[tuple[int, ...], ...]) -> bool:
    """Whether the numbers of some parts at each of the batches grow with these."""
    first = column[0]
    if all(values == first for values in column):
        return False
    for batch, values in zip(BATCHES, column, strict=True):
        assert values == tuple(batch * n for n in first), "neither constant nor proportional"
    return True


def _shorten(part: Part) -> dict[str, Any]:
    """The fields of a part that are not at their default."""
    values = {f.name: (getattr(part, f.name), f.default) for f in fields(part)}
    return {name: v for name, (v, default) in values.items() if default is MISSING or v != default}


if __name__ == "__main__":
    main()
