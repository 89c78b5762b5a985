"""Calibrate: measure the parts of a space on this machine, and check the table on whole networks.

Every sample goes to a work file at once; the same command goes on after a crash. When the time is
up or the plan is done, the samples become the table and its evidence, and the work file goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smt_nas import __version__
from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions, Mode, Precision
from smt_nas.devices.resolve import resolve
from smt_nas.devices.sheet import Sheet
from smt_nas.devices.tables.measured_table import (
    FOLDER,
    Evidence,
    Load,
    MeasuredTable,
    table_path,
    write_table,
)
from smt_nas.errors import MeasurementError
from smt_nas.fingerprint import fingerprint
from smt_nas.profilers.board import check_board
from smt_nas.profilers.calibration.fit import fit_calibration
from smt_nas.profilers.calibration.journal import Journal, JournalLine, Line, LoadLine, open_journal
from smt_nas.profilers.calibration.schedule import Plan, Schedule, Visit
from smt_nas.profilers.calibration.timer import PartTimer, TorchPartTimer
from smt_nas.runtime import host
from smt_nas.runtime.torch_device import check, open_device
from smt_nas.space import SearchSpace

_WATCH_S = 2.0  # between two looks at what others do
VISITS = {"cpu": 30, "gpu": 5}  # of every part and network: a CPU's times scatter more
DEFAULTS: dict[str, tuple[tuple[int, ...], tuple[Precision, ...], tuple[Mode, ...]]] = {
    "cpu": ((1,), ("fp32",), ("eager",)),
    "gpu": ((1, 8, 64), ("fp32", "amp-fp16"), ("eager", "graph")),
}
"""Batches, precisions and modes by kind of device."""

Progress = Callable[[float], None]
"""Told how much is done, 0 to 1."""


@dataclass(frozen=True)
class CalibrationResult:
    """A calibration that was written.

    Attributes:
        path: of the CSV; the evidence is the `.json` beside it.
        evidence: as written.
    """

    path: Path
    evidence: Evidence


def conditions_of(
    sheet: Sheet,
    batches: Sequence[int] = (),
    precisions: Sequence[Precision] = (),
    modes: Sequence[Mode] = (),
    threads: int = 1,
) -> tuple[Conditions, ...]:
    """All combinations; what is left empty is `DEFAULTS`.

    Raises:
        MeasurementError: a mode whose parts cannot be timed apart.
    """
    if "compile" in modes:
        raise MeasurementError(
            "calibrate: a compiled network has no parts that could be timed apart (got form "
            "compile). Use another form; `smt-nas profile --form compile` measures one network."
        )
    batch_, precision_, mode_ = DEFAULTS[sheet.kind]
    return tuple(
        Conditions(batch=b, precision=p, mode=m, threads=threads if sheet.kind == "cpu" else None)
        for b in batches or batch_
        for p in precisions or precision_
        for m in modes or mode_
    )


def calibrate(
    space: SearchSpace,
    device: str = "cpu",
    conditions: Sequence[Conditions] = (),
    minutes: float = 10.0,
    out: Path = Path(FOLDER),
    seed: int = 0,
    on_progress: Progress = lambda share: None,
) -> CalibrationResult:
    """Measure the parts of a space on a device of this machine, and write the table.

    Args:
        space: whose parts.
        device: as `devices.resolve` takes it.
        conditions: how to run them; `conditions_of` by default.
        minutes: measuring stops then; what a killed run measured counts too.
        out: the folder to write to.
        seed: of the schedule: which chains, which networks.
        on_progress: told after every visit.

    Raises:
        MeasurementError: no such device, it cannot do this, or the time was too short.
        StoreError: the table or the work file cannot be written, or another process is at it.
    """
    ref = resolve(device)
    name = ref.require_here()
    sheet, target = ref.require_sheet(), open_device(name)
    check_board(sheet, target)
    conditions = tuple(conditions) or conditions_of(sheet)
    for each in conditions:
        check(each, target)
    plan = Plan.of(space, tuple(conditions), VISITS[sheet.kind], seed)
    return run(plan, sheet, TorchPartTimer(name), minutes, out, on_progress)


def run(
    plan: Plan,
    sheet: Sheet,
    timer: PartTimer,
    minutes: float,
    out: Path,
    on_progress: Progress = lambda share: None,
) -> CalibrationResult:
    """Carry out a plan with any timer; see `calibrate`."""
    path = table_path(out, sheet.key, plan.index.space)
    header = _header(plan, sheet)
    code = fingerprint(header)[:8]
    with open_journal(out / f".{path.stem}.{code}.jsonl", header) as work:
        seconds, lines, complete = _measure_plan(plan, timer, minutes * 60, work, on_progress)
        table = _build_table(plan, sheet, lines, seconds, complete)
        evidence = write_table(path, table)
        work.remove()
    return CalibrationResult(path, evidence)


def _header(plan: Plan, sheet: Sheet) -> dict[str, Any]:
    """What is calibrated: samples of unequal headers are never mixed."""
    return {
        "schema": 1,
        "device": sheet.key,
        "space": plan.index.space.digest,
        "conditions": [c.model_dump(mode="json") for c in plan.conditions],
        "seed": plan.seed,
        "visits": plan.visits,
        "torch": torch.__version__,
    }


def _measure_plan(
    plan: Plan, timer: PartTimer, limit_s: float, work: Journal, on_progress: Progress
) -> tuple[float, list[Line], bool]:
    """Go on with the schedule until it or the time ends: seconds, all lines, whether it is done."""
    schedule, lines = Schedule(plan), list(work.lines)
    for line in lines:
        if isinstance(line, JournalLine):
            schedule.count(line.visit)
    spent = max((line.seconds for line in lines), default=0.0)
    reference = plan.index.space.decode(plan.reference)[0]
    began, before = timer.seconds() - spent, host.sample_host()
    while (visit := schedule.next()) is not None and spent < limit_s:
        new: list[Line] = [_measure_visit(plan, timer, reference, visit, began)]
        spent = timer.seconds() - began
        if time.perf_counter() - before.time_s >= _WATCH_S:
            after = host.sample_host()
            shares = host.foreign_share(before, after), host.steal_share(before, after)
            new, before = [*new, LoadLine(shares=shares, seconds=round(spent, 3))], after
        for line in new:
            work.append(line)
        lines += new
        schedule.count(visit)
        on_progress(max(schedule.share, min(1.0, spent / limit_s)))
    return spent, lines, schedule.next() is None


def _measure_visit(
    plan: Plan, timer: PartTimer, reference: Architecture, visit: Visit, began: float
) -> JournalLine:
    """Measure a chain or a network, and the reference beside it."""
    conditions, space = plan.conditions[visit.conditions], plan.index.space
    ms: float | tuple[float, ...]
    host_ms = None
    if visit.network is None:
        chain = timer.chain([plan.index.parts[i] for i in visit.chain], conditions)
        ms, interrupted = _round(chain.ms), chain.interrupted
        host_ms = None if chain.host_ms is None else _round(chain.host_ms)
    else:
        (arch,) = space.decode(plan.networks[[visit.network]])
        network = timer.network(arch, conditions)
        ms, interrupted = round(network.ms, 6), network.interrupted
    return JournalLine(
        conditions=visit.conditions,
        network=visit.network,
        chain=visit.chain or None,
        ms=ms,
        host_ms=host_ms,
        interrupted=round(interrupted, 3),
        reference_ms=round(timer.network(reference, conditions).ms, 6),
        seconds=round(timer.seconds() - began, 3),
    )


def _round(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(round(float(v), 6) for v in values)


def _build_table(
    plan: Plan, sheet: Sheet, lines: Sequence[Line], seconds: float, complete: bool
) -> MeasuredTable:
    """The table and the evidence that all lines add up to."""
    visits = [line for line in lines if isinstance(line, JournalLine)]
    fits = [
        fit_calibration(plan, number, [line for line in visits if line.conditions == number])
        for number in range(len(plan.conditions))
    ]
    evidence = Evidence(
        schema=1,
        device=sheet.key,
        device_name=sheet.name,
        space=plan.index.space.name,
        space_digest=plan.index.space.digest,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(seconds, 1),
        complete=complete,
        seed=plan.seed,
        versions={
            "smt-nas": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        load=_summarise_load(lines),
        calibrations=tuple(calibration for calibration, _ in fits),
    )
    return MeasuredTable(plan.index, evidence, tuple(times for _, times in fits))


def _summarise_load(lines: Sequence[Line]) -> Load:
    windows = [line.shares for line in lines if isinstance(line, LoadLine)]
    foreign = [w[0] for w in windows if w[0] is not None]
    steal = [w[1] for w in windows if w[1] is not None]
    interrupted = [line.interrupted for line in lines if isinstance(line, JournalLine)]
    return Load(
        foreign_median=round(float(np.median(foreign)), 4) if foreign else None,
        foreign_max=round(max(foreign), 4) if foreign else None,
        steal_max=round(max(steal), 4) if steal else None,
        windows=len(windows),
        interrupted=round(float(np.mean(interrupted)), 4),
    )
