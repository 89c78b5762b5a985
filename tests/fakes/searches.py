"""Problems, trials and outcomes of searches that never ran."""

from pathlib import Path

import numpy as np

from smt_nas.evaluators import Evaluation
from smt_nas.search import Outcome, Settings
from smt_nas.search.problem.problem import Problem
from smt_nas.search.results.prediction_errors import measure_prediction_errors
from smt_nas.search.results.results import make_result, select_front
from smt_nas.search.storage.trial import Trial
from smt_nas.space import SearchSpace
from smt_nas.space.baselines import baselines

SPACE = SearchSpace.load("smt_micro")
SCORED = ("score", "macs", "params")


def make_problem(*budgets, objectives=SCORED, device=None):
    """A problem of smt_micro; install `tests.fakes.devices` where it predicts latency."""
    return Problem.of(SPACE, budgets, objectives, device)


def sample(n, seed=0):
    """Genes (n, G) of smt_micro."""
    return SPACE.sample(np.random.default_rng(seed), n)


def make_trials(problem, genes, evaluations=None):
    """Trials of genes (n, G); the evaluator rates the params unless evaluations are given."""
    if evaluations is None:
        scores = np.log(problem.costs(genes)["params"])
        evaluations = [Evaluation(float(s), "function") for s in scores]
    intervals = problem.predict(genes)
    return [
        Trial(
            number=i,
            genes=row,
            key=arch.key,
            evaluation=evaluation,
            predictions={n: tuple(float(end[i]) for end in ends) for n, ends in intervals.items()},
        )
        for i, (row, arch, evaluation) in enumerate(
            zip(genes, problem.space.decode(genes), evaluations, strict=True)
        )
    ]


def make_baselines(problem):
    """The presets as results that were not evaluated."""
    return [
        make_result(problem, name, arch, None, problem.predict_preset(name))
        for name, arch in baselines(problem.space).items()
    ]


def make_outcome(problem, trials=(), **changes):
    """What a search of these trials would have come to, without verification."""
    trials = list(trials)
    front = changes.pop("front", None)
    front = select_front(problem, trials) if front is None else front
    values = {
        "path": Path("runs/fake"),
        "settings": Settings(space="smt_micro", n=max(len(trials), 1), verify=False),
        "problem": problem,
        "front": front,
        "baselines": make_baselines(problem),
        "failed_verification": [],
        "trials": trials,
        "kendall_taus": {},
        "prediction_errors": measure_prediction_errors(front),
        "evidence": None,
        "finished": True,
    }
    return Outcome(**(values | changes))
