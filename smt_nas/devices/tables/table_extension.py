"""A measured table for a space that has parts which it does not hold.

Those that it holds keep their times. The others are predicted from the data sheet, times what the
device took over what the sheet says of the held part of the same proportions that is nearest in
width. That ratio drifts with the width; how fast it does between held widths says how unsure a time
is: its interval grows with the distance. Where no part of the same proportions is held, the parts
of its kind stand in, with their whole scatter.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from smt_nas.costs.parts import Floats, Part, PartIndex
from smt_nas.devices.block_table import COVERAGE, BlockTable

_LEAST_SPREAD = 0.05  # in log, of a time that was not measured
_FAR = float(np.log(2))  # the least of one that no part of its proportions speaks for


def restrict_table(table: BlockTable, index: PartIndex) -> BlockTable | None:
    """The same times for a space whose every part the table holds; None: it does not."""
    place = {part: i for i, part in enumerate(table.index.parts)}
    if not place.keys() >= set(index.parts):
        return None
    at = np.array([place[part] for part in index.parts])
    host_ms = None if table.host_ms is None else table.host_ms[at]
    spread = np.broadcast_to(np.asarray(table.spread, dtype=np.float64), table.ms.shape)[at]
    return replace(table, index=index, ms=table.ms[at], host_ms=host_ms, spread=spread)


def extend_table(table: BlockTable, by_sheet: BlockTable) -> BlockTable:
    """Extend a measured table to the space of another one.

    Args:
        table: of measured times, for some space.
        by_sheet: of the same device from its sheet, for a space that shares parts with that one.
    """
    parts, place = by_sheet.index.parts, {p: i for i, p in enumerate(table.index.parts)}
    at = np.array([place.get(part, -1) for part in parts])
    is_measured = at >= 0
    assert is_measured.any()
    ms, apart = _complete(parts, at, table.ms, by_sheet.ms)
    host_ms = None
    if table.host_ms is not None and by_sheet.host_ms is not None:
        host_ms, _ = _complete(parts, at, table.host_ms, by_sheet.host_ms)
    own = np.broadcast_to(np.asarray(table.spread, dtype=np.float64), table.ms.shape)
    note = (
        f"{is_measured.sum()} of {len(parts)} parts of space {by_sheet.index.space.name} were "
        "measured on it; the others are predicted from its data sheet, with a wider interval"
    )
    return replace(
        table,
        index=by_sheet.index,
        ms=ms,
        host_ms=host_ms,
        spread=np.where(is_measured, own[at], apart),
        basis="table+sheet",
        notes=(*table.notes, note),
    )


def _complete(
    parts: tuple[Part, ...], at: NDArray[np.int64], measured: Floats, predicted: Floats
) -> tuple[Floats, Floats]:
    """Times of P parts, and how unsure they are, in log, 0 of those held, each (P,).

    Args:
        parts: P of them.
        at: (P,) where each stands in `measured`; -1: it was not.
        measured: times of the parts of a table.
        predicted: (P,) by the sheet.
    """
    ms, spread, is_measured = measured[at].copy(), np.zeros(len(parts)), at >= 0
    ratio = np.log(np.maximum(ms, 1e-9) / np.maximum(predicted, 1e-9))
    widths = np.log(np.array([part.widths for part in parts], dtype=np.float64))  # (P, 2)
    alike, kinds = _group([p.proportions for p in parts]), _group([p.kind for p in parts])
    drifts: dict[str, float] = {}
    for kind, rows in kinds.items():
        drifts[str(kind)] = _measure_drift(ratio, widths, alike, rows[is_measured[rows]])
    for rows in alike.values():
        lacking, known = rows[~is_measured[rows]], rows[is_measured[rows]]
        if not len(lacking):
            continue
        kind = parts[lacking[0]].kind
        if len(known):
            distance = np.abs(widths[lacking, None] - widths[None, known]).sum(axis=2)
            nearest = distance.argmin(axis=1)
            log_ratio, unsure = ratio[known[nearest]], distance.min(axis=1) * drifts[kind]
        else:
            of_kind = kinds[kind][is_measured[kinds[kind]]]
            log_ratio, unsure = _summarise(ratio[of_kind if len(of_kind) else is_measured])
        ms[lacking] = predicted[lacking] * np.exp(log_ratio)
        spread[lacking] = np.maximum(unsure, _LEAST_SPREAD)
    return ms, spread


def _group(keys: list[Hashable]) -> dict[Hashable, NDArray[np.int64]]:
    """Rows by their key."""
    rows: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        rows.setdefault(key, []).append(row)
    return {key: np.array(each) for key, each in rows.items()}


def _measure_drift(
    ratio: Floats,
    widths: Floats,
    alike: dict[Hashable, NDArray[np.int64]],
    known: NDArray[np.int64],
) -> float:
    """How fast the ratio drifts with the logarithm of the width between held parts of a kind.

    `COVERAGE` of the neighbours drift slower. Where no two widths are held, it may drift as the
    width itself.
    """
    slopes = []
    for rows in alike.values():
        mine = rows[np.isin(rows, known)]
        if len(mine) < 2:
            continue
        distance = np.abs(widths[mine, None] - widths[None, mine]).sum(axis=2)
        np.fill_diagonal(distance, np.inf)
        nearest = distance.argmin(axis=1)
        slopes += (np.abs(ratio[mine] - ratio[mine[nearest]]) / distance.min(axis=1)).tolist()
    return float(np.quantile(slopes, COVERAGE)) if slopes else 1.0


def _summarise(ratios: Floats) -> tuple[Floats, Floats]:
    """Middle of the ratios of held parts, and their scatter: no less than a factor of two."""
    middle = np.median(ratios)
    return np.asarray(middle), np.maximum(np.quantile(np.abs(ratios - middle), COVERAGE), _FAR)
