"""Calibrate: measure the parts of a space on this machine, and check the table on whole networks.

Every sample goes to a work file at once; the same command goes on after a crash. When the time is
up or the plan is done, the samples become the table and its evidence, and the work file goes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from smt_nas import __version__
from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions, Mode, Precision
from smt_nas.devices.measured_table import (
    FOLDER,
    Evidence,
    Load,
    MeasuredTable,
    table_path,
    write_table,
)
from smt_nas.devices.registry import local_sheet
from smt_nas.devices.sheet import Sheet
from smt_nas.errors import MeasurementError
from smt_nas.fingerprint import fingerprint
from smt_nas.profilers.calibration.fit import fit_calibration
from smt_nas.profilers.calibration.journal import Journal, Line, open_journal
from smt_nas.profilers.calibration.schedule import Plan, Schedule, Visit, as_line, of_line
from smt_nas.profilers.calibration.timer import PartTimer, TorchPartTimer
from smt_nas.runtime import host
from smt_nas.runtime.torch_device import check, resolve
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
            "calibrate: a compiled network has no parts that could be timed apart (got mode "
            "compile). Use eager or graph; `smt-nas profile --mode compile` measures one network."
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
        device: `cpu`, `cuda` or `cuda:N`.
        conditions: how to run them; `conditions_of` by default.
        minutes: measuring stops then; what a killed run measured counts too.
        out: the folder to write to.
        seed: of the schedule: which chains, which networks.
        on_progress: told after every visit.

    Raises:
        MeasurementError: no such device, it cannot do this, or the time was too short.
        StoreError: the table or the work file cannot be written, or another process is at it.
    """
    sheet, target = local_sheet(device), resolve(device)
    conditions = tuple(conditions) or conditions_of(sheet)
    for each in conditions:
        check(each, target)
    plan = Plan.of(space, tuple(conditions), VISITS[sheet.kind], seed)
    return run(plan, sheet, TorchPartTimer(device), minutes, out, on_progress)


def run(
    plan: Plan,
    sheet: Sheet,
    bench: PartTimer,
    minutes: float,
    out: Path,
    on_progress: Progress = lambda share: None,
) -> CalibrationResult:
    """Carry out a plan on any bench; see `calibrate`."""
    path = table_path(out, sheet.key, plan.index.space)
    header = _header(plan, sheet)
    code = fingerprint(header)[:8]
    with open_journal(out / f".{path.stem}.{code}.jsonl", header) as work:
        seconds, lines, done = _measured(plan, bench, minutes * 60, work, on_progress)
        table = _table(plan, sheet, lines, seconds, done)
        evidence = write_table(path, table)
        work.remove()
    return CalibrationResult(path, evidence)


def _header(plan: Plan, sheet: Sheet) -> Line:
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


def _measured(
    plan: Plan, bench: PartTimer, limit_s: float, work: Journal, on_progress: Progress
) -> tuple[float, list[Line], bool]:
    """Go on with the schedule until it or the time ends: seconds, all lines, whether it is done."""
    schedule, lines = Schedule(plan), list(work.lines)
    for line in lines:
        if "c" in line:
            schedule.count(of_line(line))
    spent = max((line["t"] for line in lines), default=0.0)
    reference = plan.index.space.decode(plan.reference)[0]
    began, before = bench.seconds() - spent, host.sample()
    while (visit := schedule.next()) is not None and spent < limit_s:
        found = _visited(plan, bench, reference, visit)
        spent = bench.seconds() - began
        new = [as_line(visit, **found, t=round(spent, 3))]
        if time.perf_counter() - before.time_s >= _WATCH_S:
            after = host.sample()
            new, before = [*new, {"load": _load(before, after), "t": round(spent, 3)}], after
        for line in new:
            work.append(line)
        lines += new
        schedule.count(visit)
        on_progress(max(schedule.share, min(1.0, spent / limit_s)))
    return spent, lines, schedule.next() is None


def _visited(plan: Plan, bench: PartTimer, reference: Architecture, visit: Visit) -> dict[str, Any]:
    """Measure a chain or a network, and the reference beside it."""
    conditions, space = plan.conditions[visit.conditions], plan.index.space
    if visit.network is None:
        chain = bench.chain([plan.index.parts[i] for i in visit.chain], conditions)
        host_ms = {} if chain.host_ms is None else {"host": _rounded(chain.host_ms)}
        found = {"ms": _rounded(chain.ms), **host_ms, "off": round(chain.interrupted, 3)}
    else:
        (arch,) = space.decode(plan.networks[[visit.network]])
        network = bench.network(arch, conditions)
        found = {"ms": round(network.ms, 6), "off": round(network.interrupted, 3)}
    return {**found, "ref": round(bench.network(reference, conditions).ms, 6)}


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 6) for v in values]


def _load(before: host.HostSample, after: host.HostSample) -> list[float | None]:
    return [host.foreign_share(before, after), host.steal_share(before, after)]


def _table(
    plan: Plan, sheet: Sheet, lines: Sequence[Line], seconds: float, done: bool
) -> MeasuredTable:
    """The table and the evidence that all lines add up to."""
    visits = [line for line in lines if "c" in line]
    found = [
        fit_calibration(plan, number, [line for line in visits if line["c"] == number])
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
        complete=done,
        seed=plan.seed,
        versions={
            "smt-nas": __version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        load=_seen_load(lines),
        calibrations=tuple(calibration for calibration, _ in found),
    )
    return MeasuredTable(plan.index, evidence, tuple(times for _, times in found))


def _seen_load(lines: Sequence[Line]) -> Load:
    windows = [line["load"] for line in lines if "load" in line]
    foreign = [w[0] for w in windows if w[0] is not None]
    steal = [w[1] for w in windows if w[1] is not None]
    interrupted = [line["off"] for line in lines if "off" in line]
    return Load(
        foreign_median=round(float(np.median(foreign)), 4) if foreign else None,
        foreign_max=round(max(foreign), 4) if foreign else None,
        steal_max=round(max(steal), 4) if steal else None,
        windows=len(windows),
        interrupted=round(float(np.mean(interrupted)), 4),
    )
