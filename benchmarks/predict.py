"""How far off predictions from a data sheet are: `python benchmarks/predict.py`.

Truths: throughput of timm's networks on three GeForce cards (AMP FP16, eager and compiled), of a
few networks in READMEs on V100 and A100, and latency of single operators on six GPUs. The device
that is predicted is left out of every fit: of coefficients, of factors, of intervals. Fits are kept
on disk by a digest of the code; the first run takes some ten minutes on one core. `--write` fits on
everything and writes profiles/efficiency.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import fits
from benchmarks.errors import mape, within
from benchmarks.measured import (
    DATA,
    family,
    network_kernels,
    network_samples,
    op_samples,
    readme_sample,
    timm_rows,
)
from benchmarks.smt_rows import smt_samples
from smt_nas.conditions import Conditions, Mode, Precision
from smt_nas.costs.parts import Floats
from tools.roofline_fit import Sample

REPEATS = 300  # choices of anchors at random
MODES: tuple[Mode, ...] = ("eager", "compile")
PROFILES = Path(__file__).resolve().parents[1] / "profiles"
CARDS: tuple[tuple[str, str, Precision], ...] = (
    ("v100_sxm2", "V100", "fp32"),
    ("a100_80_sxm", "A100", "fp32"),
    ("a100_80_sxm", "A100", "tf32"),
)
PUBLISHED = {  # network of a README -> timm's
    "swin_tiny": "swin_tiny_patch4_window7_224",
    "swin_small": "swin_small_patch4_window7_224",
    "swin_base": "swin_base_patch4_window7_224",
    "swin_base_384": "swin_base_patch4_window12_384",
    "swin_large": "swin_large_patch4_window7_224",
    "swin_large_384": "swin_large_patch4_window12_384",
    "resmlp_s24": "resmlp_24_224",
    "resnet50": "resnet50",
    "convnext_tiny": "convnext_tiny",
    "inceptionnext_tiny": "inception_next_tiny",
    "inceptionnext_small": "inception_next_small",
    "inceptionnext_base": "inception_next_base",
    "inceptionnext_base_384": "inception_next_base",
}


@dataclass(frozen=True)
class Held:
    """Predictions of a column whose device no fit has seen.

    Attributes:
        name: of the column.
        sample: the truth.
        logs: log of truth over prediction, (n,).
    """

    name: str
    sample: Sample
    logs: Floats


def main() -> None:
    """Fit, predict, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write profiles/efficiency.json")
    args = parser.parse_args()
    networks, ops = network_samples(), op_samples()
    samples = networks | {f"SMT {name}": s for name, s in smt_samples().items()}
    held = [Held(name, s, -fits.logs(fits.without(s.device), s)) for name, s in samples.items()]
    if args.write:
        write(held)
    apart = families(networks)
    print("Networks of timm, AMP FP16; the device is in no fit. MAPE %, share within 10 %.")
    print("fam.: the network's family is in no fit either; law: time by GMACs and peak alone.")
    print(
        f"{'':18}{'zero-shot':>26}{'fam.':>7}{'3 anchors':>10}{'5 anchors':>10}"
        f"{'80 %':>7}{'law':>7}"
    )
    print(f"{'device, table':18}{'MAPE':>6}{'w10':>5}{'bias':>6}{'Spearman':>9}{'MAPE':>7}"
          f"{'MAPE':>10}{'MAPE':>10}{'holds':>7}{'MAPE':>7}")  # fmt: skip
    for h in held:
        if h.name in networks:
            print(row(h, half_width(held, h), apart[h.name], networks))
    print(smt_table(held))
    print(coverage(held))
    print(predict_published())
    print(op_table(ops))


def row(h: Held, half: float, apart: float, networks: dict[str, Sample]) -> str:
    """A line of the table."""
    mape, within = errors(h.logs)
    per_image = 1e3 / speeds(h.name)
    rho = float(spearmanr(per_image, per_image / np.exp(h.logs)).statistic)
    bias = float(np.exp(-np.median(h.logs))) - 1
    few = "".join(f"{anchored_error(h, k):10.1f}" for k in (3, 5))
    covered = float(np.mean(np.abs(h.logs) <= half))
    return (
        f"{h.name:18}{mape:6.1f}{within:4.0f}%{bias:+6.0%}{rho:9.3f}{apart:7.1f}"
        f"{few}{covered:7.0%}{macs_law(h, networks):7.1f}"
    )


def smt_table(held: Sequence[Held]) -> str:
    """Our own networks as CUDA graphs on an H100, which is in no fit, nor any SMT network."""
    lines = ["", "SMT networks on the H100, as CUDA graphs; neither is in the fit. MAPE %, bias"]
    for h in held:
        if h.name.startswith("SMT"):
            bias, inside = np.exp(-np.median(h.logs)) - 1, np.abs(h.logs) <= half_width(held, h)
            lines.append(
                f"{h.name:18} n {len(h.logs)}, MAPE {errors(h.logs)[0]:.1f}, bias {bias:+.0%}, "
                f"{inside.mean():.0%} inside"
            )
    return "\n".join(lines)


def speeds(column: str) -> Floats:
    """Images per second of a column."""
    return np.array([float(r[column]) for r in timm_rows() if r[column]])


def errors(logs: Floats) -> tuple[float, float]:
    """MAPE and percentage within 10 %, of logs of truth over prediction."""
    return mape(-logs), within(-logs)


def anchored_error(h: Held, k: int) -> float:
    """Mean MAPE on the others where k networks at random scale the prediction (median ratio)."""
    rng, errors_left = np.random.default_rng(0), []
    for _ in range(REPEATS):
        order = rng.permutation(len(h.logs))
        errors_left.append(errors(h.logs[order[k:]] - np.median(h.logs[order[:k]]))[0])
    return float(np.mean(errors_left))


def half_width(held: Sequence[Held], of: Held | None = None) -> float:
    """Half the interval, in log: the 80 % quantile of |residual| of the other devices.

    Each was predicted without itself; devices count alike. With `of` None, of all devices.
    """
    out = None if of is None else of.sample.device
    return fits.half_width(
        {h.name: h.logs for h in held},
        {h.name: h.sample for h in held},
        {h.sample.device for h in held if h.sample.device != out},
    )


def coverage(held: Sequence[Held]) -> str:
    """How many truths the intervals hold, devices alike."""
    inside: dict[str, list[Floats]] = {}
    for h in held:
        hits = np.abs(h.logs) <= half_width(held, h)
        inside.setdefault(h.sample.device, []).append(hits.astype(np.float64))
    shares = [float(np.concatenate(v).mean()) for v in inside.values()]
    return (
        f"80 % intervals from the other devices hold {np.mean(shares):.0%} of the truths, "
        "devices alike (goal 75 to 85 %)."
    )


def macs_law(h: Held, networks: dict[str, Sample]) -> float:
    """MAPE of time = a x MACs / peak with a of the other devices' median in that mode."""

    def unit(s: Sample) -> Floats:
        macs = np.bincount(s.network, s.count * s.kernels.macs, len(s.names))
        return macs / s.hardware.product_tflops

    others = [
        np.log(s.truth_ms / unit(s)) for s in networks.values()
        if s.device != h.sample.device and s.mode == h.sample.mode
    ]  # fmt: skip
    scale = float(np.median(np.concatenate(others)))
    return errors(np.log(h.sample.truth_ms / unit(h.sample)) - scale)[0]


def families(networks: dict[str, Sample]) -> dict[str, float]:
    """MAPE of each column where the network's family is in no fit either, in groups of families."""
    mape_by_column = {}
    for name, s in networks.items():
        groups = np.array([fits.group_of(family(n)) for n in s.names])
        logs = np.zeros(len(s.names))
        for g in range(fits.GROUPS):
            own = groups == g
            logs[own] = -fits.logs(fits.without(s.device, g), s)[own]
        mape_by_column[name] = errors(logs)[0]
    return mape_by_column


def predict_published() -> str:
    """Networks of READMEs; the A100's name no precision, so both are told.

    By torch's defaults of their day convolutions ran in TF32 and matrix products in FP32.
    """
    lines = ["", "Networks of READMEs, eager; V100 and A100 are in no fit. MAPE %, bias"]
    with (DATA / "published_throughput.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["model"] in PUBLISHED]
    for key, word, precision in CARDS:
        own = [r for r in rows if r["gpu"].startswith(word)]
        names = [PUBLISHED[r["model"]] for r in own]
        kernel_lists = [
            network_kernels(name, int(r["img"]), float(r["batch"]), precision, "eager")
            for name, r in zip(names, own, strict=True)
        ]
        truth = np.array([1e3 * float(r["batch"]) / float(r["throughput_img_s"]) for r in own])
        s = readme_sample(key, Conditions(precision=precision), names, kernel_lists, truth)
        logs = -fits.logs(fits.without_chips(("v100", "a100")), s)
        lines.append(
            f"{key:12} as {precision}: {len(own)} networks, MAPE {errors(logs)[0]:.1f}, bias "
            f"{np.exp(-np.median(logs)) - 1:+.0%}, MAPE without bias "
            f"{errors(logs - np.median(logs))[0]:.1f}"
        )
    return "\n".join(lines)


def op_table(ops: dict[tuple[str, str], Sample]) -> str:
    """Single operators in FP32, fitted on the other devices' operators: MAPE %."""
    devices = sorted({d for _, d in ops})
    kinds = list(dict.fromkeys(op for op, _ in ops))
    lines = ["", "Single operators, FP32; the device is in no fit: MAPE %"]
    lines.append(f"{'operator':10}" + "".join(f"{d:>14}" for d in devices))
    for kind in kinds:
        cells = []
        for d in devices:
            s = ops.get((kind, d))
            logs = None if s is None else -fits.logs(fits.ops_without(d), s)
            cells.append(f"{'-':>14}" if logs is None else f"{errors(logs)[0]:14.1f}")
        lines.append(f"{kind:10}" + "".join(cells))
    return "\n".join(lines)


def write(held: Sequence[Held]) -> None:
    """Write what predictions use: coefficients fitted on everything, factors, intervals."""
    fit = fits.of_all()
    path = PROFILES / "efficiency.json"
    file = json.loads(path.read_text(encoding="utf-8"))
    factors: dict[str, dict[str, float]] = {}
    for (device, mode), log in fit.devices.items():
        if mode != "op":
            value = float(np.exp(log + fit.modes[mode]))
            factors.setdefault(device, {})[mode] = round(value, 4)
    half = half_width(held)
    own = {
        mode: float(
            np.quantile(np.concatenate([np.abs(r - np.median(r)) for r in _of(held, mode)]), 0.8)
        )
        for mode in MODES
    }
    file["gpu"] |= {
        "coefficients": {k: float(f"{v:.4g}") for k, v in fit.coefficients.items()},
        "provenance": (
            "benchmarks/predict.py --write: timm's results (aa4b585; RTX 3090, 4090, 5090, AMP "
            "FP16), SMT networks as CUDA graphs on an H100 (benchmarks/gpu), and single operators "
            "of NeuSight (6945927; FP32, six GPUs)"
        ),
        "typical": {m: round(float(np.exp(fit.modes[m])), 4) for m in MODES},
        "ours": round(float(np.exp(fit.ours)), 4),
        "factors": factors,
        "intervals": {m: [-round(half, 3), round(half, 3)] for m in MODES},
        "own_intervals": {m: [-round(own[m], 3), round(own[m], 3)] for m in MODES},
    }
    path.write_text(json.dumps(file, indent=1) + "\n", encoding="utf-8")


def _of(held: Sequence[Held], mode: str) -> list[Floats]:
    return [h.logs for h in held if h.sample.mode == mode]


if __name__ == "__main__":
    main()
