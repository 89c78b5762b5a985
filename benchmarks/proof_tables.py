"""The tables of a proof, from the rows that are there, and what they say of its two goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.table import Table

from benchmarks.proof_latency import Times, read_times
from benchmarks.proof_networks import PICKS, REFERENCES, read_candidates, read_search_cost
from benchmarks.proof_setup import DATA_SETS, Block, Setup
from benchmarks.proof_statistics import (
    Bools,
    Figure,
    SeedNoise,
    estimate_difference,
    estimate_mean,
    measure_seed_noise,
)
from benchmarks.proof_trainings import ProofRow, read_rows
from smt_nas import costs
from smt_nas.arch import Architecture

GAIN = 0.5  # points by which a pick must beat the better reference
EQUAL = -0.5  # points below it that an interval may reach, and the accuracies count as equal
FASTER = 0.75  # of its latency, where accuracies are equal


@dataclass(frozen=True)
class CandidateResult:
    """What is known of a candidate.

    Attributes:
        name: of CANDIDATES.
        arch: the network.
        rows: its trainings, by seed.
        mean: test accuracy.
        difference: to the better reference; None of itself, and where none is trained.
        latency: median and interval, ms.
        ratio: of the latency to the better reference's.
    """

    name: str
    arch: Architecture
    rows: tuple[ProofRow, ...]
    mean: Figure | None
    difference: Figure | None
    latency: tuple[float, float, float] | None
    ratio: tuple[float, float, float] | None


@dataclass(frozen=True)
class BlockResult:
    """What is known of a data set at a budget.

    Attributes:
        block: which.
        candidates: those that are decided.
        reasons: why others are left out, by name.
        better: the name of the more accurate reference; None before one is trained.
        noise: of the seeds.
        times: of the latencies; None where they were not measured yet.
    """

    block: Block
    candidates: tuple[CandidateResult, ...]
    reasons: Mapping[str, str]
    better: str | None
    noise: SeedNoise
    times: Times | None

    def find(self, name: str) -> CandidateResult | None:
        """A candidate that is trained."""
        trained = (c for c in self.candidates if c.mean is not None)
        return next((c for c in trained if c.name == name), None)


def read_block(setup: Setup, block: Block) -> BlockResult:
    """All that the folder holds of a block."""
    networks, reasons = read_candidates(setup, block)
    rows, right = _read_trainings(setup, block, networks)
    noise = measure_seed_noise(
        {arch.key: right[arch.key] for arch in networks.values() if arch.key in right}.values()
    )
    means = {key: estimate_mean(x, noise) for key, x in right.items()}
    keys = {name: arch.key for name, arch in networks.items()}
    trained = [name for name in REFERENCES if keys.get(name) in means]
    better = max(trained, key=lambda name: means[keys[name]].value, default=None)
    times = read_times(setup, block)
    reference = None if better is None else keys[better]

    def describe(name: str, arch: Architecture) -> CandidateResult:
        key = arch.key
        comparable = reference is not None and key in right and key != reference
        return CandidateResult(
            name=name,
            arch=arch,
            rows=tuple(rows.get(key, ())),
            mean=means.get(key),
            difference=estimate_difference(right[key], right[reference], noise)
            if comparable and reference
            else None,
            latency=None if times is None else times.find_median(key),
            ratio=None if times is None or reference is None else times.find_ratio(key, reference),
        )

    candidates = tuple(describe(name, arch) for name, arch in networks.items())
    return BlockResult(block, candidates, reasons, better, noise, times)


def _read_trainings(
    setup: Setup, block: Block, networks: Mapping[str, Architecture]
) -> tuple[dict[str, list[ProofRow]], dict[str, Bools]]:
    """Rows of the networks of a block, and which test images are right, (seeds, n), by key."""
    keys = {arch.key for arch in networks.values()}
    rows = dict[str, list[ProofRow]]()
    for row in sorted(read_rows(setup.table), key=lambda row: row.seed):
        if row.data == block.data and row.key in keys:
            rows.setdefault(row.key, []).append(row)
    labels = np.load(setup.labels(block.data)) if rows else np.zeros(0)
    right = {
        key: np.stack([np.load(setup.predictions(r.data, key, r.seed)) == labels for r in own])
        for key, own in rows.items()
    }
    return rows, right


def make_table(result: BlockResult, seeds: Sequence[int]) -> Table:
    """A row a candidate."""
    table = Table(show_edge=False, pad_edge=False, title_justify="left")
    table.title = f"{DATA_SETS[result.block.data].title} at {result.block.mmacs:g} MMACs"
    for heading in ("candidate", "depths", "widths"):
        table.add_column(heading, no_wrap=True)
    headings = ("MMACs", "latency, ms", "ratio (95 %)", "val")
    tests = [f"test {seed}" for seed in seeds]
    for heading in (*headings, *tests, "mean, 95 %", "difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for c in result.candidates:
        table.add_row(*_make_cells(result, c, seeds))
    return table


def _make_cells(result: BlockResult, c: CandidateResult, seeds: Sequence[int]) -> Iterator[str]:
    stages = c.arch.stages
    yield c.name + _name_twin(result, c)
    yield f"{'-'.join(str(s.depth) for s in stages)} ({sum(s.depth for s in stages)})"
    yield "-".join(str(s.dim) for s in stages)
    yield f"{costs.of(c.arch).macs / 1e6:.2f}"
    yield "-" if c.latency is None else _word_latency(*c.latency)
    yield "-" if c.ratio is None else "{:.2f} ({:.2f}..{:.2f})".format(*c.ratio)
    by_seed = {row.seed: row for row in c.rows}
    yield f"{100 * np.mean([row.val_top1 for row in c.rows]):.2f}" if c.rows else "-"
    for seed in seeds:
        yield f"{100 * by_seed[seed].test_top1:.2f}" if seed in by_seed else "-"
    yield "-" if c.mean is None else f"{c.mean.value:.2f} ±{c.mean.half_width:.2f}"
    if c.name == result.better:
        yield "reference"
    else:
        d = c.difference
        yield "-" if d is None else f"{d.value:+.2f} ±{d.half_width:.2f}"


def _word_latency(median: float, low: float, high: float) -> str:
    return f"{median:.2f} ±{max(high - median, median - low):.2f}"


def _name_twin(result: BlockResult, c: CandidateResult) -> str:
    """The first candidate that is the same network."""
    first = next(o.name for o in result.candidates if o.arch.key == c.arch.key)
    return "" if first == c.name else f" = {first}"


def _word_figure(f: Figure, sign: str = "+") -> str:
    return f"{f.value:{sign}.2f} ({f.low:{sign}.2f}..{f.high:{sign}.2f})"


def list_notes(setup: Setup, results: Sequence[BlockResult]) -> Iterator[str]:
    """What a reader of the tables must know."""
    reasons = dict[str, list[str]]()
    for result in results:
        for name, reason in result.reasons.items():
            reasons.setdefault(f"{name}: left out: {reason}", []).append(result.block.label)
    for text, labels in reasons.items():
        everywhere = len(labels) == len(results)
        yield text if everywhere else f"{text} ({', '.join(labels)})"
    for result in results:
        if result.noise.freedom:
            yield (
                f"{result.block.label}: trainings of one network differ by a standard deviation of "
                f"{result.noise.points:.2f} points ({result.noise.freedom} degrees of freedom)."
            )
        elif any(c.rows for c in result.candidates):
            yield f"{result.block.label}: one seed so far: intervals are of the test images alone."
        epochs, seconds = read_search_cost(setup, result.block)
        if epochs:
            yield (
                f"{result.block.label}: the search by short trainings cost {epochs} epochs of "
                f"{setup.effort.images:,} images, {seconds / 60:.0f} minutes."
            )
        if result.times is not None:
            where = f"{result.times.device}, {result.times.conditions}"
            yield f"{result.block.label}: latency in turns on {where}."


def list_verdicts(results: Sequence[BlockResult]) -> Iterator[str]:
    """Both goals, in words, from the rows."""
    yield from _judge_default(results)
    yield from _judge_picks(results)


def _judge_default(results: Sequence[BlockResult]) -> Iterator[str]:
    words = list[str]()
    worse = judged = 0
    for result in results:
        default = result.find("default")
        if default is None or result.better is None:
            words.append(f"{result.block.label}: not trained yet")
            continue
        judged += 1
        if default.difference is None:
            words.append(f"{result.block.label}: is {result.better}")
            continue
        is_worse = default.difference.high < 0
        worse += is_worse
        word = "WORSE" if is_worse else "better" if default.difference.low > 0 else "no worse"
        figure = _word_figure(default.difference)
        words.append(f"{result.block.label}: {word}, {figure} points{_warn_of_seeds(result)}")
    verdict = "not known yet" if not judged else f"no, in {worse} of {judged}" if worse else "yes"
    if judged and judged < len(results) and not worse:
        verdict = f"yes, in {judged} of {len(results)} so far"
    yield f"The default's pick is never worse than the better reference beyond noise: {verdict}."
    yield from (f"  {word}" for word in words)


def _judge_picks(results: Sequence[BlockResult]) -> Iterator[str]:
    wins, compared = list[str](), 0
    best: tuple[float, str] | None = None
    for result in results:
        seen = set[str]()
        for c in (result.find(name) for name in PICKS):
            if c is None or c.difference is None or c.arch.key in seen:
                continue
            seen.add(c.arch.key)
            compared += 1
            where = f"{result.block.label} {c.name}"
            figure = _word_figure(c.difference)
            text = f"{where}: {figure} points{_warn_of_seeds(result)}"
            best = max(best, (c.difference.value, text)) if best else (c.difference.value, text)
            if c.difference.value >= GAIN and c.difference.low > 0:
                wins.append(text)
            elif is_faster(c):
                assert c.ratio is not None
                wins.append("{}, {:.2f} ({:.2f}..{:.2f}) of its latency".format(text, *c.ratio))
    goal = (
        f"Some pick beats it by {GAIN:g} points or more at equal MACs, or is as accurate at "
        f"{FASTER:g} of its latency or less, interval clear"
    )
    if not compared:
        yield f"{goal}: not known yet."
        return
    yield f"{goal}: {'yes' if wins else 'no'}, {len(wins)} of {compared} comparisons."
    yield from (f"  {win}" for win in wins)
    if not wins and best is not None:
        yield f"  the most: {best[1]}"


def _warn_of_seeds(result: BlockResult) -> str:
    return "" if result.noise.freedom else " (one seed so far: its noise is not counted)"


def is_faster(c: CandidateResult) -> bool:
    """Whether a candidate is as accurate as the reference, at `FASTER` of its latency or less.

    As accurate: the interval of the difference lies above `EQUAL`. The ratio's ends below 1.
    """
    if c.difference is None or c.ratio is None:
        return False
    ratio, _, high = c.ratio
    return c.difference.low > EQUAL and ratio <= FASTER and high < 1


def describe_settings(setup: Setup) -> Iterator[str]:
    """What was trained how, and how the tables are read."""
    devices = sorted({row.device for row in read_rows(setup.table)})
    images = "all training images" if setup.images is None else f"{setup.images:,} training images"
    where = " and ".join(devices) or "nothing yet"
    yield f"{setup.epochs} epochs of {images}, {setup.precision}, on {where}."
    yield "Depths (blocks in all) and widths are those of stages 1 to 4; MACs are exact."
    yield "val and test: top-1 in %. Ratio and difference: to the more accurate reference."
    yield "± and (..) are intervals of 95 %: of test images and seeds, or of times."
