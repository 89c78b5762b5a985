"""How many evaluations does a search need? Ours and its peers on problems replayed for free.

python -m benchmarks.search [--only NAME ...] [--seeds 20] [--evaluations N] [--minutes M] [--print]

A row a (problem, algorithm, seed) goes into a CSV as it finishes: the hypervolume of what was
evaluated, after every fifth evaluation, as a share of the best known front's. A run that was
killed goes on where it was. A row carries a digest of the problem and of what proposes (our
source, or a peer's release): rows of another digest are stale, and are run again. `--print` runs
nothing: it shows the table, paired tests (`search_tables`), and draws the curves.

Peers that are not installed are left out, and the table says so:
pip install -c constraints.txt optuna pymoo nni==3.0 ax-platform nas-bench-graph
"""

from __future__ import annotations

import argparse
import csv
import fcntl
import itertools
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import search_peers
from benchmarks.search_algorithms import Algorithm, BudgetSpent, Ledger, digest_source, make_ours
from benchmarks.search_graph import OBJECTIVES, make_graph_task
from benchmarks.search_problems import (
    DEVICE,
    Task,
    find_best_known,
    make_analytic_task,
    make_bench_task,
)
from benchmarks.search_tables import STEP, Row, draw_curves, print_tables
from smt_nas.cli import console

ROWS = Path("benchmarks/.cache/search.csv")
TASKS = {
    "analytic": partial(make_analytic_task, "analytic"),
    "bench": partial(make_bench_task, "bench", "macs", None),
    "bench-latency": partial(make_bench_task, "bench-latency", "latency_ms", DEVICE),
    **{name: partial(make_graph_task, name) for name in OBJECTIVES},
}
_ROOM = "smt_nas.search.proposal"
_SLOW = ("analytic", "bench", "graph-computers")


def _list_ours() -> dict[str, Algorithm]:
    modules = {
        "surrogate": "surrogate.surrogate_search",
        "nsga2": "evolution",
        "random": "random_search",
        "regularized-evolution": "evolution",
        "local-search": "local_search",
    }
    return {
        name: Algorithm(make_ours(name), source=digest_source(f"{_ROOM}.{module}"))
        for name, module in modules.items()
    }


ALGORITHMS: dict[str, Algorithm] = {
    **_list_ours(),
    "Optuna TPE": Algorithm(search_peers.OPTUNA["tpe"], ("optuna",), most_seeds=10),
    "Optuna NSGA-II": Algorithm(search_peers.OPTUNA["nsga2"], ("optuna",)),
    "Optuna GP": Algorithm(
        search_peers.OPTUNA["gp"], ("optuna", "torch"), "", most_evaluations=100, most_seeds=3,
        only=_SLOW,
    ),
    "pymoo NSGA-II": Algorithm(search_peers.run_pymoo, ("pymoo",)),
    "NNI regularized evolution": Algorithm(search_peers.run_nni, ("nni",)),
    "Ax": Algorithm(
        search_peers.run_ax, ("ax-platform",), "", most_evaluations=60, most_seeds=2, only=_SLOW
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One run that is wanted."""

    problem: str
    algorithm: str
    seed: int
    evaluations: int


def list_plans(seeds: int, evaluations: int | None, only: list[str]) -> Iterator[Plan]:
    """All runs, seed by seed, so that an early table has every algorithm."""
    problems = [name for name in TASKS if name in only] or list(TASKS)
    names = [name for name in ALGORITHMS if name in only] or list(ALGORITHMS)
    for seed in range(seeds):
        for problem, name in itertools.product(problems, names):
            algorithm = ALGORITHMS[name]
            if seed < algorithm.most_seeds and problem in (algorithm.only or TASKS):
                yield Plan(problem, name, seed, evaluations or 10**9)


def run_plan(plan: Plan, task: Task) -> Row:
    """Run an algorithm on a problem, and measure."""
    algorithm = ALGORITHMS[plan.algorithm]
    most = min(plan.evaluations, task.evaluations, algorithm.most_evaluations)
    ledger = Ledger(task, most)
    start = time.process_time()
    with suppress(BudgetSpent):  # how peers are stopped
        algorithm.run(ledger, plan.seed)
    seconds = time.process_time() - start
    genes = np.array(ledger.genes)
    whole = task.best_volume
    volumes = [task.measure_volume(genes[:n]) / whole for n in range(STEP, len(genes) + STEP, STEP)]
    return Row(
        problem=plan.problem, algorithm=plan.algorithm, seed=plan.seed, evaluations=most,
        evaluated=len(genes), asked=ledger.asked, infeasible=ledger.infeasible, seconds=seconds,
        task_digest=task.digest, digest=algorithm.digest, volumes=tuple(volumes),
    )  # fmt: skip


def read_rows(path: Path) -> list[Row]:
    """Rows that are there; a last one that was cut off is left out."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [row for values in csv.DictReader(file) if (row := Row.read(values)) is not None]


def append_row(path: Path, row: Row) -> None:
    """Add a row, whole or not at all: one write by one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8", newline="") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        writer = csv.DictWriter(file, list(row.to_text()))
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row.to_text())


def run_missing(path: Path, plans: list[Plan], minutes: float) -> None:
    """Run what has no row of today's digests; ends after so many minutes."""
    end = time.monotonic() + 60 * minutes
    tasks: dict[str, Task | None] = {}
    done = {
        (r.problem, r.algorithm, r.seed, r.task_digest, r.digest): r.evaluations
        for r in read_rows(path)
    }
    for plan in plans:
        algorithm = ALGORITHMS[plan.algorithm]
        if time.monotonic() > end:
            return
        if plan.problem not in tasks:
            tasks[plan.problem] = make_task(plan.problem)
        task = tasks[plan.problem]
        if task is None or algorithm.missing:
            continue
        most = min(plan.evaluations, task.evaluations, algorithm.most_evaluations)
        key = (plan.problem, plan.algorithm, plan.seed, task.digest, algorithm.digest)
        if done.get(key, 0) >= most:
            continue
        row = run_plan(plan, task)
        append_row(path, row)
        last = f"{row.volumes[-1]:.1%}" if row.volumes else "-"
        console.say(
            f"{plan.problem}, {plan.algorithm}, seed {plan.seed}: {last} after "
            f"{row.evaluated} of {most}, {row.seconds:.1f} s"
        )


def make_task(name: str) -> Task | None:
    """A problem; None, with a word, where its package is missing."""
    try:
        return TASKS[name]()
    except ImportError as error:
        console.say(f"{name}: left out ({error})")
        return None


def main() -> None:
    """Run what is missing, or print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    words = [*TASKS, *ALGORITHMS]
    parser.add_argument("--only", nargs="+", default=[], choices=words, metavar="NAME")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--evaluations", type=int, help="at most so many")
    parser.add_argument("--minutes", type=float, default=1e9, help="begin no run after so many")
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--print", action="store_true", dest="show", help="run nothing")
    parser.add_argument("--plot", type=Path, help="with --print: PNG of the curves")
    parser.add_argument("--best-known", action="store_true", help="of the analytic problem, anew")
    options = parser.parse_args()
    if options.best_known:
        find_best_known()
        return
    if not options.show:
        plans = list(list_plans(options.seeds, options.evaluations, options.only))
        run_missing(options.rows, plans, options.minutes)
        return
    tasks = {name: task for name in TASKS if (task := make_task(name)) is not None}
    fresh = {
        (t, a): (task.digest, ALGORITHMS[a].digest) for t, task in tasks.items() for a in ALGORITHMS
    }
    rows = read_rows(options.rows)
    missing = {name: a.missing for name, a in ALGORITHMS.items() if a.missing}
    print_tables(rows, fresh, missing)
    if options.plot:
        draw_curves(rows, fresh, options.plot)


if __name__ == "__main__":
    main()
