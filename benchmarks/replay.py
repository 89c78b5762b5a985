"""Do the surrogate's choices beat chance? Replayed on the bench, so that no network is trained.

python -m benchmarks.replay [BENCH]

The problem: of the bench's networks that its space holds, find those worth having by trained top-1
and MACs. Each algorithm sees only what it asked for; the rest is looked up. Shown
is the share of the whole table's hypervolume after so many trainings, mean over seeds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import moocore
import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from smt_nas.cli import console
from smt_nas.evaluators import Evaluator, ReplayEvaluator
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.nasbench.table import load_bench
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.surrogate.surrogate import Surrogate
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]
Choose = Callable[[Problem, Genes, Floats, Genes, np.random.Generator], int]
"""From what was asked for, (m, G) and its figures (m,), to the next of the rest (k, G)."""

_FIRST, _LAST, _SHOWN = 8, 48, (8, 16, 24, 32, 48)
_SEEDS = 20


def at_random(
    problem: Problem, trained: Genes, figures: Floats, rest: Genes, rng: np.random.Generator
) -> int:
    """Any."""
    return int(rng.integers(len(rest)))


def by_surrogate(
    problem: Problem, trained: Genes, figures: Floats, rest: Genes, rng: np.random.Generator
) -> int:
    """The one expected to add most hypervolume, by the surrogate of a search."""
    expected = Surrogate(problem, trained, figures).predict(rest, problem.costs(rest))
    here = points(problem, trained, figures)
    gains = [_volume(np.vstack([here, point[None]])) for point in points(problem, rest, expected)]
    return int(np.argmax(gains))


def by_params(
    problem: Problem, trained: Genes, figures: Floats, rest: Genes, rng: np.random.Generator
) -> int:
    """As by the surrogate, were top-1 linear in the logarithm of params."""
    logs = [np.log(problem.costs(genes)["params"]) for genes in (trained, rest)]
    expected = np.asarray(np.polyval(np.polyfit(logs[0], figures, 1), logs[1]), dtype=np.float64)
    here = points(problem, trained, figures)
    gains = [_volume(np.vstack([here, point[None]])) for point in points(problem, rest, expected)]
    return int(np.argmax(gains))


ALGORITHMS: dict[str, Choose] = {
    "random": at_random,
    "#params": by_params,
    "surrogate": by_surrogate,
}


def points(problem: Problem, genes: Genes, figures: Floats) -> Floats:
    """What is minimised: -top-1 and log MACs, (n, 2)."""
    return np.column_stack([-figures, np.log(problem.costs(genes)["macs"])])


def _volume(values: Floats) -> float:
    """Hypervolume against a network of no accuracy at 60 MMACs."""
    return float(moocore.hypervolume(values, ref=[-0.8, np.log(60e6)]))


def course(
    choose: Choose, problem: Problem, pool: Genes, evaluator: Evaluator, seed: int
) -> list[float]:
    """Hypervolumes after each training from the first round on."""
    rng = np.random.default_rng([seed, 0])
    left = list(rng.permutation(len(pool)))
    trained = [left.pop() for _ in range(_FIRST)]
    truth = np.array([e.value for e in evaluator.evaluate(problem.space.decode(pool))])
    volumes = [_volume(points(problem, pool[trained], truth[trained]))]
    while len(trained) < _LAST:
        at = choose(problem, pool[trained], truth[trained], pool[left], rng)
        trained.append(left.pop(at))
        volumes.append(_volume(points(problem, pool[trained], truth[trained])))
    return volumes


def main() -> None:
    """Print a row an algorithm."""
    bench = load_bench(sys.argv[1] if len(sys.argv) > 1 else BENCH)
    space = SearchSpace.load(bench.card.space)
    archs = [rows[0].arch for rows in bench.networks.values()]
    pool = space.encode(
        [a for a, inside in zip(archs, space.contains(archs), strict=True) if inside]
    )
    problem = Problem.of(space, (), ("macs", "params"))
    evaluator = ReplayEvaluator.of_bench(bench)
    truth = np.array([e.value for e in evaluator.evaluate(space.decode(pool))])
    whole = _volume(points(problem, pool, truth))
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("trainings", no_wrap=True)
    for n in _SHOWN:
        table.add_column(str(n), justify="right")
    for name, choose in ALGORITHMS.items():
        courses = np.array(
            [course(choose, problem, pool, evaluator, seed) for seed in range(_SEEDS)]
        )
        shares = courses.mean(axis=0) / whole
        table.add_row(name, *(f"{shares[n - _FIRST]:.1%}" for n in _SHOWN))
    console.show(table)
    console.show_text(
        f"Of the hypervolume of all {len(pool)} networks; the first {_FIRST} are the same for all; "
        f"mean over {_SEEDS} seeds."
    )


if __name__ == "__main__":
    main()
