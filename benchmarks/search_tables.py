"""Tables, paired tests and curves of `benchmarks.search`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from smt_nas.cli import console

STEP = 5
SHOWN = (20, 30, 50, 100, 200, 400)
OURS, CHANCE = "surrogate", "random"
_LEVEL = 0.05
Floats = NDArray[np.float64]
Fresh = Mapping[tuple[str, str], tuple[str, str]]
"""Digests of the problem and of the algorithm today, by their names."""


@dataclass(frozen=True)
class Row:
    """One run.

    Attributes:
        problem, algorithm, seed: which.
        evaluations: how many it might have had.
        evaluated: distinct feasible networks it had evaluated.
        asked, infeasible: rows it asked for, and those that break a budget.
        seconds: of CPU, by algorithm and problem together.
        task_digest, digest: of the problem, and of what proposes.
        volumes: share of the best known front's hypervolume after each STEP evaluations.
    """

    problem: str
    algorithm: str
    seed: int
    evaluations: int
    evaluated: int
    asked: int
    infeasible: int
    seconds: float
    task_digest: str
    digest: str
    volumes: tuple[float, ...]

    def to_text(self) -> dict[str, str]:
        """As in the file."""
        words = " ".join(f"{v:.5f}" for v in self.volumes)
        fields = {**asdict(self), "seconds": f"{self.seconds:.1f}", "volumes": words}
        return {name: str(value) for name, value in fields.items()} | {"end": "."}

    @classmethod
    def read(cls, values: Mapping[str, str]) -> Row | None:
        """Of the file; None where it was cut off."""
        if values.get("end") != ".":
            return None
        numbers = {
            name: int(values[name])
            for name in ("seed", "evaluations", "evaluated", "asked", "infeasible")
        }
        return cls(
            problem=values["problem"], algorithm=values["algorithm"], **numbers,
            seconds=float(values["seconds"]), task_digest=values["task_digest"],
            digest=values["digest"], volumes=tuple(map(float, values["volumes"].split())),
        )  # fmt: skip

    def volume_at(self, n: int) -> float:
        """The share after n evaluations; NaN where it was not tried so long.

        An algorithm that found nothing new before its end keeps what it has.
        """
        if n > self.evaluations:
            return float("nan")
        return self.volumes[min(n // STEP, len(self.volumes)) - 1] if self.volumes else 0.0


Runs = dict[str, dict[str, dict[int, Row]]]
"""By problem, algorithm and seed."""


def gather_runs(rows: Sequence[Row], fresh: Fresh) -> tuple[Runs, set[tuple[str, str]]]:
    """The longest run of each seed, and which (problem, algorithm) have stale ones only."""
    runs: Runs = {}
    stale = set()
    for (problem, name), digests in fresh.items():
        own = [
            r
            for r in rows
            if (r.problem, r.algorithm, r.task_digest) == (problem, name, digests[0])
        ]
        new = [r for r in own if r.digest == digests[1]]
        if own and not new:
            stale.add((problem, name))
        for r in new or own:
            seeds = runs.setdefault(problem, {}).setdefault(name, {})
            if r.seed not in seeds or seeds[r.seed].evaluations <= r.evaluations:
                seeds[r.seed] = r
    return runs, stale


def print_tables(rows: Sequence[Row], fresh: Fresh, missing: Mapping[str, str]) -> None:
    """A table a problem, and the paired tests."""
    runs, stale = gather_runs(rows, fresh)
    for problem, algorithms in runs.items():
        console.show_text(f"{problem}:")
        console.show(make_volume_table(problem, algorithms, stale, missing))
    console.show_text(
        "Share of the hypervolume of the best known front in %, after so many evaluations: median "
        "(interquartile range) over seeds. *: of another edition of what proposes."
    )
    for share, words in ((4, "a quarter of"), (1, "as many as")):
        console.show(make_test_table(runs, share))
        console.show_text(
            f"The surrogate with {words} the other's evaluations: difference of medians in points "
            "(p of Wilcoxon's signed rank, paired by seed, two-sided), ! where it is behind with "
            f"p < {_LEVEL}."
        )
    for problem, algorithms in runs.items():
        console.show_text(f"{problem}: {compare_with_chance(algorithms)}")


def make_volume_table(
    problem: str,
    algorithms: Mapping[str, Mapping[int, Row]],
    stale: set[tuple[str, str]],
    missing: Mapping[str, str],
) -> Table:
    """A row an algorithm."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("algorithm", "seeds", *map(str, SHOWN), "broke a budget", "s a run"):
        table.add_column(heading, justify="left" if heading == "algorithm" else "right")
    for name, seeds in algorithms.items():
        own = list(seeds.values())
        cells = [describe_quartiles([r.volume_at(n) for r in own]) for n in SHOWN]
        share = sum(r.infeasible for r in own) / max(sum(r.asked for r in own), 1)
        seconds = float(np.median([r.seconds for r in own]))
        mark = "*" if (problem, name) in stale else ""
        table.add_row(name + mark, str(len(own)), *cells, f"{share:.0%}", f"{seconds:.1f}")
    for name, why in missing.items():
        if name not in algorithms:
            table.add_row(name, why)
    return table


def describe_quartiles(values: Sequence[float]) -> str:
    """Median and interquartile range in percent; a dash where no run went so far."""
    known = [100 * v for v in values if v == v]
    if not known:
        return "-"
    low, middle, high = np.percentile(known, [25, 50, 75])
    return f"{middle:.1f} ({high - low:.1f})"


def make_test_table(runs: Runs, share: int) -> Table:
    """Each other algorithm against the surrogate with 1 / share of its evaluations."""
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("against")
    problems = [problem for problem in runs if OURS in runs[problem]]
    usual = {problem: _find_usual(runs[problem], share) for problem in problems}
    for problem, (n, m) in usual.items():
        table.add_column(f"{problem}\n{n} : {m}", justify="right")
    names = dict.fromkeys(itertools.chain.from_iterable(runs[problem] for problem in problems))
    for name in names:
        if name != OURS:
            cells = [_compare_on(runs[p], name, share, usual[p]) for p in problems]
            table.add_row(name, *cells)
    return table


def _find_usual(algorithms: Mapping[str, Mapping[int, Row]], share: int) -> tuple[int, int]:
    """Evaluations of the surrogate and of most others."""
    every = [_find_evaluations(algorithms, name, share) for name in algorithms if name != OURS]
    return max(every, key=every.count, default=(0, 0))


def _find_evaluations(
    algorithms: Mapping[str, Mapping[int, Row]], name: str, share: int
) -> tuple[int, int]:
    """Evaluations of the surrogate and of another that both have had."""
    ours, others = (max(r.evaluations for r in algorithms[a].values()) for a in (OURS, name))
    m = min(ours * share, others)
    return m // share // STEP * STEP, m


def _compare_on(
    algorithms: Mapping[str, Mapping[int, Row]], name: str, share: int, usual: tuple[int, int]
) -> str:
    """Against one algorithm on one problem, e.g. `+2.1 (0.002)`."""
    if name not in algorithms:
        return "-"
    ours, others = algorithms[OURS], algorithms[name]
    n, m = _find_evaluations(algorithms, name, share)
    both = sorted(set(ours) & set(others))
    pairs = np.array([[ours[s].volume_at(n), others[s].volume_at(m)] for s in both]).reshape(-1, 2)
    pairs = 100 * pairs[np.isfinite(pairs).all(axis=1)]
    if not len(pairs):
        return "-"
    difference = float(np.median(pairs[:, 0]) - np.median(pairs[:, 1]))
    p = find_p(pairs[:, 0] - pairs[:, 1])
    mark = "!" if difference < 0 and p < _LEVEL else ""
    counts = "" if (n, m) == usual else f"{n} : {m}  "
    return f"{counts}{difference:+.1f} ({p:.3f}){mark}"


def find_p(differences: Floats) -> float:
    """Wilcoxon's p of paired differences (n,); 1 where all are zero."""
    from scipy.stats import wilcoxon

    return float(wilcoxon(differences).pvalue) if np.any(differences) else 1.0


def compare_with_chance(algorithms: Mapping[str, Mapping[int, Row]]) -> str:
    """Where the surrogate's median lies below that of random search, from 30 evaluations on."""
    if OURS not in algorithms or CHANCE not in algorithms:
        return "nothing to compare with random."
    ours, chance = algorithms[OURS], algorithms[CHANCE]
    both = sorted(set(ours) & set(chance))
    most = min(
        [ours[s].evaluations for s in both] + [chance[s].evaluations for s in both], default=0
    )
    below = []
    for n in range(30, most + 1, STEP):
        pairs = np.array([[ours[s].volume_at(n), chance[s].volume_at(n)] for s in both])
        if np.median(pairs[:, 0]) < np.median(pairs[:, 1]):
            below.append(f"{n} (p {find_p(pairs[:, 0] - pairs[:, 1]):.3f})")
    words = f"below random after {', '.join(below)}" if below else "never below random"
    return f"surrogate {words}, from 30 to {most} evaluations, {len(both)} seeds."


def draw_curves(rows: Sequence[Row], fresh: Fresh, path: Path) -> None:
    """Medians and quartiles against evaluations, a panel a problem, as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    runs, _ = gather_runs(rows, fresh)
    columns = min(3, max(len(runs), 1))
    lines = -(-len(runs) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(4.6 * columns, 3.4 * lines), squeeze=False
    )
    names = list(dict.fromkeys(itertools.chain.from_iterable(runs.values())))
    colours = dict(zip(names, pyplot.get_cmap("tab20").colors, strict=False))  # type: ignore[attr-defined]
    for axis, (problem, algorithms) in zip(axes.flat, runs.items(), strict=False):
        for name, seeds in algorithms.items():
            most = max(r.evaluations for r in seeds.values())
            at = np.arange(STEP, most + 1, STEP)
            values = np.array([[100 * r.volume_at(int(n)) for n in at] for r in seeds.values()])
            low, middle, high = np.nanpercentile(values, [25, 50, 75], axis=0)
            width = 2.2 if name == OURS else 1.0
            axis.plot(at, middle, color=colours[name], linewidth=width, label=name)
            axis.fill_between(at, low, high, color=colours[name], alpha=0.12, linewidth=0)
        axis.set_title(problem)
        axis.set_xlabel("evaluations")
        axis.set_ylabel("% of best known hypervolume")
    handles = {
        label: handle
        for axis in axes.flat
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="lower center", ncols=4, fontsize=8)
    figure.tight_layout(rect=(0, 0.12 if lines > 1 else 0.25, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
