"""What is measured of SMT networks on GPUs: our own H100 table, and rows that others published.

Ours are medians of `benchmarks/gpu/h100_sxm.jsonl` (the machine of 2026-11-27); networks are
samples for the fit (not its parts: times of parts alone, some taken once, add up to 1.36 times
the networks). `published_latency.csv` is of the published code; its precision and host
are not stated, and `benchmarks/data/README.md` says how they were inferred.
"""

from __future__ import annotations

import csv
import functools
import json
import pickle
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.zoo import CACHE
from smt_nas.conditions import Conditions
from smt_nas.costs.ops import Op
from smt_nas.devices.device import hardware_of
from smt_nas.devices.gpu_kernels import Kernels, build_kernels
from smt_nas.devices.registry import load_sheet
from smt_nas.fingerprint import fingerprint
from smt_nas.models import build
from smt_nas.models.trace import trace
from tools.roofline_fit import Sample, concatenate

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "benchmarks" / "data"
JOURNAL = ROOT / "benchmarks" / "gpu" / "h100_sxm.jsonl"
BEFORE = ROOT / "benchmarks" / "gpu" / "h100_sxm.predictions.json"
H100, DAY = "h100_sxm", "2026-11-27"


@dataclass(frozen=True)
class Row:
    """A latency that was measured.

    Attributes:
        device: key of the device's sheet.
        network: a preset.
        conditions: how it ran.
        ms: median of the calls.
        fastest_ms: of the quickest call; None where only one figure was published.
        before: what was predicted, with its interval, before the host had a model.
    """

    device: str
    network: str
    conditions: Conditions
    ms: float
    fastest_ms: float | None = None
    before: tuple[float, float, float] | None = None


def h100_rows() -> list[Row]:
    """The 81 cells of our own table."""
    rows, before = [], json.loads(BEFORE.read_text(encoding="utf-8"))
    for line in JOURNAL.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["environment"]["date"].startswith(DAY) and "measurement" in entry:
            m = entry["measurement"]
            conditions = Conditions.model_validate(m["conditions"])
            times = m["wall"]["median_ms"], m["wall"]["min_ms"]
            was = before[f"{entry['network']} {conditions}"]
            ends = was["predicted_ms"], was["low"], was["high"]
            rows.append(Row(H100, entry["network"], conditions, *times, ends))
    return rows


def published_rows() -> list[Row]:
    """Rows of papers."""
    with (DATA / "published_latency.csv").open(encoding="utf-8") as file:
        return [_published(row) for row in csv.DictReader(file)]


def _published(row: dict[str, str]) -> Row:
    words = {"batch": int(row["batch"]), "precision": row["precision"], "mode": row["mode"]}
    conditions = Conditions.model_validate(words | {"channels_last": row["format"] == "nhwc"})
    low, middle, high = (float(row[f"before_{end}"]) for end in ("low", "ms", "high"))
    ms = float(row["latency_ms"])
    return Row(row["device"], row["network"], conditions, ms, None, (middle, low, high))


@functools.cache
def trace_network(name: str, batch: int, channels_last: bool = False) -> list[Op]:
    """Operators of a preset at 224 pixels."""
    return trace(build(name, device="meta").eval(), (3, 224, 224), batch, channels_last)


@functools.cache
def smt_samples() -> dict[str, Sample]:
    """Our networks by precision, from CUDA graphs, where no host counts."""
    files = ("devices/gpu_kernels.py", "models/trace.py", "models/operators.py")
    paths = [*(ROOT / "smt_nas" / f for f in files), Path(__file__)]
    text = b"".join(p.read_bytes() for p in paths)
    path = CACHE.parent / f"smt.{fingerprint(text)}.pkl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [r for r in h100_rows() if r.conditions.mode == "graph"]
        samples = {p: _networks(rows, p) for p in ("fp32", "amp-fp16", "bf16")}
        path.write_bytes(pickle.dumps(samples))
    kept: dict[str, Sample] = pickle.loads(path.read_bytes())
    return kept


def _networks(rows: Iterable[Row], precision: str) -> Sample:
    own = [r for r in rows if r.conditions.precision == precision]
    kernel_lists = [
        build_kernels(trace_network(r.network, r.conditions.batch), r.conditions) for r in own
    ]
    names = [f"{r.network}.b{r.conditions.batch}" for r in own]
    return _sample(own[0].conditions, names, kernel_lists, [r.ms for r in own])


def _sample(
    conditions: Conditions,
    names: list[str],
    kernel_lists: list[Kernels],
    truth_ms: list[float],
) -> Sample:
    table, count, network = concatenate(kernel_lists)
    return Sample(
        device=H100,
        mode="eager",  # a graph runs the kernels of eager mode
        names=tuple(names),
        hardware=hardware_of(load_sheet(H100), conditions),
        kernels=table,
        count=count,
        network=network,
        truth_ms=np.array(truth_ms),
        weight=np.ones(len(names)),
        ours=True,
    )
