"""Latency from data sheets against what was measured: ours on an H100, published ones on a V100.

The H100's rows as CUDA graphs are in the fit of the coefficients; what the host takes in a network
is fitted to its eager rows; the V100's are in no fit. `python -m benchmarks.latency` prints them
all, and RESULTS.md holds what was found with either device left out.
"""

import csv
import functools
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from smt_nas import PRESETS
from smt_nas.conditions import Conditions
from smt_nas.costs.parts import decompose
from smt_nas.devices.device import load_device
from smt_nas.models.part_modules import trace_part

DATA = Path(__file__).resolve().parents[1] / "data" / "gpu_latency.csv"
BATCHES = {"h100_sxm": (1, 8, 64), "v100_sxm2": (1, 8, 16, 32, 64)}  # others take long to trace


@functools.cache
def rows():
    with DATA.open(encoding="utf-8") as file:
        found = [r for r in csv.DictReader(file) if r["network"] != "smt_l"]
    return [r for r in found if int(r["batch"]) in BATCHES[r["device"]]]


@functools.cache
def predict(i):
    """Truth, middle and ends of a row: by parts, which are traced quicker than whole networks."""
    row = rows()[i]
    conditions = Conditions.model_validate(
        {"batch": int(row["batch"]), "precision": row["precision"], "mode": row["mode"]}
    )
    device = load_device(row["device"])
    parts = Counter(decompose(PRESETS[row["network"]])).items()
    costs = [(device.cost(trace_part(p, conditions.batch), conditions), n) for p, n in parts]
    on_device = sum(c.device_ms * n for c, n in costs) * device.factor(conditions, is_smt=True)
    on_host = sum(c.host_ms * n for c, n in costs)
    ends = device.joint(conditions).predict(np.array([on_device]), np.array([on_host]))
    return (float(row["ms"]), *(float(end[0]) for end in ends))


def found(device, wanted):
    chosen = [i for i, r in enumerate(rows()) if r["device"] == device and wanted(int(r["batch"]))]
    return np.array([predict(i) for i in chosen]).T


@pytest.mark.parametrize("device", BATCHES)
@pytest.mark.parametrize(("batches", "goal"), [((1, 8), 0.35), ((32, 64), 0.25)], ids=str)
def test_the_median_error_meets_its_goal(device, batches, goal):
    truth, ms, _, _ = found(device, lambda batch: batch in batches)
    assert np.median(np.abs(ms / truth - 1)) <= goal


@pytest.mark.parametrize("device", BATCHES)
def test_the_intervals_hold_three_of_four_truths(device):
    truth, _, low, high = found(device, lambda _: True)
    assert np.mean((low <= truth) & (truth <= high)) >= 0.75
