"""Does the evidence agree with the paper's ablations? The bench's trainings, and the predictor.

python -m benchmarks.paper [BENCH]

SMT (Lin et al., ICCV 2023) found on ImageNet-1K: four kernels are best among 1, 2, 4, 6 and 8; SAM
and MSA in turn in the third stage with an MSA last stage is better than SAM only or MSA only; SAM
first and MSA second by halves is not better than in turn. Each base is a network varied in that one
point; differences are between variants of the same base, in points of validation top-1, each with
its own 95 % interval: of nine comparisons one may be clear of 0 by chance. A finding agrees where
all its comparisons do, and disagrees where one does. Nothing here is fitted to the answer.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.stats import norm
from scipy.stats import t as student

from smt_nas.arch import PRESETS, Architecture
from smt_nas.cli import console
from smt_nas.evaluators.predictors import features
from smt_nas.evaluators.predictors.gaussian_process import fit_gaussian_process
from smt_nas.evaluators.predictors.training_set import TrainingSet
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.nasbench.plan import ablation_bases, ablation_variants
from smt_nas.nasbench.table import Bench, load_bench
from smt_nas.report.shares import DASH
from smt_nas.space import SearchSpace

Floats = NDArray[np.float64]

Claim = tuple[str, str, str]
"""Axis, what the paper chose, what it found no better."""

_FINDINGS: dict[str, tuple[Claim, ...]] = {
    "four kernels are best": tuple(("heads", "4", other) for other in ("1", "2", "6", "8")),
    "in turn with MSA last is better than SAM only or MSA only": tuple(
        ("mixers", "alternate+msa", other)
        for other in ("sam+msa", "msa+msa", "sam+sam", "alternate+sam")
    ),
    "halves are not better than in turn": (("mixers", "alternate+msa", "halves+msa"),),
}
_MIXERS = {  # third stage, last stage
    "alternate+msa": "turns, MSA",
    "sam+msa": "SAM, MSA",
    "msa+msa": "MSA, MSA",
    "sam+sam": "SAM, SAM",
    "alternate+sam": "turns, SAM",
    "halves+msa": "halves, MSA",
}
_PRESETS = ("smt_t", "smt_s")
_UNDECIDED, _UNSEEN = "undecided", "not seen"  # by want of a feature


@dataclass(frozen=True)
class Difference:
    """Points by which the paper's choice is above another, with a 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """`agrees`, `disagrees` or `undecided`."""
        if self.low > 0:
            return "agrees"
        if self.high < 0:
            return "disagrees"
        return _UNDECIDED


def trained_differences(bench: Bench, axis: str, better: str, other: str) -> Floats:
    """Differences of trained top-1 between two variants, in points, one a base that has both."""
    space = SearchSpace.load(bench.card.space)
    pairs = [ablation_variants(space, base)[axis] for base in ablation_bases()]
    keys = [(p[better].key, p[other].key) for p in pairs]  # equal where a stage has two blocks
    there = [(a, b) for a, b in keys if a != b and {a, b} <= bench.networks.keys()]
    return np.array([100 * (bench.top1(a) - bench.top1(b)) for a, b in there])


def interval(differences: Floats) -> Difference | None:
    """Mean of paired differences with Student's interval; None with fewer than three."""
    n = len(differences)
    if n < 3:
        return None
    mean, error = differences.mean(), differences.std(ddof=1) / np.sqrt(n)
    half = float(student.ppf(0.975, n - 1)) * error
    return Difference(float(mean), float(mean - half), float(mean + half))


def full_size(space: SearchSpace) -> list[dict[str, dict[str, Architecture]]]:
    """The ablations at full size, by axis and variant: T and S, widths that every count divides."""
    return [
        {
            axis: {name: _enlarged(arch, preset) for name, arch in variants.items()}
            for axis, variants in ablation_variants(space, 0).items()
        }
        for preset in _PRESETS
    ]


def _enlarged(small: Architecture, preset: str) -> Architecture:
    """A published network with the kernels and mixers of a small variant."""
    published = PRESETS[preset]
    stages = []
    for given, wanted in zip(published.stages, small.stages, strict=True):
        dim = given.dim * 9 // 8  # 64 to 72: six kernels divide it
        changes = {
            "dim": dim,
            "head_dim": given.head_dim * 9 // 8,
            "attention_ratio": wanted.attention_ratio,
            "stacking": wanted.stacking,
            "kernels": wanted.kernels,
        }
        stages.append(given.model_copy(update=changes))
    return published.model_copy(update={"stages": tuple(stages)})


def predict_variants(bench: Bench, networks: list[dict[str, dict[str, Architecture]]]) -> Predicted:
    """What the predictor's Gaussian process expects of every variant, and how sure it is."""
    data = TrainingSet.of(bench)
    rows = {
        (i, axis, name): features.of_archs([arch])
        for i, axes in enumerate(networks)
        for axis, variants in axes.items()
        for name, arch in variants.items()
    }
    low, high = (
        data.features.min(axis=0),
        data.features.max(axis=0),
    )  # as the predictor clips
    table = features.compact(np.concatenate(list(rows.values())).clip(low, high))
    fitted = fit_gaussian_process(features.compact(data.features), data.top1, data.label_std)
    mean, covariance = fitted.pipeline.predict(table, return_cov=True)
    return Predicted(tuple(rows), table, mean, covariance)


@dataclass(frozen=True)
class Predicted:
    """Of n variants: their features (n, F), expected points (n,), and covariance (n, n)."""

    names: tuple[tuple[int, str, str], ...]
    rows: Floats
    points: Floats
    covariance: Floats

    def difference(self, base: int, axis: str, better: str, other: str) -> Difference | None:
        """Points between two variants, with the process's interval for that difference.

        None where it has no feature that tells the two apart.
        """
        a, b = (self.names.index((base, axis, name)) for name in (better, other))
        if (self.rows[a] == self.rows[b]).all():
            return None
        value = float(self.points[a] - self.points[b])
        variance = self.covariance[a, a] + self.covariance[b, b] - 2 * self.covariance[a, b]
        half = float(norm.ppf(0.975) * np.sqrt(max(variance, 0.0)))
        return Difference(value, value - half, value + half)


def overall(differences: Sequence[Difference | None]) -> str:
    """The verdict on a finding by all its comparisons."""
    verdicts = [_UNDECIDED if d is None else d.verdict for d in differences]
    if "disagrees" in verdicts:
        return "disagrees"
    return "agrees" if set(verdicts) == {"agrees"} else _UNDECIDED


def main() -> None:
    """Print a row a comparison, then the verdict on each finding."""
    bench = load_bench(sys.argv[1] if len(sys.argv) > 1 else BENCH)
    ahead = predict_variants(bench, full_size(SearchSpace.load(bench.card.space)))
    each = Table(show_edge=False, pad_edge=False, collapse_padding=True)
    for heading in ("the paper", "against", "of"):
        each.add_column(heading, no_wrap=True)
    for heading in ("bases", "points", "95 % interval"):
        each.add_column(heading, justify="right", no_wrap=True)
    each.add_column("verdict", no_wrap=True)
    verdicts = Table(show_edge=False, pad_edge=False)
    verdicts.add_column("finding")
    for heading in ("trained", *(f"predicted,\n{p}" for p in _PRESETS)):
        verdicts.add_column(heading, no_wrap=True)
    for finding, claims in _FINDINGS.items():
        by_source: list[list[Difference | None]] = [[] for _ in (None, *_PRESETS)]
        for claim in claims:
            differences = trained_differences(bench, *claim)
            by_source[0].append(interval(differences))
            cells = _cells(by_source[0][-1])
            each.add_row(*_words(*claim), "trained", str(len(differences)), *cells)
            for i, preset in enumerate(_PRESETS):
                by_source[i + 1].append(ahead.difference(i, *claim))
                each.add_row("", "", preset, "", *_cells(by_source[i + 1][-1], _UNSEEN))
        verdicts.add_row(finding, *map(overall, by_source))
    console.show(each)
    console.show(verdicts)
    console.show_text(
        "Mixers are of the third and of the last stage. trained: paired by base, Student's "
        "interval. smt_t, smt_s: the predictor at full size, its Gaussian process's interval. A "
        "verdict is by the whole interval."
    )


def _words(axis: str, better: str, other: str) -> tuple[str, str]:
    if axis == "heads":
        return f"{better} kernels", other
    return _MIXERS[better], _MIXERS[other]


def _cells(difference: Difference | None, missing: str = _UNDECIDED) -> tuple[str, str, str]:
    if difference is None:
        return DASH, DASH, missing
    return (
        f"{difference.value:+.2f}",
        f"{difference.low:+.2f} to {difference.high:+.2f}",
        difference.verdict,
    )


if __name__ == "__main__":
    main()
