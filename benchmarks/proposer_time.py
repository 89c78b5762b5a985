"""What proposing a round of 8 costs beside its evaluations, by how many networks were tried.

    python -m benchmarks.proposer_time

The figures are a formula of the costs with noise, in space smt within 2.4 GMACs; `surrogate` learns
it, as it learns what a training gives. With 100,000 trials the figure is what `joint` predicts, as
nobody trains so many. Shown are CPU seconds of `assess` and `propose` on one core, medians.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
from functools import partial

import numpy as np
from numpy.typing import NDArray

from smt_nas.evaluators.joint import JointEvaluator
from smt_nas.search.problem.problem import Problem
from smt_nas.search.proposal.screen import sample_feasible
from smt_nas.search.proposal.strategy import History, Prior
from smt_nas.search.proposal.surrogate.surrogate_search import SurrogateNSGA2
from smt_nas.space import Genes, SearchSpace

ROUND = 8
BUDGET, OBJECTIVES = ("2.4GFLOPs",), ("top1_pct", "macs", "params")
_NOISE = 0.1


def _rate(problem: Problem, genes: Genes) -> NDArray[np.float64]:
    """Points by a formula that grows with costs and with depth, with noise."""
    costs = problem.costs(genes)
    levels = 3 * np.log(costs["macs"]) + np.log(costs["params"]) + 0.2 * genes.mean(axis=1)
    return np.asarray(levels + np.random.default_rng(0).normal(0, _NOISE, len(genes)))


def time_learning(problem: Problem, tried: int) -> float:
    """Seconds of a round after so many networks."""
    rng = np.random.default_rng(tried)
    genes = sample_feasible(problem, rng, tried + ROUND)
    figures = _rate(problem, genes)
    strategy, empty = SurrogateNSGA2(problem), genes[:0]
    before = History(genes[:tried], list(figures[:tried]), empty)
    began = time.process_time()
    strategy.assess(before, genes[tried:], figures[tried:])
    strategy.propose(before, ROUND, rng)
    return time.process_time() - began


def time_known(problem: Problem, tried: int) -> float:
    """The same where the evaluator's figures are predictions, as joint's are."""
    evaluator = JointEvaluator()
    genes = problem.space.sample(np.random.default_rng(tried), tried)
    prior = Prior(lambda rows: evaluator.predict(problem.space, rows).compared, is_final=True)
    strategy = SurrogateNSGA2(problem, prior)
    history = History(genes, [0.0] * tried, genes[:0])
    began = time.process_time()
    strategy.propose(history, ROUND, np.random.default_rng(0))
    return time.process_time() - began


def main() -> None:
    """Time rounds; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    problem = Problem.of(SearchSpace.load("smt"), BUDGET, OBJECTIVES)
    print(f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.\n")
    print("| networks tried | CPU seconds of a round | goal |\n|---|---|---|")
    for tried, goal in ((300, 1.0), (1_000, 3.0)):
        seconds = [time_learning(problem, tried) for _ in range(repeats)]
        print(f"| {tried} | {statistics.median(seconds):.2f} | {goal:g} |", flush=True)
    known = partial(time_known, problem, 100_000)
    print(f"| 100,000, by joint | {statistics.median(known() for _ in range(repeats)):.2f} | 5 |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"\nMost memory: {peak:.2f} GB.")


if __name__ == "__main__":
    main()
