"""Public tables as search problems: NAS-Bench-Graph (Qin et al. 2022, arXiv:2206.09166).

Its package (`pip install nas-bench-graph`, Apache 2.0) holds for nine data sets what 26,206 graph
networks reach, weigh and take. A network is a wiring of four layers (nine of them) and an operation
for each (nine); several choices mean the same network. Params and latency are known beforehand
here, as formulas and predictions are of ours; validation accuracy needs an evaluation.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.search_problems import Task, find_front, make_table_problem
from smt_nas.search.problem.problem import Problem, Values
from smt_nas.space import Gene, Genes, SearchSpace

OBJECTIVES = {  # by problem: the data set, and what is wanted beside its accuracy
    "graph-computers": ("computers", ("latency_ms",)),
    "graph-cs": ("cs", ("latency_ms",)),
    "graph-arxiv": ("arxiv", ("params", "latency_ms")),
}
_DEVICE = "a100"  # latencies are the table's; only the objective's name comes from here


class GraphSpace(SearchSpace):
    """The space of NAS-Bench-Graph: a wiring and four operations.

    Choices that mean the same network have the same canonical genes.
    """

    def __init__(self, wirings: list[list[int]], operations: list[str]) -> None:
        super().__init__(SearchSpace.load("smt_micro").config, "graph")
        names = ("wiring", *(f"operation{i}" for i in range(1, 5)))
        options = (tuple(map(str, wirings)), *[tuple(operations)] * 4)
        self.genes = tuple(Gene(n, o) for n, o in zip(names, options, strict=True))
        self.cardinality = np.array([len(o) for o in options])
        self.rows, self._at = _list_networks(wirings, operations)

    def find(self, genes: NDArray[Any]) -> NDArray[np.int64]:
        """Rows of the table, (n,), of genes (n, G)."""
        at = np.ravel_multi_index(tuple(self.check(genes).T), tuple(self.cardinality))
        return np.asarray(self._at[at])

    def canonical(self, genes: NDArray[Any]) -> Genes:
        """Exchange genes (n, G) for the first ones that mean the same network."""
        return self.rows[self.find(genes)]

    def contains(self, item: Any) -> NDArray[np.bool_]:
        """No SMT network is one of these."""
        inside = super().contains(item) if isinstance(item, np.ndarray) else [False] * len(item)
        return np.asarray(inside, dtype=bool)


@cache
def make_graph_task(name: str) -> Task:
    """A table by its name in OBJECTIVES. Raises ImportError where the package is missing."""
    from nas_bench_graph import light_read
    from nas_bench_graph.architecture import Arch, gnn_list, link_list

    dataset, costs = OBJECTIVES[name]
    table, space = light_read(dataset), GraphSpace(link_list, gnn_list)
    archs = [Arch(list(link_list[w]), [gnn_list[o] for o in ops]) for w, *ops in space.rows]
    rows = [table[arch.valid_hash()] for arch in archs]
    figures = np.array([100 * row["valid_perf"] for row in rows], dtype=np.float64)
    params = np.array([1e6 * row["para"] for row in rows], dtype=np.float64)
    latency = np.array([1e3 * row["latency"] for row in rows], dtype=np.float64)
    # strategies look at costs by these names; a table has fewer of them than formulas give
    known = {"params": params, "macs": params, "activations": latency, "latency_ms": latency}
    known["attention_macs"] = np.zeros(len(rows))

    def look_up(genes: Genes) -> Values:
        at = space.find(genes)
        return {key: column[at] for key, column in known.items()}

    def rate(genes: Genes) -> NDArray[np.float64]:
        return figures[space.find(genes)]

    base = Problem.of(SearchSpace.load("smt_micro"), (), ("top1_pct", *costs), _DEVICE)
    problem = make_table_problem(base, look_up, space)
    task = Task(name, problem, rate, rate, 400, np.zeros((0, 1 + len(costs))))
    return replace(task, front=find_front(task.find_points(space.rows)))


def _list_networks(
    wirings: list[list[int]], operations: list[str]
) -> tuple[Genes, NDArray[np.int64]]:
    """Genes of distinct networks (k, G), and which of them every choice is, (all choices,)."""
    from nas_bench_graph.architecture import Arch

    rows: list[tuple[int, ...]] = []
    at: list[int] = []
    known: dict[int, int] = {}
    skip = len(operations) - 1
    for wiring, *ops in itertools.product(range(len(wirings)), *[range(len(operations))] * 4):
        if set(ops) == {skip}:  # no layer at all: the table does not hold it
            ops = [operations.index("fc"), *ops[1:]]
        key = Arch(list(wirings[wiring]), [operations[o] for o in ops]).valid_hash()
        if key not in known:
            known[key] = len(rows)
            rows.append((wiring, *ops))
        at.append(known[key])
    return np.array(rows, dtype=np.int64), np.array(at, dtype=np.int64)
