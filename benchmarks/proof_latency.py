"""Times of the candidates of a proof, those of a block in turns: at batch 1, in fp32."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.proof_setup import Block, Setup
from smt_nas.arch import Architecture
from smt_nas.conditions import Conditions
from smt_nas.files import write_atomic
from smt_nas.profilers.latency.prepare import prepare
from smt_nas.profilers.latency.sampling import Limits, interleave, round_medians
from smt_nas.profilers.latency.stats import median_interval, ratio_interval
from smt_nas.profilers.network_loader import network_of
from smt_nas.runtime.environment import read_environment

_SECONDS = 4.0  # of each network


@dataclass(frozen=True)
class Times:
    """What was measured of a block.

    Attributes:
        device: in words.
        conditions: in words.
        rounds: medians of each round, ms, by key.
    """

    device: str
    conditions: str
    rounds: Mapping[str, list[float]]

    def find_median(self, key: str) -> tuple[float, float, float] | None:
        """Median and its interval, ms."""
        if key not in self.rounds:
            return None
        return (float(np.median(self.rounds[key])), *median_interval(self.rounds[key]))

    def find_ratio(self, key: str, reference: str) -> tuple[float, float, float] | None:
        """Median over that of a reference, with its interval."""
        if not {key, reference} <= self.rounds.keys():
            return None
        own, other = (np.asarray(self.rounds[k]) for k in (key, reference))
        n = min(len(own), len(other))
        low, high = ratio_interval(other[:n], own[:n])
        return float(np.median(own[:n]) / np.median(other[:n])), low, high


def locate_times(setup: Setup, block: Block) -> Path:
    """The file of a block's times."""
    return setup.folder / "latency" / f"{block.label}.json"


def read_times(setup: Setup, block: Block) -> Times | None:
    """What was measured of a block, if it was."""
    file = locate_times(setup, block)
    return Times(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def measure_block(setup: Setup, block: Block, networks: Mapping[str, Architecture]) -> None:
    """Measure all networks of a block in turns, and keep it.

    Raises:
        SmtNasError: one cannot be run here, or the file cannot be written.
    """
    device = setup.device
    conditions = Conditions(threads=1 if device == "cpu" else None)
    archs = {arch.key: arch for arch in networks.values()}
    calls = []
    try:
        for key, arch in archs.items():
            calls.append(prepare(network_of(arch, key), conditions, device))
        measurements = interleave(calls, Limits(seconds=_SECONDS))
    finally:
        for call in calls:
            call.close()
    stamp = read_environment(device)
    rounds = {
        key: round_medians(m.wall_ms, m.per_round).tolist()
        for key, m in zip(archs, measurements, strict=True)
    }
    times = {
        "device": str(stamp["gpu"] or stamp["cpu"]),
        "conditions": str(conditions),
        "rounds": rounds,
    }
    write_atomic(locate_times(setup, block), json.dumps(times) + "\n")
