"""Algorithms that are compared on the problems: our strategies, and peers used directly.

Our strategies are asked as a search asks them: rounds of the size in their row, the one of trial i
from `default_rng([seed, i])`. None gets a prior, as the shipped estimates learnt from the very
bench. Peers get the genes as the parameters that they are, with constraints, as their own
documentation shows, and nothing of ours: no repair, no presets, no formulas. To their favour, a
network that breaks a budget or was evaluated before costs them nothing, and they are told its
figures.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import smt_nas.search.proposal
from benchmarks.search_problems import Floats, Task
from smt_nas.search.proposal.strategy import History
from smt_nas.search.strategies import STRATEGIES, make_strategy
from smt_nas.space import Genes

_MOST_ASKED = 4  # times the evaluations: an algorithm that only repeats itself ends there


class BudgetSpent(Exception):
    """All evaluations are spent."""


@dataclass
class Ledger:
    """Answers an algorithm, and counts what it has evaluated.

    Attributes:
        task: the problem.
        evaluations: how many distinct feasible networks it may have evaluated.
        genes: those evaluated, in order.
        asked: rows asked for.
        infeasible: of these, rows that break a budget.
    """

    task: Task
    evaluations: int
    genes: list[Genes] = field(default_factory=list)
    asked: int = 0
    infeasible: int = 0
    _known: set[bytes] = field(default_factory=set)

    def evaluate(self, rows: NDArray[Any]) -> tuple[Floats, Floats]:
        """Objectives (n, M) and violations (n, K) of gene rows (n, G), to be minimised.

        Raises:
            BudgetSpent: all evaluations were spent before.
        """
        if len(self.genes) >= self.evaluations or self.asked >= self.evaluations * _MOST_ASKED:
            raise BudgetSpent
        genes = self.task.problem.space.canonical(np.asarray(rows, dtype=np.int64))
        violations = self.task.find_violations(genes)
        holds = (violations <= 0).all(axis=1)
        self.asked += len(genes)
        self.infeasible += int((~holds).sum())
        for row in genes[holds]:
            if row.tobytes() not in self._known and len(self.genes) < self.evaluations:
                self._known.add(row.tobytes())
                self.genes.append(row)
        return self.task.find_points(genes), violations


Run = Callable[[Ledger, int], None]
"""Spends a ledger's evaluations with a seed; may end by BudgetSpent."""


@dataclass(frozen=True)
class Algorithm:
    """A row of the comparison.

    Attributes:
        run: spends a ledger's evaluations with a seed.
        packages: what must be installed, by the names of their releases.
        source: digest of our source that proposes; empty for a peer.
        most_evaluations, most_seeds: what is tried of a slow one.
        only: problems it is tried on; all where empty.
    """

    run: Run
    packages: tuple[str, ...] = ()
    source: str = ""
    most_evaluations: int = 10**9
    most_seeds: int = 10**9
    only: tuple[str, ...] = ()

    @property
    def missing(self) -> str:
        """Packages that are not installed, in one line; empty where all are."""
        absent = [p for p in self.packages if _find_version(p) is None]
        return f"not installed: {', '.join(absent)}" if absent else ""

    @property
    def digest(self) -> str:
        """What proposes: our source, or the peer's release."""
        return self.source or " ".join(f"{p} {_find_version(p)}" for p in self.packages)


def _find_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def make_ours(name: str) -> Run:
    """Run an entry of STRATEGIES as a search does, one worker, no prior."""
    batch = STRATEGIES[name].batch

    def run(ledger: Ledger, seed: int) -> None:
        problem = ledger.task.problem
        strategy = make_strategy(name, problem)
        while len(ledger.genes) < ledger.evaluations:
            genes = np.array(ledger.genes, dtype=np.int64).reshape(-1, len(problem.space.genes))
            figures = ledger.task.rate(genes).tolist() if len(genes) else []
            rng = np.random.default_rng([seed, len(genes)])
            proposed = strategy.propose(History(genes, figures), batch, rng)
            if not len(proposed):
                return
            ledger.evaluate(proposed)

    return run


def digest_source(module: str) -> str:
    """Of a module of the proposal room and all it imports from there."""
    room = smt_nas.search.proposal.__name__
    todo, texts = [module], {}
    while todo:
        name = todo.pop()
        if name in texts:
            continue
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        texts[name] = Path(spec.origin).read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(texts[name])):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{room}."):
                todo.append(str(node.module))
    joined = "".join(ast.dump(ast.parse(texts[name])) for name in sorted(texts))
    return hashlib.sha256(joined.encode()).hexdigest()[:8]


def list_parameters(task: Task) -> list[tuple[int, str, tuple[Any, ...], bool]]:
    """Genes with a choice: column, name, options, and whether the options are numbers in order."""
    return [
        (i, gene.name, gene.options, _is_ordered(gene.options))
        for i, gene in enumerate(task.problem.space.genes)
        if len(gene.options) > 1
    ]


def _is_ordered(options: Sequence[Any]) -> bool:
    return all(isinstance(o, int | float) for o in options)


def fill_row(task: Task, chosen: dict[int, int]) -> Genes:
    """A gene row (1, G) with options by column; all else has its first option."""
    row = np.zeros((1, len(task.problem.space.genes)), dtype=np.int64)
    for column, option in chosen.items():
        row[0, column] = option
    return row


def add_up_objectives(task: Task, points: Floats) -> Floats:
    """The sum of objectives (n, M) scaled by the best known front, (n,), to be maximised.

    For peers that know one metric only.
    """
    return np.asarray(-((points - task.ideal) / (task.nadir - task.ideal)).mean(axis=1))
