"""What an NVIDIA GPU is asked for, in one run with a time cap: speed table, calibration, GPU tests.

    python -m benchmarks.gpu --minutes 25
    python -m benchmarks.gpu --deploy --minutes 8

1. smt_t, s, b and l at batch 1, 8, 64 and 256, in fp32, amp-fp16 and bf16, eager, as a CUDA graph
   and compiled: a line of JSON each in benchmarks/gpu/<device>.jsonl, and a table on stdout
2. `smt-nas calibrate` for that GPU: its table goes to profiles/
3. the tests marked `gpu`

With `--deploy` it does what `gpu_deploy` says instead: forms of deployment against the published
code. With `--training`, what `gpu_training` says: the GPU tests of train/, images a second of
trainings by the plain loop and the fast path, and with `--bench-c10` rows of a bench in the time
that is left:

    python -m benchmarks.gpu --training --bench-c10 --data parquet:DIR --minutes 9

A run that was cut off goes on where it stopped. Commit what it leaves, with the date.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu_deploy import measure_deploy
from benchmarks.gpu_training import train_on_gpu
from smt_nas.arch import PRESETS
from smt_nas.conditions import Conditions
from smt_nas.devices.resolve import resolve
from smt_nas.errors import MeasurementError
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.latency.sampling import Limits, measure
from smt_nas.profilers.network_loader import load_network
from smt_nas.runtime.environment import read_environment

MODES = ("eager", "graph", "compile")  # compiling takes longest: last, so that a cap hits it
PRECISIONS = ("amp-fp16", "bf16", "fp32")
BATCHES = (1, 8, 64, 256)
LIMITS = Limits(seconds=2.0, min_s=0.5, warmup_cap_s=4.0)
DEPLOY_SHARE = 0.75  # of the time, after which no form is begun: one compiles for up to a minute
SHARES = (0.5, 0.4)  # of the time: for the table, for calibration; the tests get what is left


def main() -> None:
    """Run the steps in order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=25.0)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--space", default="smt")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/gpu"))
    parser.add_argument("--deploy", action="store_true", help="forms of deployment alone")
    parser.add_argument("--network", default="smt_t", choices=PRESETS, help="of --deploy")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 64], help="of --deploy")
    parser.add_argument("--training", action="store_true", help="images a second of trainings")
    parser.add_argument("--bench-c10", action="store_true", help="then rows of SMT-Bench-C10")
    parser.add_argument("--data", default="parquet:shared/data/cifar10", help="of --training")
    args = parser.parse_args()
    start, total = time.monotonic(), args.minutes * 60

    if args.deploy:
        deadline = start + DEPLOY_SHARE * total
        measure_deploy(args.network, args.device, args.out, deadline, args.batch)
        return
    if args.training:
        tests = ["pytest", "-q", "-m", "gpu", "-rs", "tests/train"]
        subprocess.run([sys.executable, "-m", *tests], check=False)
        minutes = args.minutes - (time.monotonic() - start) / 60
        train_on_gpu(args.data, args.device, args.out, minutes, args.bench_c10)
        return
    sheet = resolve(args.device).require_sheet()
    args.out.mkdir(parents=True, exist_ok=True)
    journal = args.out / f"{sheet.key}.jsonl"
    speed_table(journal, args.device, start + SHARES[0] * total)
    print(markdown(journal), flush=True)

    minutes = SHARES[1] * args.minutes
    command = ["-m", "smt_nas", "calibrate", "--device", args.device, "--space", args.space]
    subprocess.run([sys.executable, *command, "--minutes", f"{minutes:.1f}"], check=False)
    subprocess.run([sys.executable, "-m", "pytest", "-m", "gpu", "-rs"], check=False)


def cases() -> Iterator[tuple[str, Conditions]]:
    """Every network under every set of conditions, in the order of their worth."""
    for mode, precision, batch, name in itertools.product(MODES, PRECISIONS, BATCHES, PRESETS):
        yield (
            name,
            Conditions.model_validate({"batch": batch, "precision": precision, "mode": mode}),
        )


def speed_table(journal: Path, device: str, deadline: float) -> None:
    """Measure what the journal does not hold yet, a line each, until the deadline."""
    done = {(line["network"], str(line["conditions"])) for line in lines(journal)}
    with journal.open("a", encoding="utf-8") as file:
        for name, conditions in cases():
            if (name, str(conditions)) in done or time.monotonic() > deadline:
                continue
            line: dict[str, Any] = {"network": name, "conditions": str(conditions)}
            try:
                call = prepare(load_network(name), conditions, device)
                try:
                    line["measurement"] = measure(call, LIMITS).to_dict()
                finally:
                    call.close()
            except MeasurementError as error:  # a cell that cannot be measured says why
                line["failure"] = str(error)
            line["environment"] = read_environment(device)
            file.write(json.dumps(line) + "\n")
            file.flush()


def lines(journal: Path) -> list[dict[str, Any]]:
    """What a journal holds; a last line that was cut off is left out."""
    entries = []
    text = journal.read_text(encoding="utf-8") if journal.exists() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):
            entries.append(json.loads(line))
    return entries


def markdown(journal: Path) -> str:
    """Wall milliseconds (median) and images per second of what was reached, a row a batch."""
    entries = {(e["network"], e["conditions"]): e for e in lines(journal)}
    cells = {
        (name, conditions.batch, f"{conditions.precision} {conditions.mode}"): _cell(
            entry, conditions.batch
        )
        for name, conditions in cases()
        if (entry := entries.get((name, str(conditions)))) is not None
    }
    names = [f"{p} {m}" for p, m in itertools.product(PRECISIONS, MODES)]
    columns = [c for c in names if any(column == c for *_, column in cells)]
    rows = ["| network | batch | " + " | ".join(columns) + " |"]
    rows.append("|" + "---|" * (len(columns) + 2))
    for name, batch in itertools.product(PRESETS, BATCHES):
        row = [cells.get((name, batch, column), "-") for column in columns]
        if set(row) != {"-"}:
            rows.append(f"| {name} | {batch} | " + " | ".join(row) + " |")
    return "\n".join(rows)


def _cell(entry: dict[str, Any], batch: int) -> str:
    if "measurement" not in entry:
        return "failed"
    m = entry["measurement"]
    ms = m["wall"]["median_ms"]
    mark = "" if m["status"] == "ok" else f" ({m['status']})"
    return f"{ms:.2f} ms, {batch * 1e3 / ms:.0f}/s{mark}"


if __name__ == "__main__":
    main()
