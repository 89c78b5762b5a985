"""Does the evidence agree with the paper's ablations? The bench's trainings, and the predictor.

python -m benchmarks.paper [BENCH]

SMT (Lin et al., ICCV 2023) found on ImageNet-1K: four kernels are best among 1, 2, 4, 6 and 8; SAM
and MSA in turn in the third stage with an MSA last stage is better than SAM only or MSA only; SAM
first and MSA second by halves is not better than in turn. Each base is a network varied in that one
point; differences are between variants of the same base, in points of validation top-1. Nothing
here is fitted to the answer.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from scipy.stats import t as student

from smt_nas.accuracy import features
from smt_nas.accuracy.bench.known import Known
from smt_nas.accuracy.bench.plan import ablation, bases
from smt_nas.accuracy.bench.table import Bench, load_bench
from smt_nas.accuracy.evidence import BENCH
from smt_nas.accuracy.predictor import fitted
from smt_nas.arch import PRESETS, Architecture
from smt_nas.cli import console
from smt_nas.space import SearchSpace

Floats = NDArray[np.float64]

_CLAIMS = (  # axis, what the paper chose, what it found no better
    ("heads", "4", "1"),
    ("heads", "4", "2"),
    ("heads", "4", "6"),
    ("heads", "4", "8"),
    ("mixers", "alternate+msa", "sam+msa"),
    ("mixers", "alternate+msa", "msa+msa"),
    ("mixers", "alternate+msa", "sam+sam"),
    ("mixers", "alternate+msa", "alternate+sam"),
    ("mixers", "alternate+msa", "halves+msa"),
)
_MIXERS = {  # third stage, last stage
    "alternate+msa": "in turn, MSA last",
    "sam+msa": "SAM only, MSA last",
    "msa+msa": "MSA only, MSA last",
    "sam+sam": "SAM only, SAM last",
    "alternate+sam": "in turn, SAM last",
    "halves+msa": "halves, MSA last",
}
_PRESETS = ("smt_t", "smt_s")
_RESAMPLES = 40


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
        return "undecided"


def trained(bench: Bench, axis: str, better: str, other: str) -> Floats:
    """Differences of trained top-1 between two variants, in points, one a base that has both."""
    space = SearchSpace.load(bench.card.space)
    top1 = {
        key: 100 * float(np.mean([row.figures["val_top1"] for row in rows]))
        for key, rows in bench.networks.items()
    }
    pairs = [ablation(space, base)[axis] for base in bases()]
    keys = [(p[better].key, p[other].key) for p in pairs]  # equal where a stage has two blocks
    return np.array([top1[a] - top1[b] for a, b in keys if a != b and {a, b} <= top1.keys()])


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
            for axis, variants in ablation(space, 0).items()
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


def predicted(bench: Bench, networks: list[dict[str, dict[str, Architecture]]]) -> Predicted:
    """Predictions of every variant, by predictors learnt from resampled networks of the bench."""
    known = Known.of(bench)
    rng = np.random.default_rng(0)
    rows = {
        (i, axis, name): features.of_archs([arch])
        for i, axes in enumerate(networks)
        for axis, variants in axes.items()
        for name, arch in variants.items()
    }
    table = np.concatenate(list(rows.values()))
    found = []
    for i in range(1 + _RESAMPLES):
        n = len(known.top1)
        drawn = np.arange(n) if i == 0 else rng.integers(0, n, n)
        learnt = fitted(known.features[drawn], known.top1[drawn])
        found.append(learnt.predict(table).points)
    return Predicted(tuple(rows), np.array(found))


@dataclass(frozen=True)
class Predicted:
    """Predictions of variants: of the predictor itself, then of resampled ones."""

    names: tuple[tuple[int, str, str], ...]
    points: Floats  # (1 + resamples, variants)

    def difference(self, base: int, axis: str, better: str, other: str) -> Difference:
        """Points between two variants, with the percentiles of resamples."""
        a, b = (self.names.index((base, axis, name)) for name in (better, other))
        each = self.points[:, a] - self.points[:, b]
        low, high = np.quantile(each[1:], (0.025, 0.975))
        return Difference(float(each[0]), float(low), float(high))


def main() -> None:
    """Print both tables."""
    bench = load_bench(sys.argv[1] if len(sys.argv) > 1 else BENCH)
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("the paper's choice", no_wrap=True)
    table.add_column("against", no_wrap=True)
    table.add_column("of", no_wrap=True)
    for heading in ("bases", "points", "95 % interval"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    ahead = predicted(bench, full_size(SearchSpace.load(bench.card.space)))
    for axis, better, other in _CLAIMS:
        differences = trained(bench, axis, better, other)
        found = interval(differences)
        table.add_row(
            *_words(axis, better, other), "trained", str(len(differences)), *_cells(found)
        )
        for i, preset in enumerate(_PRESETS):
            difference = ahead.difference(i, axis, better, other)
            table.add_row("", "", f"predicted, {preset}", "", *_cells(difference))
    console.show(table)
    console.show_text(
        "trained: paired by base, Student's interval. predicted: the predictor at full size, "
        f"percentiles over {_RESAMPLES} resamples of the bench. verdict: on the whole interval."
    )


def _words(axis: str, better: str, other: str) -> tuple[str, str]:
    if axis == "heads":
        return f"{better} kernels", other
    return _MIXERS[better], _MIXERS[other]


def _cells(found: Difference | None) -> tuple[str, str, str]:
    if found is None:
        return "-", "-", "undecided"
    return f"{found.value:+.2f}", f"{found.low:+.2f} to {found.high:+.2f}", found.verdict


if __name__ == "__main__":
    main()
