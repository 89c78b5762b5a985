"""A study of 100,000 trials in one SQLite file: seconds and memory of the commands that read it.

    python -m benchmarks.big_study build runs/big    # networks of space smt, rated by joint
    python -m benchmarks.big_study time runs/big     # front, resume, and a resume that tries 8 more

Trials are inserted in bulk, as Optuna would take hours for them; each holds what a search stores.
Only the text of its architecture, which no command here reads, is that of one network for all, and
its key is not that of its genes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from smt_nas.costs import COSTS
from smt_nas.search import Settings, create_search
from smt_nas.search.loop.search_loop import Search

CHUNK = 5_000
BUDGET = "2.4GFLOPs"


def build(out: Path, trials: int) -> None:
    """Make the run directory and insert the trials."""
    search = create_search(Settings(budgets=(BUDGET,), n=trials, verify=False), out)
    first = search.problem.space.sample(np.random.default_rng(0), 1)[0]
    assert search.evaluator is not None
    arch = search.problem.space.decode(first[None])[0]
    search.study.add(first, search.evaluator.evaluate([arch])[0])
    with sqlite3.connect(search.directory.database) as database:
        database.execute("PRAGMA synchronous = OFF")
        params = database.execute(
            "SELECT param_name, distribution_json FROM trial_params WHERE trial_id = 1"
        ).fetchall()
        [text] = database.execute(
            "SELECT value_json FROM trial_user_attributes WHERE trial_id = 1 "
            "AND key = 'architecture'"
        ).fetchone()
        for start in range(1, trials, CHUNK):
            _insert(database, search, dict(params), text, start, min(CHUNK, trials - start))
            print(f"{start} of {trials}", file=sys.stderr)


def _insert(
    database: sqlite3.Connection,
    search: Search,
    distributions: dict[str, str],
    architecture: str,
    start: int,
    n: int,
) -> None:
    """Insert trials `start` to `start + n - 1`; their ids are one more than their numbers."""
    problem, evaluator = search.problem, search.evaluator
    genes = problem.space.sample(np.random.default_rng([1, start]), n)
    values = problem.values(genes)
    estimate = evaluator.predict(problem.space, genes)  # type: ignore[union-attr]
    intervals = problem.predict(genes)
    metric = problem.evaluated_metric
    assert metric is not None
    points = problem.objective_matrix(values | {metric.name: estimate.compared})
    signs = [1.0 if q.direction == "min" else -1.0 for q in problem.objectives]
    violations = problem.violations(values)
    free = [(i, g.name) for i, g in enumerate(problem.space.genes) if len(g.options) > 1]
    rows: dict[str, list[tuple[object, ...]]] = {name: [] for name in _INSERTS}
    for at in range(n):
        trial = start + at + 1
        rows["trials"].append((trial, trial - 1, 1, "COMPLETE"))
        rows["trial_values"] += [
            (trial, i, float(points[at, i] * sign), "FINITE") for i, sign in enumerate(signs)
        ]
        rows["trial_params"] += [
            (trial, name, float(genes[at, i]), distributions[name]) for i, name in free
        ]
        stored = {
            "key": hashlib.sha256(genes[at].tobytes()).hexdigest()[:12],
            "genes": genes[at].tolist(),
            "costs": {name: values[name][at].item() for name in COSTS},
            "predictions": {k: [float(end[at]) for end in v] for k, v in intervals.items()},
            "evaluation": _record(estimate, at),
        }
        rows["trial_user_attributes"].append((trial, "architecture", architecture))
        rows["trial_user_attributes"] += _list_attributes(trial, stored)
        broken = {f"constraints:{name}": float(v[at]) for name, v in violations.items()}
        rows["trial_system_attributes"] += _list_attributes(
            trial, {"constraints": list(broken.values()), **broken}
        )
    for name, (columns, marks) in _INSERTS.items():
        database.executemany(f"INSERT INTO {name} ({columns}) VALUES ({marks})", rows[name])
    database.commit()


def _list_attributes(trial: int, values: dict[str, object]) -> list[tuple[object, ...]]:
    return [(trial, name, json.dumps(value)) for name, value in values.items()]


_INSERTS = {
    "trials": ("trial_id, number, study_id, state", "?, ?, ?, ?"),
    "trial_values": ("trial_id, objective, value, value_type", "?, ?, ?, ?"),
    "trial_params": ("trial_id, param_name, param_value, distribution_json", "?, ?, ?, ?"),
    "trial_user_attributes": ("trial_id, key, value_json", "?, ?, ?"),
    "trial_system_attributes": ("trial_id, key, value_json", "?, ?, ?"),
}


def _record(estimate: object, at: int) -> dict[str, object]:
    """An evaluation as the study keeps it."""
    from smt_nas.evaluators import Evaluation
    from smt_nas.evaluators.base import NORMAL_80, Estimate

    assert isinstance(estimate, Estimate) and estimate.std is not None
    mean, reach = float(estimate.mean[at]), NORMAL_80 * float(estimate.std[at])
    gains = {"gain": 0.1, "gain_low": -1.0, "gain_high": 1.0}
    return Evaluation(
        mean,
        "predicted",
        interval=(mean - reach, mean + reach),
        components={**gains, "capacity": mean, "topology": 0.0},
        extrapolation=0.0,
        by_lower_bound=estimate.by_lower_bound,
    ).to_record()


def measure(out: Path) -> None:
    """Run the commands on the study, each in a process of its own; print a table."""
    trials = _count(out)
    print(f"{trials} trials, {os.path.getsize(out / 'study.db') / 1e9:.2f} GB on disk\n")
    print("| command | seconds | CPU seconds | GB |\n|---|---|---|---|")
    for words in (["front"], ["resume"], ["resume", "--n", str(trials + 8)]):
        name, *options = words
        command = [sys.executable, "-m", "smt_nas", name, str(out), *options]
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, _, usage = os.wait4(child.pid, 0)
        took = time.perf_counter() - began
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        label = " ".join(["smt-nas", name, "RUN", *options])
        print(f"| `{label}` | {took:.1f} | {cpu:.1f} | {usage.ru_maxrss / 1e6:.2f} |", flush=True)


def _count(out: Path) -> int:
    with sqlite3.connect(out / "study.db") as database:
        return int(database.execute("SELECT count(*) FROM trials").fetchone()[0])


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("what", choices=("build", "time"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=100_000)
    given = parser.parse_args()
    if given.what == "build":
        build(given.out, given.trials)
    else:
        measure(given.out)


if __name__ == "__main__":
    main()
