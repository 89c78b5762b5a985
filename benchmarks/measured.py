"""What others measured, as samples for the fit: networks of timm and READMEs, single operators."""

from __future__ import annotations

import csv
import functools
import gzip
import pickle
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.zoo import BATCHES, CACHE, traces
from smt_nas.conditions import Conditions, Precision
from smt_nas.devices.device import hardware_of
from smt_nas.devices.gpu_kernels import CODE, Floats, Kernels, build_kernels
from smt_nas.devices.registry import load_sheet
from smt_nas.fingerprint import fingerprint
from tools.roofline_fit import Sample, concatenate

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "benchmarks" / "data"
Row = dict[str, str]


class Column(NamedTuple):
    """A column of timm's table.

    Attributes:
        device: key of its sheet.
        mode: how it was run.
        channels_last: memory format.
        merged: parallel branches were merged into one convolution. timm's FastViTs, and no other
            networks, run at 1.8 times the speed in the tables of torch 2.9: taken as this.
        weight: of its residuals, less where a device has several columns.
    """

    device: str
    mode: Literal["eager", "compile"]
    channels_last: bool
    merged: bool
    weight: float


COLUMNS = {
    "3090_pt240_nchw": Column("rtx3090", "eager", False, False, 0.7),
    "3090_pt240_nhwc": Column("rtx3090", "eager", True, False, 0.7),
    "4090_pt240_nchw": Column("rtx4090", "eager", False, False, 0.5),
    "4090_pt240_nhwc": Column("rtx4090", "eager", True, False, 0.5),
    "4090_pt291_eager": Column("rtx4090", "eager", False, True, 0.7),
    "4090_pt291_dynamo": Column("rtx4090", "compile", False, True, 1.0),
    "5090_pt291_eager": Column("rtx5090", "eager", False, True, 1.0),
    "5090_pt291_dynamo": Column("rtx5090", "compile", False, True, 1.0),
}
OP_DEVICES = {
    "NVIDIA A100 80GB PCIe": "a100_80_pcie",
    "NVIDIA A100-PCIE-40GB": "a100_40_pcie",
    "NVIDIA H100 80GB HBM3": "h100_sxm",
    "NVIDIA L4": "l4",
    "Tesla T4": "t4",
    "Tesla V100-PCIE-32GB": "v100_pcie",
}
OP_KINDS = {"linear": "linear", "bmm": "matmul", "conv": "conv", "ln": "norm", "softmax": "softmax"}
TWO_INPUTS = frozenset(("add", "mul", "div", "pow"))
EVENTS_MS = 0.03  # what timing one operator by events adds: the least times of the table


def family(name: str) -> str:
    """The family of a timm network: its first word."""
    match = re.match(r"[a-z]+(v\d)?", name)
    assert match is not None
    return match.group(0)


@functools.cache
def network_samples() -> dict[str, Sample]:
    """A sample for each column of timm's table, AMP FP16; kept on disk, as it takes a minute."""
    files = ("devices/gpu_kernels.py", "models/trace.py", "models/operators.py")
    text = b"".join((ROOT / "smt_nas" / f).read_bytes() for f in files)
    path = CACHE.parent / f"samples.{fingerprint(text)}.pkl"
    if not path.exists():
        samples = {name: _column(name, column) for name, column in COLUMNS.items()}
        path.write_bytes(pickle.dumps(samples))
    kept: dict[str, Sample] = pickle.loads(path.read_bytes())
    return kept


def timm_rows() -> list[Row]:
    """The rows of timm's table."""
    with (DATA / "timm_throughput.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _column(name: str, column: Column) -> Sample:
    rows = [r for r in timm_rows() if r[name]]
    batches = np.array([float(r[f"{name}_bs"]) for r in rows])
    kernel_lists = [
        network_kernels(
            r["model"], int(r["img_size"]), batch, "amp-fp16", column.mode, *column[2:4]
        )
        for r, batch in zip(rows, batches, strict=True)
    ]
    ips = np.array([float(r[name]) for r in rows])
    conditions = Conditions(mode=column.mode, precision="amp-fp16")
    return _sample(
        column.device,
        conditions,
        [f"{r['model']}.{r['img_size']}" for r in rows],
        kernel_lists,
        1e3 * batches / ips,
        column.weight,
    )


def network_kernels(
    name: str,
    size: int,
    batch: float,
    precision: Precision,
    mode: Literal["eager", "compile"],
    channels_last: bool = False,
    merged: bool = False,
) -> Kernels:
    """Kernels of a timm network at any batch, from its traces at two."""
    conditions = Conditions(mode=mode, precision=precision)
    low, high = (build_kernels(t, conditions) for t in traces(name, size, channels_last, merged))
    return low.at(high, (batch - BATCHES[0]) / (BATCHES[1] - BATCHES[0]))


def _sample(
    device: str,
    conditions: Conditions,
    names: Sequence[str],
    found: Sequence[Kernels],
    truth_ms: Floats,
    weight: float,
) -> Sample:
    table, count, network = concatenate(found)
    return Sample(
        device=device,
        mode=conditions.mode,
        names=tuple(names),
        hardware=hardware_of(load_sheet(device), conditions),
        kernels=table,
        count=count,
        network=network,
        truth_ms=truth_ms,
        weight=weight * family_weights(names),
    )


def readme_sample(
    device: str,
    conditions: Conditions,
    names: Sequence[str],
    found: Sequence[Kernels],
    truth_ms: Floats,
) -> Sample:
    """A sample of networks whose figures stand in READMEs."""
    return _sample(device, conditions, names, found, truth_ms, 1.0)


def family_weights(names: Iterable[str]) -> Floats:
    """A weight for each network, (n,): the squares of a family's add up to 4."""
    families = [family(n) for n in names]
    size = Counter(families)
    return 2 / np.sqrt([size[f] for f in families])


@functools.cache
def op_samples() -> dict[tuple[str, str], Sample]:
    """A sample for each operator and device, FP32, TF32 off; the operator's name is the first."""
    with gzip.open(DATA / "op_latency_fp32.csv.gz", "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["op"], OP_DEVICES[row["device"]]), []).append(row)
    return {key: _ops(*key, group) for key, group in groups.items()}


def _ops(op: str, device: str, rows: Sequence[Row]) -> Sample:
    n = len(rows)
    kind = OP_KINDS.get(op, "elementwise")
    columns = {f.name: np.zeros(n) for f in fields(Kernels)} | _shapes(op, rows)
    codes, owner = np.full(n, CODE[kind]), np.zeros(n, dtype=np.int64)
    del columns["kind"], columns["owner"]
    return Sample(
        device=device,
        mode="op",
        names=tuple(f"{op}.{i}" for i in range(n)),
        hardware=hardware_of(load_sheet(device), Conditions()),
        kernels=Kernels(kind=codes, owner=owner, **columns),
        count=np.ones(n),
        network=np.arange(n),
        truth_ms=np.array([float(r["latency_ms"]) for r in rows]),
        weight=np.full(n, 1 / np.sqrt(n)),
        extra_ms=EVENTS_MS,
    )


def _shapes(op: str, rows: Sequence[Row]) -> dict[str, Floats]:
    def of(*names: str) -> list[Floats]:
        return [np.array([float(r[name] or 0) for r in rows]) for name in names]

    one = np.ones(len(rows))
    if op in ("linear", "bmm"):
        b, m, n, k = of("B", "M", "N", "K")
        second, weights = (b * n * k, 0 * one) if op == "bmm" else (0 * one, n * k)
        return {
            "m": m, "n": n, "k": k, "groups": b, "macs": b * m * n * k, "merged": one,
            "read": 4 * (b * m * k + second), "written": 4 * b * m * n, "weights": 4 * weights,
        }  # fmt: skip
    if op == "conv":
        b, c, out, side, size, stride, padding = of(
            "B", "in_channels", "out_channels", "kernel_size", "input_size", "stride", "padding"
        )
        positions = b * (np.floor((size + 2 * padding - side) / stride) + 1) ** 2
        k = c * side**2
        return {
            "m": positions, "n": out, "k": k, "groups": one, "kernel": side**2, "merged": one,
            "macs": positions * out * k, "read": 4 * b * c * size**2,
            "written": 4 * positions * out, "weights": 4 * out * k,
        }  # fmt: skip
    b, h = of("B", "H")
    inputs = 2 if op in TWO_INPUTS else 1
    rows_of = {"m": b, "n": h} if op == "ln" else {}
    return {
        **rows_of,
        "groups": one,
        "merged": one,
        "read": 4 * inputs * b * h,
        "written": 4 * b * h,
    }
