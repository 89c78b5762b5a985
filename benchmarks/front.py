"""Would an expert train what a search recommends? Fronts of five budgets and five seeds.

python -m benchmarks.front [FOLDER]

Each search is `smt-nas search --budget B --seed S --no-verify`, in a folder that is gone on with. A
row a budget: shares and ranges over the seeds. Then what must hold, each with yes or no:

- inside: no member lies outside the region of published designs;
- preset: the published top-1 of the preset of equal MACs lies in the best member's interval, and
  below no member's: no front claims a gain that nobody measured;
- seeds: the estimates of the recommended networks differ by less than their intervals are wide;
- genes: members of a front differ in every gene that the device likes or dislikes: whose options,
  one exchanged at a time in the recommended network, change its latency by `_LIKED` or more beyond
  what they change its MACs by;
- before: the network that was recommended before there was a region lies outside it, and its lower
  bound is a point or more below SMT-T's.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.table import Table

from smt_nas.arch import PRESETS, Architecture
from smt_nas.cli import console
from smt_nas.evaluators.joint import JointEvaluator
from smt_nas.report.search.columns import describe_gain
from smt_nas.search import Outcome, Settings, create_search
from smt_nas.search.problem.region import place_design
from smt_nas.search.results.recommendation import PresetGain, Recommendation, recommend

BUDGETS = ("1.2GFLOPs", "2.4GFLOPs", "4.7GFLOPs", "7.9GFLOPs", "40ms@cpu")
SEEDS = range(5)
_GENES = (
    "dim", "depth", "mlp_ratio", "kernels", "expand_ratio", "attention_ratio", "stacking",
)  # fmt: skip
_LIKED = 0.05
_BEFORE = ((96, 160, 192, 768), (1, 4, 2, 2), (2.0, 2.0, 2.0, 1.0))  # widths, depths, FFN ratios


@dataclass(frozen=True)
class Run:
    """One search.

    Attributes:
        outcome: its front.
        choice: what it recommends.
    """

    outcome: Outcome
    choice: Recommendation

    @property
    def interval(self) -> tuple[float, float]:
        """Of the recommended network's top-1, in percent."""
        low, high = self.choice.member.intervals["top1_pct"]
        return low, high

    @property
    def is_inside(self) -> bool:
        """Whether all members lie in the region."""
        designs = [r.design for r in self.outcome.front]
        return all(d is not None and d.distance <= d.limit for d in designs)

    @property
    def holds_presets(self) -> bool:
        """Whether the best one's interval holds the preset of its MACs, and none lies above it."""
        gains = [gain for r in self.outcome.front if (gain := PresetGain.read(r)) is not None]
        return gains[0].high >= 0 and all(gain.low <= 0 for gain in gains)

    @property
    def varied_genes(self) -> set[str]:
        """Fields of stages in which members differ."""
        stages = [r.arch.stages for r in self.outcome.front]
        return {
            field
            for field in _GENES
            if any(len({getattr(s[i], field) for s in stages}) > 1 for i in range(4))
        }

    @property
    def liked_genes(self) -> set[str]:
        """Fields of stages whose options cost latency by more, or less, than their MACs."""
        problem = self.outcome.problem
        space, latency = problem.space, problem.predicted_metrics[0].name
        own = space.encode([self.choice.member.arch])
        fields, rows = [], [own[0]]
        for i, gene in enumerate(space.genes):
            for option in range(len(gene.options)):
                changed = own[0].copy()
                changed[i] = option
                rows.append(changed)
                fields.append(gene.name.rpartition(".")[2])
        values = problem.values(np.array(rows))
        ratio = np.log(values[latency] / values[latency][0])
        ratio -= np.log(values["macs"] / values["macs"][0])
        liked = np.abs(ratio[1:]) >= np.log1p(_LIKED)
        return set(_GENES).intersection(itertools.compress(fields, liked))


def run_search(folder: Path, budget: str, seed: int) -> Run:
    """Search, or read the search that is there."""
    name = budget.replace("@", "-")
    settings = Settings(budgets=(budget,), seed=seed, n=32, verify=False)
    outcome = create_search(settings, folder / f"{name}-{seed}", go_on=True).run()
    choice = recommend(outcome.problem, outcome.front, outcome.baselines)
    assert choice is not None, "an empty front"
    return Run(outcome, choice)


def build_recommended_before() -> Architecture:
    """What `joint` recommended at 2.4 GMACs when its topology was that of small images."""
    t = PRESETS["smt_t"]
    rows = zip(t.stages, *_BEFORE, strict=True)
    s1, s2, s3, s4 = (
        s.model_copy(update={"dim": width, "depth": depth, "mlp_ratio": ratio})
        for s, width, depth, ratio in rows
    )
    return t.model_copy(update={"stages": (s1, s2, s3, s4)})


def make_table(runs: dict[str, list[Run]]) -> Table:
    """A row a budget."""
    table = Table(show_edge=False, pad_edge=False)
    headings = (
        "budget", "members", "distance, most", "recommended: gain, 95 %", "latency of preset",
        "inside", "preset", "seeds", "genes", "that the device likes or dislikes",
    )  # fmt: skip
    for heading in headings:
        table.add_column(heading)
    for budget, some in runs.items():
        designs = [r.design for run in some for r in run.outcome.front]
        gains = [g for run in some if (g := run.choice.gain) is not None]
        ratios = [next(iter(run.choice.ratios.values())) for run in some]
        liked = set.union(*(run.liked_genes for run in some))
        table.add_row(
            budget,
            _span([len(run.outcome.front) for run in some], 0),
            f"{max(d.distance for d in designs if d is not None):.2f}",
            "; ".join(map(describe_gain, gains)),
            _span(ratios, 2),
            f"{sum(run.is_inside for run in some)} of {len(some)}",
            f"{sum(run.holds_presets for run in some)} of {len(some)}",
            "yes" if agree(some) else "no",
            f"{sum(run.liked_genes <= run.varied_genes for run in some)} of {len(some)}",
            ", ".join(g for g in _GENES if g in liked),
        )
    return table


def agree(runs: list[Run]) -> bool:
    """Whether estimates of recommended networks differ by less than each interval is wide."""
    figures = [run.choice.member.values["top1_pct"] for run in runs]
    narrowest = min(high - low for low, high in (run.interval for run in runs))
    return max(figures) - min(figures) < narrowest


def word_before() -> str:
    """The network that was recommended before, beside SMT-T."""
    arch = build_recommended_before()
    ours, smt_t = JointEvaluator().evaluate([arch, PRESETS["smt_t"]])
    design = place_design(arch)
    assert design is not None and ours.interval is not None and smt_t.interval is not None
    below = smt_t.interval[0] - ours.interval[0]
    verdict = "yes" if design.distance > design.limit and below >= 1 else "no"
    return (
        f"Recommended before: distance {design.distance:.2f} (the region ends at "
        f"{design.limit:.2f}), lower bound {below:.1f} points below SMT-T's: {verdict}."
    )


def _span(values: list[float] | list[int], digits: int) -> str:
    return f"{min(values):.{digits}f} to {max(values):.{digits}f}"


def main() -> None:
    """Search, and print."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    runs: dict[str, list[Run]] = {}
    for budget in BUDGETS:
        runs[budget] = [run_search(folder, budget, seed) for seed in SEEDS]
        console.say(f"{budget}: searched")
    console.show(make_table(runs))
    console.show_notes([word_before()])


if __name__ == "__main__":
    main()
