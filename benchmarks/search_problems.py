"""Problems on which searches are compared, each answered for free.

- `bench`, `bench-latency`: the shipped bench as a closed pool. Its networks were really trained;
  any gene row stands for the nearest of them, so every algorithm may ask for what it likes.
- `analytic`: the whole space `smt` under two budgets, rated by a figure that is **made up**: it is
  the accuracy of no network. It is smooth in size, and rugged in how stages fit together. What an
  algorithm is told has noise that belongs to the network; it is judged without.
- `graph-*`: public tables of graph networks (`search_graph`).

Hypervolumes are of points scaled so that the best known front reaches from 0 to 1 in each
objective, against the reference 1.1 (Ishibuchi et al. 2018, doi 10.1162/evco_a_00226).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import moocore
import numpy as np
from numpy.typing import NDArray

from smt_nas.costs import estimate
from smt_nas.evaluators import ReplayEvaluator
from smt_nas.evaluators.published_agreement import BENCH
from smt_nas.nasbench.table import load_bench
from smt_nas.search.problem.problem import Problem, Values
from smt_nas.search.proposal.screen import screen
from smt_nas.space import Genes, SearchSpace

Floats = NDArray[np.float64]
REFERENCE = 1.1
DEVICE = "epyc_zen3_2cpu"
BUDGETS = ("4.7GFLOPs", "20Mparams")
_NOISE = 0.25
_PROBES = 64
ANALYTIC_FRONT = Path("benchmarks/data/search_front.csv")
_EVOLUTIONS, _GENERATIONS = 6, 200


@dataclass(frozen=True)
class Task:
    """A problem that is answered for free.

    Attributes:
        name: of the problem.
        problem: what a strategy of ours searches.
        rate: what an evaluator says of canonical genes (n, G), (n,); more is better.
        judge: the same without noise.
        evaluations: how many networks an algorithm may have evaluated.
        front: the best known one, as judged, (k, M).
    """

    name: str
    problem: Problem
    rate: Callable[[Genes], Floats]
    judge: Callable[[Genes], Floats]
    evaluations: int
    front: Floats

    @cached_property
    def ideal(self) -> Floats:
        """Best value of each objective on the best known front, (M,)."""
        return np.asarray(self.front.min(axis=0))

    @cached_property
    def nadir(self) -> Floats:
        """Worst value of each objective on it, (M,)."""
        return np.asarray(self.front.max(axis=0))

    @cached_property
    def best_volume(self) -> float:
        """Hypervolume of the best known front."""
        return self._measure(self.front)

    def find_points(self, genes: Genes, judged: bool = False) -> Floats:
        """Objectives of canonical genes (n, G), to be minimised, (n, M)."""
        metric = self.problem.evaluated_metric
        assert metric is not None
        figures = (self.judge if judged else self.rate)(genes)
        return self.problem.objective_matrix(self.problem.values(genes) | {metric.name: figures})

    def find_violations(self, genes: Genes) -> Floats:
        """How far each constraint is violated, (n, K); met where <= 0."""
        columns = list(self.problem.violations(self.problem.values(genes)).values())
        return np.column_stack(columns) if columns else np.zeros((len(genes), 0))

    def measure_volume(self, genes: Genes) -> float:
        """Hypervolume of feasible canonical genes (n, G)."""
        return self._measure(self.find_points(genes, judged=True))

    def _measure(self, points: Floats) -> float:
        scaled = (points - self.ideal) / (self.nadir - self.ideal)
        return float(moocore.hypervolume(scaled, ref=np.full(len(self.ideal), REFERENCE)))

    @cached_property
    def digest(self) -> str:
        """Of what it answers for some networks, and how it is judged."""
        genes = self.problem.space.sample(np.random.default_rng(0), _PROBES)
        words = [self.find_points(genes), self.find_points(genes, True), self.ideal, self.nadir]
        text = ";".join(np.array2string(w, precision=6, threshold=10**6) for w in words)
        return hashlib.sha256(f"{text};{self.problem.constraints}".encode()).hexdigest()[:8]


class PoolSpace(SearchSpace):
    """A space in which a gene row stands for the nearest network of a pool.

    Args:
        base: the space of the networks.
        pool: their canonical genes (n, G).
    """

    def __init__(self, base: SearchSpace, pool: Genes) -> None:
        super().__init__(base.config, base.name)
        self._base, self.pool = base, pool
        self._scale = 1.0 / np.maximum(base.cardinality - 1, 1)
        self._weights = np.random.default_rng(0).integers(1, 2**40, len(base.genes))
        codes = pool @ self._weights
        self._order = np.argsort(codes)
        self._codes = codes[self._order]

    def canonical(self, genes: NDArray[Any]) -> Genes:
        """Exchange genes (n, G) for those of the nearest network of the pool."""
        return self.pool[self.find_nearest(genes)]

    def find_nearest(self, genes: NDArray[Any]) -> NDArray[np.int64]:
        """Rows of the pool (n,), by the sum of how far apart options are in their lists."""
        codes = np.asarray(genes, dtype=np.int64) @ self._weights
        at = self._order[np.searchsorted(self._codes, codes).clip(max=len(self.pool) - 1)]
        others = (self.pool[at] != genes).any(axis=1)  # most of what is asked for is of the pool
        if others.any():
            rows, back = np.unique(self._base.canonical(genes[others]), axis=0, return_inverse=True)
            distances = np.zeros((len(rows), len(self.pool)))
            for column, scale in enumerate(self._scale):
                distances += scale * np.abs(rows[:, column, None] - self.pool[None, :, column])
            at[others] = distances.argmin(axis=1)[back.reshape(-1)]
        return np.asarray(at)

    def sample(self, rng: np.random.Generator, n: int) -> Genes:
        """Draw n networks of the pool."""
        return self.pool[rng.integers(len(self.pool), size=n)]


@dataclass(frozen=True)
class TableProblem(Problem):
    """A problem whose costs and predictions are looked up.

    Attributes:
        look_up: of canonical genes (n, G), all that they are judged by but the figure, each (n,).
    """

    look_up: Callable[[Genes], Values] = lambda genes: {}

    def costs(self, genes: Genes) -> Values:
        """What the table holds beside the figure."""
        return self.look_up(genes)

    def evaluate_formulas(self, genes: Genes) -> Values:
        """The same."""
        return self.look_up(genes)

    def values(self, genes: Genes) -> Values:
        """The same."""
        return self.look_up(genes)


def make_table_problem(
    base: Problem, look_up: Callable[[Genes], Values], space: SearchSpace
) -> TableProblem:
    """A problem of the same objectives whose costs and predictions are looked up."""
    fields = {name: getattr(base, name) for name in Problem.__dataclass_fields__}
    return TableProblem(**{**fields, "space": space}, look_up=look_up)


def find_front(points: Floats) -> Floats:
    """The points (k, M) that no other one dominates."""
    return np.asarray(points[moocore.is_nondominated(points)])


@cache
def make_bench_task(name: str, cost: str, device: str | None) -> Task:
    """The shipped bench: top-1 as trained, and a cost."""
    bench = load_bench(BENCH)
    base = SearchSpace.load(bench.card.space)
    archs = [rows[0].arch for rows in bench.networks.values()]
    archs = [a for a, inside in zip(archs, base.contains(archs), strict=True) if inside]
    space = PoolSpace(base, base.encode(archs))
    real = Problem.of(base, (), ("top1_pct", cost), device)
    values = real.values(space.pool)
    evaluations = ReplayEvaluator.of_bench(bench).evaluate(archs)
    figures = np.array([e.value for e in evaluations], dtype=np.float64)

    def look_up(genes: Genes) -> Values:
        at = space.find_nearest(genes)
        return {key: column[at] for key, column in values.items()}

    def rate(genes: Genes) -> Floats:
        return figures[space.find_nearest(genes)]

    problem = make_table_problem(real, look_up, space)
    task = Task(name, problem, rate, rate, 100, np.zeros((0, 2)))
    return replace(task, front=find_front(task.find_points(space.pool)))


@cache
def make_analytic_task(name: str) -> Task:
    """The space `smt` under BUDGETS: a made-up figure, and MACs."""
    space = SearchSpace.load("smt")
    problem = Problem.of(space, BUDGETS, ("score", "macs"))
    figure = MadeUpFigure(space)

    def rate(genes: Genes) -> Floats:
        return figure.judge(genes) + _NOISE * draw_noise(genes)

    front = np.loadtxt(ANALYTIC_FRONT, delimiter=",", ndmin=2)
    return Task(name, problem, rate, figure.judge, 400, front)


def find_best_known() -> None:
    """Write the best known front of the analytic problem: long evolutions on the bare figure."""
    space = SearchSpace.load("smt")
    problem = Problem.of(space, BUDGETS, ("score", "macs"))
    figure = MadeUpFigure(space)

    def objective(genes: Genes, values: Values) -> Floats:
        return problem.objective_matrix(values | {"score": figure.judge(genes)})

    best = space.sample(np.random.default_rng(0), 0)
    for seed in range(_EVOLUTIONS):
        rng = np.random.default_rng([seed, 0])
        start = best if seed == _EVOLUTIONS - 1 else best[:0]  # the last one goes on with all
        genes = screen(problem, objective, rng, start, generations=_GENERATIONS)
        best = np.unique(np.concatenate([best, genes]), axis=0)
        points = objective(best, problem.values(best))
        best = best[moocore.is_nondominated(points)]
    front = objective(best, problem.values(best))
    np.savetxt(ANALYTIC_FRONT, front[np.argsort(front[:, 0])], fmt="%.10g", delimiter=",")


class MadeUpFigure:
    """A made-up figure of the networks of a space: no accuracy of anything.

    It grows with size and saturates, at a rate that MACs and params decide together; it likes
    widths and depths in proportion, some kernels beside some mixers; and pairs of genes push
    it up and down, by a table that is drawn once.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        rng = np.random.default_rng(18)
        free = np.flatnonzero(space.cardinality > 1)
        draws = [rng.choice(free, 2, replace=False) for _ in range(40)]
        self._pairs = [(int(a), int(b)) for a, b in draws]
        self._tables = [rng.normal(size=space.cardinality[pair]) for pair in draws]

    def judge(self, genes: Genes) -> Floats:
        """The figure of canonical genes (n, G), (n,); between about 40 and 85."""
        costs = estimate(self._space, genes).as_dict()
        gmacs, mparams = costs["macs"] / 1e9, costs["params"] / 1e6
        size = 84 - 9 * gmacs**-0.45 - 11 * mparams**-0.5
        return np.asarray(size - self._misfit(genes) + self._rugged(genes))

    def _misfit(self, genes: Genes) -> Floats:
        """What is lost by stages that do not fit together."""
        space = self._space
        width = np.log2([space.values(genes, i, "dim") for i in range(4)])  # (4, n)
        depth = np.log2([space.values(genes, i, "depth") for i in range(4)])
        growth = np.abs(np.diff(width, axis=0) - 1).sum(axis=0)
        deepest = np.abs(depth[2] - depth[[0, 1, 3]].mean(axis=0) - 1.6)
        attention = np.array([space.values(genes, i, "attention_ratio") for i in (1, 2, 3)])
        late = np.abs(attention - np.array([[0.0], [0.5], [1.0]])).sum(axis=0)
        ffn = np.array([space.values(genes, i, "mlp_ratio") for i in range(4)])
        thin = np.abs(np.log2(ffn) - np.log2(6 - np.arange(4))[:, None]).sum(axis=0)
        return np.asarray(0.9 * growth + 0.7 * deepest + 0.8 * late + 0.35 * thin)

    def _rugged(self, genes: Genes) -> Floats:
        """What pairs of options gain or lose."""
        rows = zip(self._pairs, self._tables, strict=True)
        return np.asarray(0.18 * sum(t[genes[:, a], genes[:, b]] for (a, b), t in rows))


def draw_noise(genes: Genes) -> Floats:
    """Normal noise (n,) that belongs to a network: the same whenever it is asked for."""
    rows = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in _as_bytes(genes)]
    seeds = [int.from_bytes(row, "little") for row in rows]
    return np.array([np.random.default_rng(seed).normal() for seed in seeds])


def _as_bytes(genes: Genes) -> NDArray[np.int64]:
    return np.ascontiguousarray(genes, dtype=np.int64)
