"""A search meets what is awkward: failures, tight budgets, company; and it beats chance."""

import itertools

import numpy as np
import pytest

from smt_nas import costs, search
from smt_nas.errors import StoreError
from smt_nas.evaluators import FunctionEvaluator
from smt_nas.search import resume_search
from tests.fakes.screening import short_screening  # noqa: F401

pytestmark = pytest.mark.usefixtures("short_screening")


BUDGET = ("12MMACs",)


def rating(arch):
    """A made-up score with an optimum inside the space, so that fronts are not monotone in size."""
    return float(np.log(costs.of(arch).params) - 0.3 * sum(len(s.kernels) for s in arch.stages))


def begin(out, **settings):
    asked = {"space": "smt_micro", "budgets": BUDGET, "n": 70, "verify": False, **settings}
    asked.setdefault("objectives", ("score", "macs", "params"))
    return search.create_search(search.Settings(**asked), out, evaluator=FunctionEvaluator(rating))


def test_the_surrogate_beats_chance(tmp_path):
    """Same evaluations, more hypervolume than random search; a fixed seed, so no luck involved."""
    import moocore

    volumes = {}
    for strategy in ("surrogate", "random"):
        outcome = begin(tmp_path / strategy, strategy=strategy, n=96, objectives=("score", "macs"))
        done = outcome.run()
        front = done.front
        rounds = [a.first for a in done.surrogate_accuracies]
        assert rounds == (list(range(8, 96, 8)) if strategy == "surrogate" else [])
        points = [(-r.values["score"], r.values["macs"] / 12e6) for r in front]
        volumes[strategy] = moocore.hypervolume(np.array(points), ref=[-8.0, 1.0])
    assert volumes["surrogate"] > volumes["random"]


def test_what_fails_is_a_trial_with_its_reason(tmp_path):
    calls = itertools.count()

    def moody(arch):
        number = next(calls)
        if number % 3 == 0:
            raise RuntimeError("cannot be built")
        return float("nan") if number % 3 == 1 else 1.0 * number

    settings = begin(tmp_path / "unused", n=12).directory.settings
    outcome = search.create_search(
        settings, tmp_path / "r", evaluator=FunctionEvaluator(moody)
    ).run()
    reasons = [t.evaluation.failure for t in outcome.trials]
    assert len(reasons) == 12 and reasons[0] == "RuntimeError: cannot be built"
    assert "must be a finite number" in reasons[1] and reasons[2] is None
    assert outcome.finished and outcome.front


def test_a_tight_budget_ends_when_nothing_is_left(tmp_path):
    least = costs.bounds(begin(tmp_path / "x").problem.space)["macs"].low
    outcome = begin(tmp_path / "r", budgets=(f"{least / 1e6}MMACs",)).run()
    assert 1 <= len(outcome.trials) < 70 and outcome.finished


def test_one_process_at_a_time(tmp_path):
    first = begin(tmp_path / "r", n=2)
    with first.directory.lock(), pytest.raises(StoreError, match="another process"):
        resume_search(tmp_path / "r", evaluator=FunctionEvaluator(rating)).run()
