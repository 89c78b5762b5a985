"""Fits the CPU's set of coefficients on measured tables: `python benchmarks/cpu.py [--write]`.

The tables are those of `smt-nas calibrate --device cpu` in `profiles/`. The error printed is of
parts of the other space than was fitted on; they are of one CPU, so that of another is not known.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.errors import mape, within
from smt_nas import SearchSpace
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import PartIndex
from smt_nas.devices.block_table import COVERAGE
from smt_nas.devices.device import hardware_of
from smt_nas.devices.gpu_kernels import build_kernels
from smt_nas.devices.registry import load_sheet
from smt_nas.models.part_modules import trace_part
from tools.roofline_fit import CPU_GUESSES, Sample, concatenate, fit_roofline

PROFILES = Path(__file__).resolve().parents[1] / "profiles"
DEVICE, SPACES = "epyc_zen3_2cpu", ("smt_micro", "smt")


def main() -> None:
    """Fit on each space, check on the other, write a fit of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write profiles/efficiency.json")
    write = parser.parse_args().write
    samples = [_sample(space) for space in SPACES]
    unseen = []
    for i, space in enumerate(SPACES):
        fit = fit_roofline([s for j, s in enumerate(samples) if j != i], guesses=CPU_GUESSES)
        logs = np.log(fit.predict(samples[i]) / samples[i].truth_ms)
        unseen.append(np.abs(logs))
        print(
            f"parts of {space}, fitted on the other: n {len(logs)}, MAPE {mape(logs):.1f} %, "
            f"{within(logs):.0f} % within 10 %, bias {np.median(logs):+.2f}"
        )
    half = float(np.mean([np.quantile(logs, COVERAGE) for logs in unseen]))  # spaces count alike
    print(
        f"{COVERAGE:.0%} of the parts of a space that was not fitted on are within {half:.2f} log"
    )
    if write:
        _write(samples, half)


def _sample(name: str) -> Sample:
    """The measured parts of a space, batch 1, FP32, one thread."""
    index = {str(p): p for p in PartIndex.of(SearchSpace.load(name)).parts}
    with (PROFILES / f"{DEVICE}.{name}.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["origin"] == "measured"]
    rows = [r for r in rows if (r["batch"], r["precision"], r["threads"]) == ("1", "fp32", "1")]
    conditions = Conditions(threads=1)
    kernel_lists = [
        build_kernels(trace_part(index[r["part"]]), conditions, gpu=False) for r in rows
    ]
    table, count, network = concatenate(kernel_lists)
    return Sample(
        device=DEVICE,
        mode="eager",
        names=tuple(r["part"] for r in rows),
        hardware=hardware_of(load_sheet(DEVICE), conditions),
        kernels=table,
        count=count,
        network=network,
        truth_ms=np.array([float(r["ms"]) for r in rows]),
        weight=np.full(len(rows), 3 / np.sqrt(len(rows))),
    )


def _write(samples: list[Sample], half: float) -> None:
    path = PROFILES / "efficiency.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    fit = fit_roofline(samples, guesses=CPU_GUESSES)
    ends = {m: [-round(half, 3), round(half, 3)] for m in ("eager", "compile", "graph")}
    file["cpu"] |= {
        "coefficients": {k: float(f"{v:.4g}") for k, v in fit.coefficients.items()},
        "provenance": (
            f"benchmarks/cpu.py --write: parts of {' and '.join(SPACES)} measured on {DEVICE}, "
            "batch 1, FP32, one thread. compile: not measured"
        ),
        "typical": {"eager": round(float(np.exp(fit.modes["eager"])), 4)},
        "factors": {},
        "intervals": ends,
        "own_intervals": ends,
    }
    path.write_text(json.dumps(file, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
